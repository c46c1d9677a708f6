"""Call GitHub's API. Uses only the standard library, so that nothing needs to be installed.

GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN name the server, the repository and the account.
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
MAX_ANSWER = 500  # characters of an error's answer that a message quotes


def call(method: str, path: str, content: Mapping[str, str] | None = None) -> Any:
    """Call the API for a path in the repository. Returns its answer; raises `InputError`."""
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}"
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
    }
    return json.loads(send(f"{method} {url}", method, url, content, headers))


def send(
    name: str,
    method: str,
    url: str,
    content: Mapping[str, str] | None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Send JSON. Returns the answer; raises `InputError`, whose message begins with `name`."""
    data = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: bytes = response.read()
    except HTTPError as error:
        text = error.read().decode(errors="replace")
        raise InputError(f"{name}: {error}: {text[:MAX_ANSWER]}") from None
    except OSError as error:
        raise InputError(f"{name}: {error}") from None
    return answer


def list_all(path: str) -> Iterator[dict[str, Any]]:
    """All items of a list, page by page."""
    page = 1
    while True:
        items = call("GET", f"{path}&per_page={PAGE}&page={page}")
        yield from items
        if len(items) < PAGE:
            return
        page += 1


def find_own(path: str, marker: str) -> dict[str, Any] | None:
    """The first item of a list that a workflow wrote and whose text starts with the marker."""
    for item in list_all(path):
        if item["user"]["login"] == BOT and (item["body"] or "").startswith(marker):
            return item
    return None
