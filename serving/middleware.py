"""For every request: check the token, add the security headers, count and time it.

A path may begin with the prefix under which a proxy shows the server, since some proxies leave it
there. HEAD is answered as GET; the protocol leaves the body out.
"""

import asyncio
import hmac
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from digits.core.errors import InputError
from serving import problem_details
from serving.app_state import AppState
from serving.http_protocol import respond
from serving.problem_details import Problem

TOKEN = "DIGITS_SERVING_TOKEN"
# Health checks, the page and the API's description need no token.
OPEN = {"/", "/openapi.json", "/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"}
PHRASES = {status.value: status.phrase for status in HTTPStatus}
HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


def token() -> str | None:
    """The token that requests must have, from the environment; None if it is not set.

    Raises
    ------
    InputError
        If it is shorter than 16 characters, or has characters that a header may not carry: beyond
        ASCII, curl sends another byte than Python and a browser.
    """
    value = os.environ.get(TOKEN)
    if value is not None and len(value) < 16:
        raise InputError(
            f"{TOKEN} has {len(value)} characters; expected 16 or more, or unset for no token"
        )
    if value is not None and not (
        value == value.strip() and value.isascii() and value.isprintable()
    ):
        raise InputError(
            f"{TOKEN} has a blank at its start or end, or a character that is not printable ASCII, "
            f"such as a line end or ü; expected printable ASCII without a blank around it"
        )
    return value


class AccessLog:
    """Writes the same lines as uvicorn, whose own logger takes as long as to decode an image.

    Those of one turn of the event loop are written together, since each write is a system call.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, scope: Scope, status: int) -> None:
        client, query = scope.get("client"), scope["query_string"].decode("latin-1")
        address = f"{client[0]}:{client[1]}" if client else ""
        target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write)
        self._lines.append(
            f'INFO:     {address} - "{scope["method"]} {target} HTTP/{scope["http_version"]}" '
            f"{status} {PHRASES.get(status, '')}\n"
        )

    def _write(self) -> None:
        text, self._lines = "".join(self._lines), []
        with suppress(OSError, ValueError):  # the output is closed, or its reader has gone
            sys.stdout.write(text)
            sys.stdout.flush()


class Middleware:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: FastAPI,
        state: AppState,
        token: str | None,
        root_path: str,
        direct: Mapping[str, tuple[APIRoute, dict[str, str]]],
    ) -> None:
        """Wrap an application.

        Parameters
        ----------
        app : the application
        state : shared by all requests
        token : that requests must have; None if they need none
        root_path : where a proxy shows the application
        direct : for paths to which POST is answered without the layers of FastAPI, which cost as
            much as a small image: the route, and its parameters
        """
        self.app, self.state, self.root_path, self.direct = app, state, root_path, direct
        self.log = AccessLog()
        self.expected = token and f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 0
        path, given = self._own_path(scope["path"]), scope
        scope = {
            **scope,  # a copy: uvicorn's has to remain HEAD
            "method": "GET" if scope["method"] == "HEAD" else scope["method"],
            "root_path": self.root_path,
            "path": self.root_path + path,
        }

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._complete(message["headers"])
            await send(message)

        try:
            if self._is_allowed(scope, path):
                if scope["method"] == "POST" and path in self.direct:
                    status = await self._answer(path, scope, receive, send_with_headers) or status
                else:
                    await self.app(scope, receive, send_with_headers)
            else:
                refusal = problem_details.response(
                    Problem(401, "Authorization: expected Bearer and this server's token"),
                    path,
                )
                refusal.headers["WWW-Authenticate"] = "Bearer"
                await refusal(scope, receive, send_with_headers)
        finally:
            if status:
                self.log.add(given, status)
            self.state.metrics.count_request(scope, status, time.perf_counter() - started)

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer without the layers of FastAPI; the status, or 0 if `send` was called with it."""
        route, parameters = self.direct[path]
        scope.update(app=self.app, route=route, path_params=parameters)
        try:
            response = await route.endpoint(Request(scope, receive))
        except Exception as error:  # the outermost edge
            await problem_details.from_error(error, path)(scope, receive, send)
            if not isinstance(error, Problem | ClientDisconnect):
                raise  # uvicorn logs it
            return 0
        status, headers = response.status_code, self._complete(response.raw_headers)
        if not self.state.draining and respond(scope, status, headers, response.body):
            return int(status)
        await response(scope, receive, send)
        return 0

    def _own_path(self, path: str) -> str:
        """A request's path without the prefix."""
        if self.root_path and (path + "/").startswith(self.root_path + "/"):
            return path[len(self.root_path) :] or "/"
        return path

    def _is_allowed(self, scope: Scope, path: str) -> bool:
        if self.expected is None or path in OPEN:
            return True
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(authorization, self.expected)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name for name, _ in headers}
        more = [header for header in HEADERS if header[0] not in names]
        return [*headers, *more, *([(b"connection", b"close")] if self.state.draining else ())]
