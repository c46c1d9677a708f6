"""A server that is asked for its metrics, and does not want to end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.ui.facts import drift
from tests.helpers.http_server import QuietHandler, answer_http


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part arrives in time, the whole never."""
    monkeypatch.setattr(drift, "TIMEOUT_S", 0.2)
    given_up = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not given_up.wait(0.02):
                connection.sendall(b"#")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,), daemon=True)
        server.start()
        with pytest.raises(InputError, match=r"no whole answer in 0\.2 s"):
            drift.read(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics")
        given_up.set()
        server.join()


METRICS = """
digits_model_info{model="abc",tag="t",version="v1.0.0"} 1.0
digits_predictions_total{predicted="a"} 30.0
digits_predictions_total{predicted="b"} 70.0
digits_predictions_total{predicted="c"} 0.0
digits_predictions_total{predicted="d"} 0.0
digits_confidence_bucket{le="0.5"} 40.0
digits_confidence_bucket{le="+Inf"} 100.0
digits_drift{of="predicted"} 0.2
digits_drift{of="confidence"} 0.1
digits_drift_answers 100.0
"""


def test_drift_is_large_beyond_twice_what_chance_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text(METRICS)
    found = drift.read(str(tmp_path / "metrics"))
    assert (found.version, found.model, found.answers) == ("v1.0.0", "abc", 100)
    assert found.predicted == {"a": 30, "b": 70, "c": 0, "d": 0}
    predicted, confidence = found.distances
    assert (predicted.share, confidence.share) == (0.2, 0.1)
    assert predicted.chance == pytest.approx(0.08)  # 0.4 * sqrt(4 / 100)
    assert confidence.chance == pytest.approx(0.4 * 0.02**0.5)
    assert (predicted.is_large, confidence.is_large) == (True, False)


class Asked(QuietHandler):
    """Answers with the metrics whoever has the token."""

    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Authorization"] == "Bearer a token" else 401)
        self.end_headers()
        self.wfile.write(METRICS.encode())


@pytest.fixture
def asked() -> Iterator[str]:
    with answer_http(Asked) as url:
        yield f"{url}/metrics"


def test_a_server_with_a_token_is_asked_with_it(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="401"):
        drift.read(asked)
    monkeypatch.setenv(drift.TOKEN, "a token")
    assert drift.read(asked).answers == 100


def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "TIMEOUT_S", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(InputError, match="timed out"),
    ):
        drift.read(f"http://127.0.0.1:{silent.getsockname()[1]}/metrics")
