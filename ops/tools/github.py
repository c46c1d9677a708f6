"""GitHub's API, by the standard library alone, so that nothing needs to be installed.

Where it is, whose repository and as whom: GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN.
"""

import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError

from digits.core.errors import InputError

BOT = "github-actions[bot]"
PAGE = 100
LONGEST = 500  # characters of what is said to a request that is refused


def call(method: str, path: str, content: Mapping[str, str] | None = None) -> Any:
    """What the API answers, of a path in the repository; raises `InputError`."""
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}"
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
    }
    return json.loads(send(f"{method} {url}", method, url, content, headers))


def send(
    what: str,
    method: str,
    url: str,
    content: Mapping[str, str] | None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The answer to a request with JSON; raises `InputError`, which calls the request `what`."""
    data = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: bytes = response.read()
    except HTTPError as error:
        said = error.read().decode(errors="replace")
        raise InputError(f"{what}: {error}: {said[:LONGEST]}") from None
    except OSError as error:
        raise InputError(f"{what}: {error}") from None
    return answer


def listed(path: str) -> Iterator[dict[str, Any]]:
    """All items of a list that GitHub gives in pages."""
    page = 1
    while True:
        items = call("GET", f"{path}&per_page={PAGE}&page={page}")
        yield from items
        if len(items) < PAGE:
            return
        page += 1


def find_own(path: str, marker: str) -> dict[str, Any] | None:
    """The first item of a list that a workflow wrote, by the marker that its text starts with."""
    for item in listed(path):
        if item["user"]["login"] == BOT and (item["body"] or "").startswith(marker):
            return item
    return None
