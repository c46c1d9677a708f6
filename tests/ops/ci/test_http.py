"""Calls of a web API: lists of several pages, servers that redirect or do not answer."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from digits.core.errors import InputError
from ops.ci import http
from tests.helpers.http_server import QuietHandler, answer_http


class Redirecting(QuietHandler):
    """/a leads to /b of a name that another server could have; answers with the token it got."""

    def do_GET(self) -> None:
        is_first = self.path == "/a"
        self.send_response(302 if is_first else 200)
        if is_first:
            self.send_header("Location", f"http://localhost:{self.server.server_port}/b")  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(f"{self.path}: {self.headers['Authorization']}".encode())


@pytest.fixture
def url() -> Iterator[str]:
    with answer_http(Redirecting) as url:
        yield url


def test_a_redirect_does_not_get_the_token(url: str) -> None:
    headers = {"Authorization": "secret"}
    assert http.send("GET", "GET", f"{url}/c", None, headers) == b"/c: secret"
    assert http.send("GET", "GET", f"{url}/a", None, headers) == b"/b: None"


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(InputError, match=r"Report: .*timed out"):
            http.send("Report", "GET", url, None)


@pytest.mark.parametrize(
    "answer", [b"hello\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"]
)
def test_a_broken_answer_is_an_error_that_names_the_request(answer: bytes) -> None:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(InputError, match="GET the list: "):
            http.send("GET the list", "GET", f"http://127.0.0.1:{server.getsockname()[1]}", None)
        thread.join()


@pytest.mark.parametrize("count", [0, 99, 100, 101, 250])
def test_every_item_of_a_list_of_several_pages_comes_once(count: int) -> None:
    items = [{"number": i} for i in range(count)]

    def get(path: str) -> list[dict[str, Any]]:
        before, _, number = path.rpartition("=")
        assert before == "issues?state=open&per_page=100&page"
        return items[100 * (int(number) - 1) : 100 * int(number)]

    assert list(http.pages(get, "issues?state=open")) == items
