"""What holds for every request: who may ask, what each answer carries, how long it took."""

import hmac
import os
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from digits.core.errors import InputError
from serving import problems
from serving.problems import Problem
from serving.service import Service

TOKEN = "DIGITS_SERVING_TOKEN"
# Says whether it is well, or shows the page: anybody may ask.
OPEN = {"/", "/openapi.json", "/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"}
HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


def token() -> str | None:
    """The token in the environment that requests must bear, if there is one."""
    found = os.environ.get(TOKEN)
    if found is not None and len(found) < 16:
        raise InputError(f"{TOKEN} has {len(found)} characters; expected 16 or more, or none set")
    return found


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, service: Service, token: str | None) -> None:
        self.app, self.service = app, service
        self.expected = token and f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers(message)]
            await send(message)

        try:
            if self._admits(scope):
                await self.app(scope, receive, answer)
            else:
                refusal = problems.response(
                    Problem(401, "Authorization: expected Bearer and this server's token"),
                    scope["path"],
                )
                refusal.headers["WWW-Authenticate"] = "Bearer"
                await refusal(scope, receive, answer)
        finally:
            self.service.monitor.requested(scope, status, time.perf_counter() - started)

    def _admits(self, scope: Scope) -> bool:
        if self.expected is None or scope["path"] in OPEN:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self.expected)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        given = {name for name, _ in message["headers"]}
        found = [header for header in HEADERS if header[0] not in given]
        return [*found, (b"connection", b"close")] if self.service.draining else found
