"""Servers that answer as the APIs of GitHub and GitLab do, as far as `ops.ci` asks.

Example:

    def test_a_comment_is_posted(github: GitHub) -> None:     # the fixture sets the environment
        comment.comment(hosts.github, report)
        assert github.at("issues/3/comments")
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ops.ci.github import BOT

TOKEN = "the-token"


class GitHub(ThreadingHTTPServer):
    """Lists by the paths that ask for them: a POST adds to one, a PATCH changes what is in one.

    `heads` are those that pull requests were asked for by; `refused` paths take no POST.
    """

    place = "/repos/o/r"
    filters: Mapping[str, str | None] = {"state": "open"}  # by query, and what an item has without

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lists: dict[str, list[Any]] = {}
        self.files: dict[str, bytes] = {}
        self.refused: set[str] = set()
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a job has."""
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.url,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_TOKEN": TOKEN,
        }

    def at(self, path: str) -> list[Any]:
        """A list of the repository's."""
        return self.lists.setdefault(f"{self.place}/{path}", [])

    def bodies(self, path: str) -> list[str]:
        return [item["body"] for item in self.at(path)]

    def made(self, number: int, content: Mapping[str, str]) -> dict[str, Any]:
        """What a POST makes."""
        owned = {"id": number, "number": number, "user": {"login": BOT}, "html_url": "made"}
        return owned | dict(content)

    def may(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") in (None, f"Bearer {TOKEN}")  # None: not the API


class GitLab(GitHub):
    """The same for GitLab, whose project is 7; it carries out commands in notes: `commands`."""

    place = "/projects/7"
    filters: Mapping[str, str | None] = {
        "state": "opened",
        "source_branch": None,
        "target_branch": None,
    }

    def __init__(self) -> None:
        super().__init__()
        self.files["/user"] = b'{"id": 5}'
        self.commands: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": self.url,
            "CI_PROJECT_ID": "7",
            "CI_PROJECT_URL": "https://gitlab.example/g/p",
            "GITLAB_TOKEN": TOKEN,
        }

    def made(self, number: int, content: Mapping[str, str]) -> dict[str, Any]:
        text = (content.get("body") or content.get("description") or "").replace("\r", "")
        self.commands += re.findall(r"^/\w+", text, re.MULTILINE)
        owned = {"id": number, "iid": number, "author": {"id": 5}, "source_project_id": 7}
        return owned | {"web_url": "made"} | dict(content)

    def may(self, headers: Mapping[str, str]) -> bool:
        return headers.get("PRIVATE-TOKEN") == TOKEN


class Handler(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        if not self.server.may(self.headers):  # type: ignore[arg-type]
            return self.answer({"message": "401 Unauthorized"}, 401)
        url = urlsplit(self.path)
        if url.path in self.server.files:
            return self.send(self.server.files[url.path])
        query = parse_qs(url.query)
        if "page" not in query or "/projects/8/" in url.path:  # 8: a private fork
            return self.answer({"message": "404 Not found"}, 404)
        self.server.heads += query.get("head", [])
        items = self.server.lists.setdefault(url.path, [])
        for key, default in self.server.filters.items():
            wanted = query.get(key, [None])[0]
            items = [item for item in items if wanted in (None, item.get(key, default))]
        first, size = int(query["page"][0]) - 1, int(query["per_page"][0])
        self.answer(items[first * size : (first + 1) * size])

    def do_POST(self) -> None:
        content = self.content()
        if self.path in self.server.refused:
            return self.answer({"message": "Issues are disabled for this repo"}, 410)
        number = 90 + sum(map(len, self.server.lists.values()))
        made = self.server.made(number, content)
        self.server.lists.setdefault(self.path, []).append(made)
        self.answer(made)

    def do_PATCH(self) -> None:
        """/issues/comments/7 and /pulls/7: of that kind, the one with the number."""
        kind, number = self.path.split("/")[-2:]
        [found] = [
            item
            for path, items in self.server.lists.items()
            for item in items
            if path.endswith(f"/{kind}") and number in (str(item.get("id")), str(item.get("iid")))
        ]
        content = self.content()
        self.server.made(0, content)
        found |= content
        self.answer(found)

    do_PUT = do_PATCH  # GitLab's word

    def content(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, content: Any, status: int = 200) -> None:
        self.send(json.dumps(content).encode(), status)

    def send(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_api(server: GitHub) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
