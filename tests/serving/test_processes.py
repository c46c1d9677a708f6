"""Several processes on one port: all answer, count together, follow, drain, and are replaced."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from serving import processes
from serving.counts import Counts
from tests.helpers import warm_python
from tests.helpers.deployments import ONE, TWO, deploy
from tests.helpers.servers import DEADLINE_S, SERVING, Server, serve
from tests.helpers.small import ROOT
from tests.helpers.tiny_models import model
from tests.helpers.wait import until
from tests.serving.test_predict import FILE
from tests.serving.test_request_body import head

pytestmark = pytest.mark.slow(6)

TWO_PROCESSES = ("--workers", "2", "--poll", "0.05")
ANSWERED = 'digits_requests_total{path="/predict",status="200"}'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("store"))
    deploy(url, ONE)
    return url


@pytest.fixture(scope="module")
def shared(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shared")
    with serve(store, folder, *TWO_PROCESSES, command=SERVING) as server:
        yield server
        assert "Traceback" not in server.log


def workers(server: Server) -> list[psutil.Process]:
    children: list[psutil.Process] = psutil.Process(server.process.pid).children()
    return children


@contextmanager
def answered_by(worker: psutil.Process, server: Server) -> Iterator[None]:
    """The other processes are stopped meanwhile, so that only this one can accept a connection."""
    others = [each for each in workers(server) if each != worker]
    try:
        for each in others:
            each.suspend()
            until(lambda each=each: each.status() == psutil.STATUS_STOPPED)
        yield
        server.ask("/livez")  # a process counts a request after its answer, and before the next
    finally:
        for each in others:
            each.resume()


def refuses(server: Server) -> bool:
    try:
        socket.create_connection(server.address, timeout=DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_all_answer_and_count_together(shared: Server) -> None:
    before = shared.metrics()
    assert len(workers(shared)) == 2
    for worker in workers(shared):
        with answered_by(worker, shared):
            assert shared.ask("/predict", FILE).status == 200
    for worker in workers(shared):
        with answered_by(worker, shared):
            found = shared.metrics()
        assert found[ANSWERED] == before.get(ANSWERED, 0) + 2
        assert found["digits_confidence_count"] == before["digits_confidence_count"] + 2
        assert found["digits_queue_limit"] == 128
    until(lambda: shared.metrics()["digits_queue"] == 0)


def test_each_follows_the_deployment(shared: Server, store: str) -> None:
    deploy(store, TWO, 2)
    for worker in workers(shared):
        with answered_by(worker, shared):
            until(lambda: shared.ask("/version").json["version"] == "v1.2.0")


def test_drift_is_over_the_last_predictions_of_all(shared: Server, store: str) -> None:
    answers = {"predicted": [1] * 10, "confidence": [1] * 10}
    evaluation = json.loads(model(3)["evaluation.json"]) | {"answers": answers}
    deploy(store, {**model(3), "evaluation.json": json.dumps(evaluation).encode()}, 3)
    images = np.zeros((600, 8, 8), int)
    for worker in workers(shared):
        with answered_by(worker, shared):
            until(lambda: shared.ask("/version").json["version"] == "v1.3.0")
            shared.ask("/predict", {"images": images.tolist()})
    for worker in workers(shared):
        with answered_by(worker, shared):
            found = shared.metrics()
        assert found["digits_drift_answers"] == 1000
        assert found['digits_drift{of="predicted"}'] == pytest.approx(0.9)


def test_a_killed_process_is_replaced_and_its_counts_stay(shared: Server) -> None:
    killed, other = workers(shared)
    with answered_by(killed, shared):
        shared.ask("/predict", FILE)
    before = shared.metrics()[ANSWERED]
    killed.kill()
    until(lambda: not killed.is_running() and len(workers(shared)) == 2)
    with answered_by(other, shared):
        assert shared.metrics()[ANSWERED] == before
    new = next(each for each in workers(shared) if each != other)
    with answered_by(new, shared):
        assert shared.ask("/predict", FILE).status == 200
        assert shared.metrics()[ANSWERED] == before + 1
    assert f"process {killed.pid} has ended by SIGKILL; starts another one" in shared.log


def test_a_stuck_process_is_replaced(store: str, tmp_path: Path) -> None:
    code = "from serving import __main__, processes; processes.STUCK_S = 2; __main__.main()"
    command = (sys.executable, "-c", code)
    with serve(store, tmp_path, *TWO_PROCESSES, command=command) as server:
        stuck, _ = workers(server)
        stuck.suspend()
        until(lambda: not stuck.is_running() and len(workers(server)) == 2)
        until(lambda: f"process {stuck.pid} has ended by SIGKILL; starts another one" in server.log)
        assert f"process {stuck.pid} has been stuck for 2 s" in server.log


def test_one_that_loads_its_model_for_long_is_not_stuck() -> None:
    killed: list[int] = []
    process: Any = SimpleNamespace(pid=1, kill=lambda: killed.append(1))
    found = processes.Workers(Counts(), lambda number, parent: None, [], "")
    worker = processes.Worker(0, process, processes.FORK.Pipe()[0])
    found._workers.append(worker)
    for _ in range(processes.STUCK_S + 1):  # seconds
        found._kill_stuck()
    assert not killed
    worker.serves = True
    for _ in range(processes.STUCK_S):
        found._kill_stuck()
    assert killed


def test_one_that_can_not_start_is_not_tried_again_at_once(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    deploy(url, ONE)
    code = "from serving import __main__, processes; processes.RETRY_S = 1000; __main__.main()"
    command = (sys.executable, "-c", code)
    with serve(url, tmp_path, *TWO_PROCESSES, command=command) as server:
        Path(url, "production.json").unlink()
        workers(server)[0].kill()
        until(lambda: server.log.count("starts another one") > 1)  # that one could not start
        time.sleep(1)
        assert server.log.count("starts another one") == 2
        assert server.ask("/predict", FILE).status == 200


def test_sigterm_loses_no_request(store: str, tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    red = Event()
    with serve(store, tmp_path, *TWO_PROCESSES, "--drain", "1000", command=SERVING) as server:

        def ask() -> None:
            while not red.is_set():
                statuses[server.ask("/predict", FILE).status] += 1

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            until(lambda: statuses[200] > 50)
            server.process.terminate()
            until(lambda: server.log.count("takes requests for 1000 s more") == 2)
            for worker in workers(server):  # as systemd does: it must not shorten the draining
                worker.terminate()
            assert {server.ask("/readyz").status for _ in range(8)} == {503}
            assert server.ask("/livez").status == 200
            seen = statuses[200]
            until(lambda: statuses[200] > seen + 500 or any(each.done() for each in asking))
            red.set()
            for each in asking:
                each.result()
        server.process.terminate()  # the second one ends the draining
        assert server.process.wait(DEADLINE_S) == 0
    assert statuses.keys() == {200}
    assert "Traceback" not in server.log


def test_none_outlives_a_killed_parent(store: str, tmp_path: Path) -> None:
    with serve(store, tmp_path, *TWO_PROCESSES, command=SERVING) as server:
        found = workers(server)
        server.process.kill()
        until(lambda: not any(each.is_running() for each in found))
        assert refuses(server)


def test_nobody_connects_while_the_last_request_is_finished(store: str, tmp_path: Path) -> None:
    with serve(store, tmp_path, *TWO_PROCESSES, "--drain", "0", command=SERVING) as server:
        with socket.create_connection(server.address, timeout=DEADLINE_S) as connection:
            connection.sendall(head(f"Content-Length: {len(FILE)}", "Expect: 100-continue"))
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # it waits for the body
            server.process.terminate()
            until(lambda: refuses(server))
            connection.sendall(FILE)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(DEADLINE_S) == 0


def start(*words: str) -> subprocess.CompletedProcess[str]:
    command = [warm_python.python(), "-m", "serving", "--workers", "2", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S)


def test_a_model_that_can_not_be_loaded_ends_the_command_with_one_error(tmp_path: Path) -> None:
    found = start("--port", "0", "--model", str(tmp_path))
    assert found.returncode == 1
    assert found.stderr.startswith(f"error: {tmp_path} holds no model")
    assert found.stderr.count("error") == 1


def test_a_port_that_is_taken_ends_the_command(shared: Server, store: str) -> None:
    port = shared.address[1]
    found = start("--port", str(port), "--model", store)
    assert found.returncode == 1
    assert found.stderr == (
        f"error: port {port} of 127.0.0.1 can't be used: address already in use. "
        "Choose: --port N, or --host NAME\n"
    )


def test_ctrl_c_and_a_socket_file(store: str, tmp_path: Path) -> None:
    path = tmp_path / "digits.sock"
    command = [*SERVING, *TWO_PROCESSES, "--model", store, "--uds", str(path), "--drain", "1000"]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr is not None
        while b"processes running on" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(DEADLINE_S) == 130
        assert b"Traceback" not in process.stderr.read()
    assert not path.exists()
