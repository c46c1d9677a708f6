"""A connection's limits, and the order of its answers."""

import asyncio
import socket
import threading
import time
from http.client import HTTPResponse

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving import http_protocol
from tests.helpers.servers import DEADLINE_S, Server, serve_here
from tests.helpers.wait import until
from tests.serving.test_predict import FILE
from tests.serving.test_request_body import exchange, head

HALF_A_HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("early")(scope, receive, send)


def read(connection: socket.socket) -> tuple[int, bytes]:
    """An answer's status and body."""
    found = HTTPResponse(connection)
    found.begin()
    return found.status, found.read()


def test_trailers_are_no_headers(server: Server) -> None:
    body = b"%x\r\n%b\r\n0\r\nContent-Encoding: gzip\r\n\r\n" % (len(FILE), FILE)
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + body)
        assert read(connection)[0] == 200


@pytest.mark.parametrize("more", [b"x", b"\r\n"])
def test_what_comes_after_an_early_answer_holds_no_connection(more: bytes) -> None:
    length = 1_000_000 if more == b"x" else 0
    with (
        serve_here(at_once, timeout_keep_alive=1) as address,
        socket.create_connection(address, timeout=60) as connection,
    ):
        connection.sendall(head(f"Content-Length: {length}"))
        assert read(connection) == (200, b"early")

        def ended() -> bool:
            try:
                return not connection.send(more)
            except ConnectionError:
                return True

        until(ended)


def test_a_large_body_is_not_taken_for_the_head_that_follows() -> None:
    busy, sent = threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":  # holds up the event loop, so that all is read at once
            busy.set()
            sent.wait(DEADLINE_S)
        await at_once(scope, receive, send)

    with (
        serve_here(app) as address,
        socket.create_connection(address, timeout=60) as other,
        socket.create_connection(address, timeout=60) as connection,
    ):
        other.sendall(HALF_A_HEAD + b"\r\n")
        busy.wait(DEADLINE_S)
        connection.sendall(head("Content-Length: 100000") + bytes(100_000) + HALF_A_HEAD)
        sent.set()
        assert read(connection) == (200, b"early")
        connection.sendall(b"\r\n")
        assert read(connection) == (200, b"early")


def test_half_a_head_does_not_end_the_request_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.2)
    ready = threading.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        while not ready.is_set():
            await asyncio.sleep(0.01)
        await PlainTextResponse("late")(scope, receive, send)

    with (
        serve_here(late) as address,
        socket.create_connection(address, timeout=60) as connection,
    ):
        connection.sendall(head() + HALF_A_HEAD)
        time.sleep(3 * http_protocol.HEAD_S)
        ready.set()
        assert read(connection) == (200, b"late")
        assert connection.recv(65_536) == b""


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"GET\r\n\r\n",
        head("Content-Length: -1"),
        head("Content-Length: 1", "Content-Length: 2"),
        head("Transfer-Encoding: chunked") + b"zz\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000,
        head("Transfer-Encoding: chunked") + b"0\r\n" + b"x: y\r\n" * 100_000,
        head("Transfer-Encoding: chunked") + b"0\r\nx: " + b"y" * 1_000_000,
        head("Transfer-Encoding: chunked") + b"1;" + b"x" * 1_000_000,
    ],
)
def test_bytes_that_are_not_http_end_the_connection(server: Server, text: bytes) -> None:
    try:
        found = exchange(server, text)
    except ConnectionError:
        found = b""
    assert found == b"" or found.startswith(b"HTTP/1.1 400 ")
    assert server.ask("/livez").status == 200
