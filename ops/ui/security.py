"""Who may use the server: pages of its own, in a browser that the printed address let in.

- Host must be this server's, so that another site's name can't lead here (DNS rebinding).
- The token of the printed address becomes a cookie. Its name has the port, since the servers of a
  computer share their cookies.
- What changes something is a POST, and comes from a page of this server. The cookie does not prove
  that: a page of another server of this computer is of the same site.
"""

import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer`, forms would have no Origin
    "Cross-Origin-Resource-Policy": "same-origin",  # or another server's page could load scripts
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Guard:
    """An ASGI application that lets only the right requests through to another one."""

    app: ASGIApp
    port: int
    token: str
    read_only: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None  # there are no websockets

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                raw = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *raw]
            await send(message)

        answer = self.refusal(Request(scope)) or self.app
        await answer(scope, receive, send_with_headers)

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that goes no further: a refusal, or the cookie for the token."""
        host = request.headers.get("host", "")
        if host not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            return refused("this server answers only at the address that `digits ui` printed")
        query = parse_qs(request.url.query, keep_blank_values=True)
        if request.method in READING and self.is_token(*query.pop("token", [])):
            rest = urlencode(query, doseq=True)
            path = f"/{request.url.path.lstrip('/')}"  # `//name` would be another server
            response = RedirectResponse(f"{path}{'?' if rest else ''}{rest}", 303)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return response
        if not self.is_token(*self.cookies(request)):
            return refused("open the address that `digits ui` printed, with its token")
        if request.method in READING:
            return None
        if self.read_only:
            return refused("these pages are read-only: they run no commands")
        if not is_same_origin(request, host):
            return refused("this request does not come from a page of this server")
        return None

    @property
    def cookie(self) -> str:
        return f"digits-{self.port}"

    def cookies(self, request: Request) -> list[str]:
        """The values of the cookie. Starlette's parser takes seconds for some headers."""
        header = request.headers.get("cookie", "")
        pairs = (part.strip().partition("=") for part in header.split(";"))
        return [value for name, _, value in pairs if name == self.cookie]

    def is_token(self, *texts: str) -> bool:
        return any(secrets.compare_digest(text.encode(), self.token.encode()) for text in texts)


def is_same_origin(request: Request, host: str) -> bool:
    """Whether a browser says that one of this server's pages sent a request."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if origin is None and site is None:
        return False
    return origin in (None, f"http://{host}") and site in (None, "same-origin")


def refused(reason: str) -> Response:
    return PlainTextResponse(f"Refused: {reason}\n", 403)
