"""Processes that end with the process that started them.

    python -m ops.tools.processes OWNER MODULE ARGUMENTS

runs a module as `python -m MODULE ARGUMENTS` does, until the process with the number OWNER ends:
then the whole process group is killed. `start_owned` starts it, with a session of its own.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}
POLL_S = 0.5
KILL_S = 10  # a killed process ends at once, unless the machine is very busy


def main() -> None:
    owner = psutil.Process(int(sys.argv[1]))
    when_one_ends([owner], lambda: os.killpg(0, signal.SIGKILL))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def start_owned(
    words: Sequence[str], log: BinaryIO, environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m MODULE ARGUMENTS` so that it ends with this process, however this one ends.

    Parameters
    ----------
    words : the module and its arguments
    log : gets what it prints; it reads nothing
    environment : its environment
    folder : where it runs; None: here
    """
    return subprocess.Popen(
        [sys.executable, "-m", "ops.tools.processes", str(os.getpid()), *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill a child that leads a process group, and its group, and wait until they have ended."""
    if leader.poll() is None:
        members = psutil.Process(leader.pid).children(recursive=True)
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        psutil.wait_procs(members, timeout=KILL_S)


def end_with_parent() -> None:
    """End this process when its parent ends, however the parent ends.

    `dvc` starts stages through `sh -c`, which may outlive it, so the parent of such a shell is
    watched too. A shell in which a person types is not watched: a run may go on in the background.
    """
    parents = psutil.Process().parents()
    by_shell = bool(parents) and parents[0].name() in SHELLS
    interactive = by_shell and "-c" not in parents[0].cmdline()
    watched = [] if interactive else parents[: 2 if by_shell else 1]
    when_one_ends(watched, lambda: os._exit(1))


def when_one_ends(watched: Sequence[psutil.Process], action: Callable[[], object]) -> None:
    """Call `action` in a thread as soon as one of the processes has ended."""

    def watch() -> None:
        while all(is_alive(process) for process in watched):
            time.sleep(POLL_S)
        action()

    threading.Thread(target=watch, daemon=True).start()


def was_running(pid: int, at: float) -> bool:
    """Whether a process is alive, and had started by a time, in seconds since 1970."""
    try:
        return bool(psutil.Process(pid).create_time() <= at + 1)
    except psutil.Error:
        return False


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main()
