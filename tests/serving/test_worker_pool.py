"""More than it can do, and clients that misbehave: the others are answered, nothing is lost."""

import asyncio
import json
import socket
import struct
import threading
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from digits.storage import model_store
from serving import app, request_body
from serving.live_model import Current
from serving.service import Service
from serving.worker_pool import Queue
from tests.helpers.servers import DEADLINE_S, Answer, Server, form, image_file, serve, serve_here
from tests.helpers.wait import until
from tests.serving.test_predict import FILE, check_problem

pytestmark = pytest.mark.slow(3)

PROBES = ("/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready")
LARGE = image_file(np.zeros((5000, 5000), np.uint8))  # takes long to decode


def test_a_full_queue_turns_away_and_stays_green(model_folder: Path, tmp_path: Path) -> None:
    with (
        serve(model_folder, tmp_path, "--queue", "4", DIGITS_COMPUTE_WORKERS="1") as server,
        ThreadPoolExecutor(24) as pool,
    ):
        asked = [pool.submit(server.ask, "/predict", LARGE) for _ in range(48)]
        probes = [server.ask(path).status for _ in range(5) for path in PROBES]
        answers = [each.result() for each in asked]
        assert set(probes) == {200}
        assert {each.status for each in answers} == {200, 429}
        for each in answers:
            if each.status == 429:
                check_problem(each, 429)
                assert each.headers["Retry-After"] == "1"
        assert server.ask("/predict", FILE).status == 200
        assert server.metrics()["digits_queue"] == 0


def exchange(server: Server, *parts: bytes) -> bytes:
    """All that comes back for bytes sent as they are."""
    with socket.create_connection(server.address, timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /predict HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def test_a_body_over_the_limit_is_refused_by_its_length(server: Server) -> None:
    found = exchange(server, head(f"Content-Length: {request_body.BODY_BYTES + 1}"))
    assert found.startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_all_of_a_large_body_reads_the_refusal(server: Server) -> None:
    check_problem(server.ask("/predict", bytes(3 * request_body.BODY_BYTES)), 413)


def test_a_body_over_the_limit_is_refused_by_its_chunks(server: Server) -> None:
    chunks = (bytes(1 << 16) for _ in range(3 * request_body.BODY_BYTES >> 16))
    check_problem(server.ask("/predict", chunks), 413)


def test_the_largest_body_is_taken(server: Server) -> None:
    pixels = np.zeros((request_body.BODY_BYTES - 300 >> 6, 8, 8), np.uint8)
    tensor = {"name": "images", "datatype": "UINT8", "shape": pixels.shape}
    size = {"parameters": {"binary_data_size": pixels.size}}
    header = json.dumps({"inputs": [tensor | size], "parameters": {"binary_data_output": True}})
    length = {"Inference-Header-Content-Length": str(len(header))}
    body = header.encode() + pixels.tobytes()
    answer = server.ask("/v2/models/digit-classifier/infer", body, **length)
    assert answer.status == 200
    assert len(answer.body) > len(pixels) * 40


def test_a_decompression_bomb_is_refused_unopened(server: Server) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    )
    before = server.metrics()["process_resident_memory_bytes"]
    answer = server.ask("/predict", bomb)
    check_problem(answer, 422)
    assert "100,000 x 100,000" in answer.json["detail"]
    assert server.metrics()["process_resident_memory_bytes"] < before + 100e6


def test_a_compressed_body_is_refused(server: Server) -> None:
    check_problem(server.ask("/predict", zlib.compress(FILE), **{"Content-Encoding": "gzip"}), 415)


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
def test_what_is_no_http_ends_the_connection(server: Server, text: bytes) -> None:
    try:
        found = exchange(server, text)
    except ConnectionError:
        found = b""
    assert found == b"" or found.startswith(b"HTTP/1.1 400 ")
    assert server.ask("/livez").status == 200


@pytest.mark.slow(25)
def test_slow_clients_are_cut_off_and_hold_up_nobody(server: Server) -> None:
    with ThreadPoolExecutor(60) as pool:
        half_a_body = head(f"Content-Length: {len(FILE)}") + FILE[:100]
        half_a_head, nothing = half_a_body[:30], b""
        slow = {
            start: [pool.submit(exchange, server, start) for _ in range(20)]
            for start in (half_a_body, half_a_head, nothing)
        }
        assert {server.ask("/predict", FILE).status for _ in range(20)} == {200}
        assert not any(each.done() for asked in slow.values() for each in asked)
        found = {start: {each.result()[:12] for each in asked} for start, asked in slow.items()}
    assert found == {half_a_body: {b"HTTP/1.1 408"}, half_a_head: {b""}, nothing: {b""}}


def test_probes_are_answered_while_a_form_takes_long(server: Server) -> None:
    body, kind = form({"a": FILE})
    slow = body.removesuffix(b"--\r\n") + b" " * 2_000_000  # which the parser steps through
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, "/predict", slow, kind)
        until(lambda: asked.done() or server.metrics()["digits_queue"] == 1)
        assert not asked.done()
        check_problem(asked.result(), 422)


def test_bodies_on_their_way_share_a_limit(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "READING_BYTES", 100_000)
    service = Service(Current(model_store.locate(str(model_folder))), Queue(4, 1))
    start = head("Content-Length: 60000") + bytes(59_999)
    with (
        serve_here(app.create(service, None)) as address,
        socket.create_connection(address, timeout=60) as one,
        socket.create_connection(address, timeout=60) as another,
    ):
        one.sendall(start)
        until(lambda: service.reading.size == 59_999)
        another.sendall(start)
        found = another.recv(65_536)
        assert found.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 1\r\n" in found
        one.sendall(b"x")
        assert one.recv(65_536).startswith(b"HTTP/1.1 422 ")
        assert service.reading.size == 0


def test_an_answer_waits_for_no_other_work() -> None:
    async def ask() -> None:
        queue, both, end = Queue(2, 1), threading.Event(), threading.Event()
        answer = asyncio.create_task(queue.run(lambda: both.wait(DEADLINE_S)))
        other = asyncio.create_task(queue.run(lambda: end.wait(DEADLINE_S)))
        await asyncio.sleep(0)
        both.set()
        try:
            assert await asyncio.wait_for(answer, 10)
            assert not other.done()
        finally:
            end.set()
        assert await other

    asyncio.run(ask())


def test_clients_that_leave_are_forgotten(server: Server) -> None:
    before = server.metrics().get('digits_requests_total{path="/predict",status="499"}', 0)
    for length in (100, len(FILE)):
        for _ in range(10):
            with socket.create_connection(server.address) as connection:
                connection.sendall(head(f"Content-Length: {len(FILE)}") + FILE[:length])
                reset = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

    def left() -> bool:
        found = server.metrics()
        gone = found.get('digits_requests_total{path="/predict",status="499"}', 0)
        return gone >= before + 10 and found["digits_queue"] == 0

    until(left)
    assert server.ask("/predict", FILE).status == 200
    assert "ERROR" not in server.log


@pytest.mark.slow(25)
def test_of_many_good_and_bad_requests_each_gets_its_own_answer(server: Server) -> None:
    random = np.random.default_rng(1)
    files = [image_file(random.integers(0, 256, (12, 12), np.uint8)) for _ in range(20)]
    alone = [server.ask("/predict", content).json for content in files]

    def ask(i: int) -> Answer:
        if i % 5 == 0:
            return server.ask("/predict", f"bad {i}".encode() * (i % 50))
        return server.ask("/predict", files[i % 20])

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(2000)))
    assert Counter(each.status for each in answers) == {200: 1600, 422: 400}
    for i, each in enumerate(answers):
        if i % 5:
            assert each.json == alone[i % 20]
        else:
            check_problem(each, 422)
