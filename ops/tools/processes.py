"""Processes that end with the process that started them."""

import os
import threading
import time

import psutil

SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}


def end_with_parent() -> None:
    """End this process when the one that asked for it ends, however that one ends.

    `dvc` starts stages through `sh -c`, which outlives it, so the shell's parent counts too. A
    shell that a person types into does not count: a run may go on in the background.
    """
    parents = psutil.Process().parents()
    by_shell = bool(parents) and parents[0].name() in SHELLS
    typed = by_shell and "-c" not in parents[0].cmdline()
    watched = [] if typed else parents[: 2 if by_shell else 1]

    def watch() -> None:
        while all(alive(parent) for parent in watched):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
