"""SIGTERM: what is in flight is finished, a balancer has time to go elsewhere, nothing is lost."""

import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

from serving.__main__ import parse_args
from tests.helpers.servers import SERVING, serve
from tests.helpers.wait import until
from tests.serving.test_predict import FILE
from tests.serving.test_worker_pool import LARGE

pytestmark = pytest.mark.slow(4)


def test_sigterm_under_load_loses_no_request(model_folder: Path, tmp_path: Path) -> None:
    """The clients do as those behind a balancer: they go elsewhere once /readyz is red."""
    counts: Counter[str] = Counter()
    red = threading.Event()

    with serve(model_folder, tmp_path, "--drain", "2", command=SERVING) as server:

        def ask() -> None:
            connection = server.connect()
            while not red.is_set():
                connection.request("POST", "/predict", FILE)
                found = connection.getresponse()
                found.read()
                counts[f"{found.status}"] += 1
                counts["asked to close"] += found.headers["Connection"] == "close"
            connection.close()

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            until(lambda: counts["200"] > 100)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.ask("/readyz").status == 503)
            assert server.ask("/ping").status == 503
            assert server.ask("/livez").status == 200
            seen = counts["asked to close"]
            until(lambda: counts["asked to close"] > seen + 8)
            red.set()
            for each in asking:
                each.result()
        assert server.process.wait(60) == 0
    assert set(counts) == {"200", "asked to close"}
    assert "Traceback" not in server.log


def test_what_is_in_flight_is_finished(model_folder: Path, tmp_path: Path) -> None:
    with (
        serve(
            model_folder, tmp_path, "--drain", "0", command=SERVING, DIGITS_COMPUTE_WORKERS="1"
        ) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(server.ask, "/predict", LARGE) for _ in range(8)]
        until(lambda: server.metrics()["digits_queue"] == 8)
        server.process.send_signal(signal.SIGTERM)
        assert {each.result().status for each in asked} == {200}
        assert server.process.wait(60) == 0
        with pytest.raises((OSError, HTTPException)):
            server.ask("/livez")


def test_ctrl_c_stops_at_once(model_folder: Path, tmp_path: Path) -> None:
    with serve(model_folder, tmp_path, "--drain", "1000", command=SERVING) as server:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(60)
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "70000"),
        ("--port", "-1"),
        ("--port", "http"),
        ("--host", ""),
        ("--host", "localhost:8000"),
        ("--host", "http://0.0.0.0"),
        ("--host", "x" * 64),
        ("--workers", "0"),
        ("--workers", "-1"),
        ("--workers", "x"),
        ("--queue", "0"),
        ("--poll", "0"),
        ("--poll", "nan"),
        ("--poll", "inf"),
        ("--drain", "-1"),
        ("--drain", "nan"),
        ("--root-path", "digits"),
        ("--root-path", "/a//b"),
        ("--root-path", "/a/../b"),
        ("--root-path", "/<b>"),
        ("--root-path", "/v2/models"),
    ],
)
def test_a_value_that_can_not_be_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serving", *words])
    with pytest.raises(SystemExit) as caught:
        parse_args()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert words[0] in said
    assert words[1] in said


def test_a_socket_excludes_a_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serving", "--uds", "s", "--port", "0"])
    with pytest.raises(SystemExit):
        parse_args()
    assert "--uds replaces --host and --port" in capsys.readouterr().err
