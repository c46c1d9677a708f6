"""A server that answers as GitHub's API does, as far as the operations ask.

Example:

    def test_a_comment_is_posted(github: GitHub) -> None:     # the fixture sets the environment
        comment.main()
        assert github.comments
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ops.tools.github import BOT


class GitHub(ThreadingHTTPServer):
    """Lists by the paths that ask for them: a POST adds to one, a PATCH changes what is in one.

    `heads` are those that pull requests were asked for by; `refused` paths take no POST.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lists: dict[str, list[Any]] = {}
        self.refused: set[str] = set()
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def at(self, path: str) -> list[Any]:
        """A list of the repository's."""
        return self.lists.setdefault(f"/repos/o/r/{path}", [])

    def bodies(self, path: str) -> list[str]:
        return [item["body"] for item in self.at(path)]


class Handler(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.server.heads += query.get("head", [])
        state = query.get("state", [None])[0]
        items = self.server.lists.setdefault(url.path, [])
        items = [item for item in items if state in (None, item.get("state", "open"))]
        first, size = int(query["page"][0]) - 1, int(query["per_page"][0])
        self.answer(items[first * size : (first + 1) * size])

    def do_POST(self) -> None:
        content = self.content()
        if self.path in self.server.refused:
            return self.answer({"message": "Issues are disabled for this repo"}, 410)
        number = 90 + sum(map(len, self.server.lists.values()))
        made = {"id": number, "number": number, "user": {"login": BOT}, "html_url": "made"}
        self.server.lists.setdefault(self.path, []).append(made | content)
        self.answer(made)

    def do_PATCH(self) -> None:
        """/issues/comments/7 and /pulls/7: of that kind, the one with the number."""
        kind, number = self.path.split("/")[-2:]
        [found] = [
            item
            for path, items in self.server.lists.items()
            for item in items
            if path.endswith(f"/{kind}") and str(item["id"]) == number
        ]
        found |= self.content()
        self.answer(found)

    def content(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, content: Any, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_github() -> Iterator[GitHub]:
    with GitHub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
