"""A server that is asked for its metrics, and does not want to end."""

import socket
import threading
from contextlib import suppress

import pytest

from digits.core.errors import InputError
from ops.ui.facts import drift


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
