"""Against a server that answers as GitHub's API does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ops import comment
from ops.comment import BOT, LIMIT, MARKER

SHA = "c0ffee" + "0" * 34
RUN = {
    "head_sha": SHA,
    "head_branch": "wider & better",
    "head_repository": {"id": 7, "owner": {"login": "stranger"}},
    "conclusion": "failure",
    "html_url": "https://github.example/runs/1",
}


class GitHub(ThreadingHTTPServer):
    """Pull requests, their files and comments, by the paths that ask for them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lists: dict[str, list[Any]] = {
            "/repos/o/r/pulls": [{"number": 3, "head": {"sha": SHA, "repo": {"id": 7}}}],
            "/repos/o/r/pulls/3/files": [{"filename": "params.yaml"}],
            "/repos/o/r/issues/3/comments": [],
        }
        self.heads: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.server.heads += query.get("head", [])
        first, size = int(query["page"][0]) - 1, int(query["per_page"][0])
        self.answer(self.server.lists[url.path][first * size : (first + 1) * size])

    def do_POST(self) -> None:
        made = {"id": 90, "user": {"login": BOT}, "html_url": "made", **self.content()}
        self.server.lists[self.path].append(made)
        self.answer(made)

    def do_PATCH(self) -> None:
        comments = self.server.lists["/repos/o/r/issues/3/comments"]
        [found] = [c for c in comments if self.path == f"/repos/o/r/issues/comments/{c['id']}"]
        found |= self.content()
        self.answer(found)

    def content(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, content: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    (tmp_path / "event.json").write_text(json.dumps({"workflow_run": RUN}))
    (tmp_path / "comment.md").write_text("BLOCKED: 12 broken\n")
    with GitHub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
        monkeypatch.setenv("GITHUB_TOKEN", "token")
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
        monkeypatch.setattr("sys.argv", ["ops.comment", str(tmp_path / "comment.md")])
        yield server
        server.shutdown()
        thread.join()


def comments(github: GitHub) -> list[str]:
    return [found["body"] for found in github.lists["/repos/o/r/issues/3/comments"]]


def test_a_comment_is_made_once_and_then_updated(github: GitHub, tmp_path: Path) -> None:
    comment.main()
    (tmp_path / "comment.md").write_text("PASS")
    comment.main()
    [body] = comments(github)
    assert body.startswith(f"{MARKER}\nComparison of c0ffee000 **did not pass**: [run](https")
    assert body.endswith("\nPASS")
    assert github.heads == ["stranger:wider & better"] * 2


def test_someone_elses_comment_with_the_marker_stays(github: GitHub) -> None:
    theirs = {"id": 1, "user": {"login": "stranger"}, "body": f"{MARKER} fine"}
    other = {"id": 2, "user": {"login": BOT}, "body": "of another workflow"}
    found = github.lists["/repos/o/r/issues/3/comments"]
    found += [theirs, *([other] * 150)]
    comment.main()
    assert len(found) == 152
    assert found[0]["body"] == f"{MARKER} fine"


@pytest.mark.parametrize(
    "head",
    [
        {"sha": "0" * 40, "repo": {"id": 7}},
        {"sha": SHA, "repo": {"id": 8}},
        {"sha": SHA, "repo": None},
    ],
)
def test_nothing_is_said_to_a_pull_request_with_another_head(
    github: GitHub, head: dict[str, Any]
) -> None:
    github.lists["/repos/o/r/pulls"] = [{"number": 3, "head": head}]
    comment.main()
    assert comments(github) == []


def test_a_strangers_text_is_cut_and_calls_nobody(github: GitHub, tmp_path: Path) -> None:
    (tmp_path / "comment.md").write_bytes(b"@everyone \xff" + b"x" * LIMIT)
    comment.main()
    [body] = comments(github)
    assert "@everyone" not in body
    assert body.endswith("(cut here)")
    assert len(body) < 65_536


def test_a_link_is_not_followed(github: GitHub, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "comment.md").unlink()
    (tmp_path / "comment.md").symlink_to(tmp_path / "secret")
    comment.main()
    [body] = comments(github)
    assert "secret" not in body
    assert "ended before its report" in body


def test_a_change_of_the_judge_is_named(github: GitHub) -> None:
    github.lists["/repos/o/r/pulls/3/files"] += [
        {"filename": "gate.py", "previous_filename": "ops/gate.py", "status": "renamed"},
        {"filename": "stages/train.py"},
    ]
    comment.main()
    [body] = comments(github)
    assert "changes what judges it, so read that first: `ops/gate.py`\n" in body
