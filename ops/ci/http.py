"""Call a web API. Uses only the standard library, so that nothing needs to be installed."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from digits.core.errors import InputError

PAGE = 100
TIMEOUT_S = 30  # without an answer, or a further part of it
MAX_ANSWER = 500  # characters of an error's answer that a message quotes


class Refused(InputError):
    """A server answered with an error; `status` is HTTP's code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def variable(name: str) -> str:
    """A variable of the environment; raises `InputError` if it is missing or empty."""
    value = os.environ.get(name)
    if not value:
        raise InputError(
            f"{name} is not set in this job's environment: see docs/how-to/ci-elsewhere.md"
        )
    return value


def token(name: str) -> str:
    """As `variable`, for a token; an error does not show it."""
    value = variable(name).strip()
    if not (value.isascii() and value.isprintable()):
        raise InputError(f"{name} has characters that no token has. Set it again")
    return value


def send(
    name: str,
    method: str,
    url: str,
    content: Mapping[str, str] | None,
    headers: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> bytes:
    """Send JSON. Returns the answer's first `limit` bytes; a redirect gets none of the headers.

    Raises `InputError`, whose message begins with `name`.
    """
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    for header, value in (headers or {}).items():
        request.add_unredirected_header(header, value)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer: bytes = response.read(limit)
    except HTTPError as error:
        text = error.read().decode(errors="replace")
        raise Refused(f"{name}: {error}: {text[:MAX_ANSWER]}", error.code) from None
    except (OSError, HTTPException) as error:
        raise InputError(f"{name}: {str(error) or type(error).__name__}") from None
    return answer


def parse(name: str, answer: bytes) -> Any:
    """The JSON of an answer; raises `InputError`, whose message begins with `name`."""
    try:
        return json.loads(answer)
    except ValueError:
        raise InputError(f"{name}: the answer is not JSON: {answer[:MAX_ANSWER]!r}") from None


def pages(get: Callable[[str], list[dict[str, Any]]], path: str) -> Iterator[dict[str, Any]]:
    """All items of a list, page by page."""
    number = 1
    while True:
        items = get(f"{path}{'&' if '?' in path else '?'}per_page={PAGE}&page={number}")
        yield from items
        if len(items) < PAGE:
            return
        number += 1
