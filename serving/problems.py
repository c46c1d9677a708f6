"""What went wrong, as RFC 9457 has it: application/problem+json."""

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

MOST = 10  # errors in one answer
PARTING_S = 5


class Document(BaseModel):
    """RFC 9457 problem details; `errors` names the fields that are wrong."""

    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []  # {"field": ..., "detail": ...}


class Problem(Exception):
    """Ends a request with this answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers
        self.errors = [{"field": field, "detail": text} for field, text in errors[:MOST]]
        if len(errors) > MOST:
            self.detail += f"; the first {MOST} of {len(errors)} errors are named"


def response(problem: Problem, path: str) -> Response:
    document = Document(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    ).model_dump(exclude_defaults=True)
    if path.startswith("/v2"):  # where the Open Inference Protocol looks
        document["error"] = problem.detail
    answer = _Parting if problem.status in (408, 413) else Response
    return answer(json.dumps(document), problem.status, problem.headers, "application/problem+json")


class _Parting(Response):
    """Ends the connection, but first takes in what a client goes on to send, for a while.

    Closed at once, the client would see its connection reset, and not the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING_S):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def refuse_json(error: ValidationError) -> Problem:
    """The fields that are wrong, or where the text ceases to be JSON."""
    errors = error.errors(include_url=False, include_input=False)
    found = [(_field(each["loc"]), each["msg"]) for each in errors]
    if errors[0]["type"] == "json_invalid":
        return Problem(400, f"The body can't be read: {found[0][1]}")
    return Problem(422, f"{found[0][0]}: {found[0][1]}", found)


def _field(location: Sequence[int | str]) -> str:
    """`images[0][3]` for ("images", 0, 3)."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).lstrip(".") or "body"


def install(app: FastAPI) -> None:
    """Have an application answer each of its errors with problem details."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return response(error, request.url.path)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = error.headers
        return response(Problem(error.status_code, error.detail, (), headers), request.url.path)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # for the metrics alone, by nginx' custom

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        detail = "A fault of this server, which its log explains"
        return response(Problem(500, detail), request.url.path)
