"""A body has limits of size and time; so have all bodies that are arriving, together."""

import asyncio
import gzip
import json
import socket
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request
from starlette.types import Message

from digits.storage import model_store
from serving import app, request_body
from serving.app_state import AppState
from serving.live_model import LiveModel
from serving.problem_details import Problem
from serving.request_body import ArrivingBodies
from serving.worker_pool import WorkerPool
from tests.helpers.servers import Server, serve_here
from tests.helpers.wait import until
from tests.serving.test_predict import FILE, check_problem

pytestmark = pytest.mark.slow(3)


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
    empty = b"\0\0\0\xff\xff" * 13_000  # blocks of nothing
    chunks = (empty for _ in range(3 * request_body.BODY_BYTES >> 16))
    check_problem(server.ask("/predict", chunks, **{"Content-Encoding": "deflate"}), 413)


def test_a_refusal_keeps_nothing_of_the_body() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(1 << 20), "more_body": True}

    request = Request({"type": "http", "headers": []}, receive)
    tracemalloc.start()
    try:
        with pytest.raises(Problem, match="larger") as caught:
            asyncio.run(request_body.read(request, ArrivingBodies()))
        assert tracemalloc.get_traced_memory()[0] < 3 << 20
        assert caught.value.status == 413
    finally:
        tracemalloc.stop()


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


def raw_deflate(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-zlib.MAX_WBITS)


BOMB = bytes(20 * request_body.BODY_BYTES)
HALVES = gzip.compress(FILE[:90]) + gzip.compress(FILE[90:])


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(FILE)),
        ("X-GZIP", gzip.compress(FILE)),
        ("gzip", HALVES),
        ("gzip", gzip.compress(FILE) + gzip.compress(b"") * (request_body.MEMBERS - 1)),
        ("deflate", zlib.compress(FILE)),
        ("Deflate", raw_deflate(FILE)),
        ("identity", FILE),
        ("", FILE),
    ],
)
@pytest.mark.parametrize("pieces", [None, 1, 700])
def test_a_compressed_body_is_answered_as_the_same_body_without(
    server: Server, coding: str, body: bytes, pieces: int | None
) -> None:
    sent = (body[i : i + pieces] for i in range(0, len(body), pieces)) if pieces else body
    answer = server.ask("/predict", sent, **{"Content-Encoding": coding})
    assert answer.status == 200
    assert answer.body == server.ask("/predict", FILE).body


def test_a_body_of_any_size_is_decompressed_in_full(server: Server) -> None:
    for size in (request_body.PIECE_BYTES + i for i in (-1, 0, 1, 200, 300)):
        text = json.dumps({"images": [[[7] * 8] * 8]}).encode().ljust(size)
        for body in (zlib.compress(text), raw_deflate(text)):
            headers = {"Content-Encoding": "deflate", "Content-Type": "application/json"}
            assert server.ask("/predict", body, **headers).status == 200


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("deflate", raw_deflate)]
)
def test_a_bomb_is_refused_early(server: Server, coding: str, compress: Any) -> None:
    before = server.peak_bytes
    answer = server.ask("/predict", compress(BOMB), **{"Content-Encoding": coding})
    check_problem(answer, 413)
    assert server.peak_bytes < before + 3 * request_body.BODY_BYTES


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", gzip.compress(FILE)[:-1], 400),
        ("gzip", b"", 400),
        ("gzip", FILE, 400),
        ("gzip", gzip.compress(FILE) + b"more", 400),
        ("gzip", gzip.compress(b"") * (request_body.MEMBERS + 1), 400),
        ("deflate", zlib.compress(FILE)[:-1], 400),
        ("deflate", zlib.compress(FILE) + b"more", 400),
        ("deflate", 2 * zlib.compress(FILE), 400),
        ("deflate", raw_deflate(FILE)[:-1], 400),
        ("deflate", b"x", 400),
        ("br", FILE, 415),
        ("gzip, gzip", gzip.compress(gzip.compress(FILE)), 415),
    ],
)
def test_a_body_that_can_not_be_decompressed_is_refused(
    server: Server, coding: str, body: bytes, status: int
) -> None:
    answer = server.ask("/predict", body, **{"Content-Encoding": coding})
    check_problem(answer, status)
    assert answer.json["errors"][0]["field"] == "Content-Encoding"
    if status == 415:
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("body", "headers", "advice"),
    [
        (gzip.compress(FILE), {}, "add the header Content-Encoding: gzip"),
        (b"\x28\xb5\x2f\xfd" + FILE, {}, "unpack it"),
        (b"PK\x03\x04" + FILE, {}, "unpack it"),
        (FILE, {"Content-Encoding": "zstd"}, "compress the body with gzip or deflate"),
        (FILE, {"Content-Encoding": "gzip"}, "without Content-Encoding"),
    ],
)
def test_what_to_do_about_a_compressed_body_is_told(
    server: Server, body: bytes, headers: dict[str, str], advice: str
) -> None:
    for path in ("/predict", "/v2/models/digit-classifier/infer"):
        answer = server.ask(path, body, **headers)
        check_problem(answer, answer.status)
        assert advice in answer.json["detail"]


def test_arriving_bodies_share_a_limit(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "ARRIVING_BYTES", 100_000)
    state = AppState(LiveModel(model_store.locate(str(model_folder))), WorkerPool(4, 1))
    start = head("Content-Length: 60000") + bytes(59_999)
    with (
        serve_here(app.create(state, None)) as address,
        socket.create_connection(address, timeout=60) as one,
        socket.create_connection(address, timeout=60) as another,
    ):
        one.sendall(start)
        until(lambda: state.arriving.size == 59_999)
        another.sendall(start)
        found = another.recv(65_536)
        assert found.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 1\r\n" in found
        one.sendall(b"x")
        assert one.recv(65_536).startswith(b"HTTP/1.1 422 ")
        assert state.arriving.size == 0


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
