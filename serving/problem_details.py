"""Errors as problem details (RFC 9457, application/problem+json)."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

MAX_ERRORS = 10  # in one response
CLOSE_S = 5  # for which a refused client may go on to send


class Document(BaseModel):
    """Problem details; `errors` names the invalid fields."""

    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []  # {"field": ..., "detail": ...}


class Problem(Exception):
    """Ends a request with an error response.

    Parameters
    ----------
    status : HTTP status code
    detail : what happened
    errors : the invalid fields and what is wrong with each; the first `MAX_ERRORS` are sent
    headers : more headers of the response
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers
        self.errors = [{"field": field, "detail": text} for field, text in errors[:MAX_ERRORS]]
        if len(errors) > MAX_ERRORS:
            self.detail += f"; the first {MAX_ERRORS} of {len(errors)} errors are listed"


def response(problem: Problem, path: str) -> Response:
    """The response to a request of this path, without a proxy's prefix."""
    document = Document(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    ).model_dump(exclude_defaults=True)
    if path.startswith("/v2"):  # the Open Inference Protocol's field
        document["error"] = problem.detail
    kind = _ClosingResponse if problem.status in (408, 413) else Response
    return kind(json.dumps(document), problem.status, problem.headers, "application/problem+json")


class _ClosingResponse(Response):
    """Closes the connection, but first reads and drops what the client still sends.

    If the connection were closed at once, the client would see a reset in place of the response.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def invalid_json(error: ValidationError) -> Problem:
    """422 with the invalid fields, or 400 if the text is not JSON."""
    errors = error.errors(include_url=False, include_input=False)
    fields = [(_field(details["loc"]), details["msg"]) for details in errors]
    if errors[0]["type"] == "json_invalid":
        return Problem(400, f"body: {fields[0][1]}")
    return Problem(422, f"{fields[0][0]}: {fields[0][1]}", fields)


def _field(location: Sequence[int | str]) -> str:
    """`images[0][3]` for ("images", 0, 3)."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).lstrip(".") or "body"


def from_error(error: Exception, path: str) -> Response:
    """The response to a request of this path that an error has ended."""
    match error:
        case Problem():
            return response(error, path)
        case HTTPException():
            headers = dict(error.headers or {})
            if "GET" in headers.get("Allow", ""):
                headers["Allow"] += ", HEAD"
            return response(Problem(error.status_code, error.detail, (), headers), path)
        case ClientDisconnect():  # nobody receives it; the metrics count it, with nginx's code
            return Response(status_code=499)
    return response(Problem(500, "Internal error; the server's log has the cause"), path)


def install(app: FastAPI) -> None:
    """Make the application answer every error with problem details."""

    async def answer(request: Request, error: Exception) -> Response:
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        return from_error(error, path)

    for kind in (Problem, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, answer)
