"""A connection's limits, and the order of its answers."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
from http.client import HTTPResponse
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from serving import http_protocol
from tests.helpers.servers import DEADLINE_S, Server, serve_here
from tests.helpers.wait import until
from tests.serving.test_predict import FILE
from tests.serving.test_request_body import exchange, head

OFFER = {  # as Java's HttpClient and curl --http2 send it
    "Connection": "Upgrade, HTTP2-Settings",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA",
}
OFFERS = tuple(f"{name}: {value}" for name, value in OFFER.items())
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


def test_a_client_that_reads_late_gets_all_answers_in_order(server: Server) -> None:
    bodies = 100 * [FILE, b"no image"]
    with socket.create_connection(server.address, timeout=DEADLINE_S) as connection:
        line = "{}:{} - ".format(*connection.getsockname())  # of this client alone
        connection.sendall(b"".join(head(f"Content-Length: {len(b)}") + b for b in bodies))
        until(lambda: server.log.count(line) == len(bodies))
        connection.sendall(head("Content-Length: 0", "Connection: close"))
        answers = connection.makefile("rb").read().split(b"HTTP/1.1 ")[1:-1]
    ends = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
    assert [int(answer[:3]) for answer in answers] == 100 * [200, 422]
    assert ends == 100 * ends[:2]


def test_no_more_is_read_while_requests_wait_for_those_before_them() -> None:
    is_paused = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        is_paused.append(scope[http_protocol.CYCLE].flow.read_paused)
        await at_once(scope, receive, send)

    with (
        serve_here(app) as address,
        socket.create_connection(address, timeout=60) as connection,
    ):
        connection.sendall(3 * head("Content-Length: 0") + head("Connection: close"))
        assert connection.makefile("rb").read().count(b"early") == 4
    assert is_paused == [True, True, True, False]


@pytest.mark.parametrize("state", ["ready", "slow", "gone", "to be closed"])
def test_only_a_client_that_is_ready_is_answered_in_one_write(state: str) -> None:
    sent: list[bytes] = []
    cycle = SimpleNamespace(
        keep_alive=state != "to be closed",
        disconnected=state == "gone",
        flow=SimpleNamespace(write_paused=state == "slow"),
        default_headers=[(b"server", b"x")],
        transport=SimpleNamespace(write_now=sent.append),
        message_event=asyncio.Event(),
        on_response=lambda: None,
    )
    is_sent = http_protocol.respond({http_protocol.CYCLE: cycle}, 200, [(b"a", b"b")], b"body")
    assert is_sent == (state == "ready")
    assert sent == [b"HTTP/1.1 200 OK\r\nserver: x\r\na: b\r\n\r\nbody"] * is_sent


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


def test_a_client_that_does_not_read_its_answer_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_protocol, "ANSWER_S", 0.05)
    ended = threading.Event()

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        pieces = iter([bytes(20_000_000), b""])  # for the second, it waits until the first is read
        await StreamingResponse(pieces)(scope, receive, send)
        ended.set()

    with serve_here(large) as address, socket.create_connection(address, timeout=60) as connection:
        connection.sendall(HALF_A_HEAD + b"\r\n")
        assert ended.wait(DEADLINE_S)


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
        b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
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


def test_a_client_is_told_why_the_connection_ends(server: Server) -> None:
    answer = exchange(server, b"GET\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"Invalid HTTP request received.")


TENSOR = {"name": "images", "datatype": "UINT8", "shape": [1, 8, 8], "data": [0] * 64}
BODIES = {
    "/predict": FILE,
    "/invocations": FILE,
    "/v2/models/digit-classifier/infer": json.dumps({"inputs": [TENSOR]}).encode(),
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_offer_of_another_protocol_loses_no_body(
    server: Server, path: str, chunked: bool
) -> None:
    connection = server.connect()
    expected = {server.ask(path, BODIES[path]).body}
    for headers in (OFFER, {}, OFFER, {"Connection": "upgrade", "Upgrade": "websocket"}):
        body = iter([BODIES[path][:50], BODIES[path][50:]]) if chunked else BODIES[path]
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        assert (response.status, response.version) == (200, 11)
        assert {response.read()} == expected
    connection.close()


def test_offers_are_ignored_however_their_bytes_arrive(server: Server) -> None:
    request = head(*OFFERS, f"Content-Length: {len(FILE)}") + FILE
    last = head("Connection: close, Upgrade", "Upgrade: h2c", f"Content-Length: {len(FILE)}") + FILE
    with socket.create_connection(server.address, timeout=60) as connection:
        for byte in request:
            connection.sendall(bytes([byte]))
        assert read(connection)[0] == 200
    assert exchange(server, 2 * request + last).count(b"HTTP/1.1 200 ") == 3
    get = HALF_A_HEAD + "\r\n".join([*OFFERS, "", ""]).encode()
    ending = HALF_A_HEAD + b"Connection: close\r\n\r\n"
    assert exchange(server, 2000 * get + ending).count(b"HTTP/1.1 200 ") == 2001


@pytest.mark.parametrize("words", [(), ("-H", "Transfer-Encoding: chunked")])
def test_curl_that_offers_http_2_is_answered(
    server: Server, tmp_path: Path, words: tuple[str, ...]
) -> None:
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in subprocess.check_output([curl, "--version"], text=True):
        pytest.skip("no curl with HTTP/2")
    (tmp_path / "digit.png").write_bytes(FILE)
    body = f"@{tmp_path / 'digit.png'}"
    command = [curl, "--silent", "--http2", "--data-binary", body, *words, f"{server.url}/predict"]
    assert b'"predicted"' in subprocess.check_output(command)
