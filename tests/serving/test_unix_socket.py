"""A server on a Unix socket: who may connect, and what is at the path before and after it."""

import os
import signal
import socket
import stat
import subprocess
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from digits.core.errors import InputError
from serving.unix_socket import listen
from tests.helpers.servers import DEADLINE_S, SERVING
from tests.helpers.small import ROOT
from tests.helpers.wait import until
from tests.serving.test_predict import FILE


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE_S)
    try:
        client.connect(os.fspath(path))
    except OSError:
        client.close()
        raise
    return client


def ask(path: Path, method: str, target: str, body: bytes | None = None) -> int:
    """The answer's status."""
    with closing(HTTPConnection("localhost")) as connection:
        connection.sock = connect(path)
        connection.request(method, target, body)
        return connection.getresponse().status


def listens(path: Path) -> bool:
    try:
        connect(path).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


@pytest.mark.slow(3)
def test_a_server_answers_on_it_and_removes_it_at_the_end(
    model_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "digits.sock"
    command = [*SERVING, "--model", str(model_folder), "--uds", str(path), "--drain", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        until(lambda: process.poll() is not None or listens(path))
        assert ask(path, "POST", "/predict", FILE) == 200
        assert ask(path, "HEAD", "/livez") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert not path.exists()


def test_the_owner_and_the_group_may_connect(tmp_path: Path) -> None:
    with listen(tmp_path / "s"):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660


def test_the_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(os.fspath(tmp_path / "s"))
        killed.listen()
    with listen(tmp_path / "s") as listener, connect(tmp_path / "s"):
        listener.accept()[0].close()


def test_a_server_that_listens_is_left_alone(tmp_path: Path) -> None:
    with listen(tmp_path / "s") as listener:
        for _ in range(2):
            with pytest.raises(InputError, match="another server listens"), listen(tmp_path / "s"):
                pass
        with connect(tmp_path / "s"):
            listener.accept()[0].close()


def test_the_socket_of_the_next_server_is_not_removed(tmp_path: Path) -> None:
    with listen(tmp_path / "s") as listener:
        listener.close()  # as a server that finishes its last requests
        with listen(tmp_path / "s") as following:
            pass
        with socket.socket(socket.AF_UNIX) as following:
            following.bind(os.fspath(tmp_path / "s"))
    assert (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file", "a file that is no socket"),
        ("folder", "a file that is no socket"),
        ("nothing/s", "No such file or directory"),
        ("x" * 150, "path too long"),
    ],
)
def test_a_path_where_no_socket_can_be_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=said), listen(tmp_path / name):
        pass
    assert (tmp_path / "file").read_text() == "kept"
