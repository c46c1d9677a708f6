"""Listen on a Unix socket, which a proxy on the same machine connects to."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from digits.core.errors import InputError

UMASK = 0o117  # the owner and the group may connect: rw-rw----
BACKLOG = 2048  # connections that wait to be accepted, as in uvicorn


@contextmanager
def listen(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at a path; removes the path at the end.

    Replaces the socket that a killed server has left behind.

    Raises
    ------
    InputError
        If another server listens there, another kind of file is there, or no socket can be.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            with _locked(path.parent):
                _remove_unused(path)
                umask = os.umask(UMASK)  # a chmod would be too late: anybody could connect before
                try:
                    listener.bind(os.fspath(path))
                finally:
                    os.umask(umask)
                listener.listen(BACKLOG)
                ours = _identity(path)
        except OSError as error:  # among them: the path is too long
            raise InputError(f"--uds {path}: {error.strerror or error}") from None
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError):
                if _identity(path) == ours:  # not the socket of a server that started since
                    path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep out another server that starts at the same moment."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_unused(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(f"--uds {path}: there is a file that is no socket. Choose another path")
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:  # nobody listens: a killed server left it behind
            path.unlink()
            return
        except BlockingIOError:  # somebody listens, and many clients wait
            pass
    raise InputError(f"--uds {path}: another server listens there. Stop it, or choose another path")


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns  # the number alone may be given to the next file
