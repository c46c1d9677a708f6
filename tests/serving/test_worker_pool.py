"""Under overload and with clients that leave, each request gets its own answer or a 429."""

import asyncio
import gc
import socket
import struct
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serving.problem_details import Problem
from serving.worker_pool import WorkerPool
from tests.helpers.servers import DEADLINE_S, Answer, Server, form, image_file, serve
from tests.helpers.wait import until
from tests.serving.test_predict import FILE, check_problem
from tests.serving.test_request_body import head

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


def test_probes_are_answered_while_a_form_takes_long(server: Server) -> None:
    body, kind = form({"a": FILE})
    slow = body.removesuffix(b"--\r\n") + b" " * 2_000_000  # which the parser steps through
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, "/predict", slow, kind)
        until(lambda: asked.done() or server.metrics()["digits_queue"] == 1)
        assert not asked.done()
        check_problem(asked.result(), 400)


def test_an_answer_waits_for_no_other_work() -> None:
    async def ask() -> None:
        pool, both, end = WorkerPool(2, 1), threading.Event(), threading.Event()
        answer = asyncio.create_task(pool.run(both.wait, DEADLINE_S))
        other = asyncio.create_task(pool.run(end.wait, DEADLINE_S))
        await asyncio.sleep(0)
        both.set()
        try:
            assert await asyncio.wait_for(answer, 10)
            assert not other.done()
        finally:
            end.set()
        assert await other

    asyncio.run(ask())


def test_what_a_call_that_fails_was_given_is_freed_at_once() -> None:
    class Body:
        pass

    async def ask() -> None:
        pool, body = WorkerPool(1, 1), Body()
        given = weakref.ref(body)
        with pytest.raises(TypeError):
            await pool.run(len, body)  # type: ignore[arg-type]
        del body
        await pool.run(abs, 0)  # until then the thread keeps its last call
        assert given() is None

    gc.disable()
    try:
        asyncio.run(ask())
    finally:
        gc.enable()


def test_a_call_that_was_cancelled_is_passed_over() -> None:
    faults = []

    async def ask() -> str:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        pool, end = WorkerPool(2, 1), threading.Event()
        cancelled = asyncio.create_task(pool.run(end.wait, DEADLINE_S))
        other = asyncio.create_task(pool.run(lambda: "answer"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert pool.pending == 1
        end.set()
        return await other

    assert asyncio.run(ask()) == "answer"
    assert faults == []


def test_whatever_a_call_raises_ends_no_worker() -> None:
    class Panic(BaseException):
        """As libraries in Rust raise it."""

    def fail() -> None:
        raise Panic

    async def ask() -> str:
        pool = WorkerPool(2, 1)
        with pytest.raises(Panic):
            await asyncio.wait_for(pool.run(fail), 10)
        return await asyncio.wait_for(pool.run(lambda: "answer"), 10)

    assert asyncio.run(ask()) == "answer"


def test_a_pool_without_calls_looks_for_no_results() -> None:
    async def ask() -> None:
        pool = WorkerPool(2, 1)
        assert await pool.run(lambda: "answer") == "answer"
        async with asyncio.timeout(10):
            while pool._timer:
                await asyncio.sleep(0)

    asyncio.run(ask())


def test_small_requests_that_arrive_together_share_the_limit() -> None:
    async def ask() -> list[int]:
        pool = WorkerPool(2, 1)
        asked = [pool.run_here(asyncio.sleep, 0, i) for i in range(5)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert pool.pending == 0
        return [answer.status if isinstance(answer, Problem) else answer for answer in answers]

    assert asyncio.run(ask()) == [0, 1, 429, 429, 429]


def test_small_requests_that_arrive_together_take_each_step_together() -> None:
    taken: list[tuple[str, int]] = []

    async def steps(i: int) -> None:
        taken.append(("decode", i))
        await asyncio.sleep(0)
        taken.append(("classify", i))

    async def ask(count: int) -> None:
        pool = WorkerPool(8, 1)
        await asyncio.gather(*(pool.run_here(steps, i) for i in range(count)))

    asyncio.run(ask(3))
    assert taken == [(step, i) for step in ("decode", "classify") for i in range(3)]
    asyncio.run(ask(1))
    assert taken[6:] == [("decode", 0), ("classify", 0)]


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
