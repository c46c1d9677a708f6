"""A training that waits where its second epoch ends, so that a test can kill or watch it there.

Example:

    held = HeldTraining(tmp_path)
    start("dvc", "repro", SHELL=held.shell)    # with the real Python: warm_python.REAL_PATH
    until(state.exists)                        # of the first epoch; it goes no further
    held.release()

Each training waits when it would replace the state of an earlier epoch, also one that continues.
"""

from pathlib import Path

from tests.helpers import warm_python

# Python imports a module of this name when it starts.
SITECUSTOMIZE = """\
import os, sys, time

def wait(event, arguments):
    if event == "os.rename" and os.fspath(arguments[1]).endswith("state.safetensors"):
        while os.path.exists(arguments[1]) and os.path.exists({hold!r}):
            time.sleep(0.05)  # a poll

sys.addaudithook(wait)
"""


class HeldTraining:
    """Holds trainings that `shell` starts, or that have `modules` in PYTHONPATH."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets the files that do it."""
        self._hold = folder / "hold"
        self._hold.touch()
        self.modules = folder / "hold-modules"
        self.modules.mkdir()
        (self.modules / "sitecustomize.py").write_text(SITECUSTOMIZE.format(hold=str(self._hold)))
        shell = folder / "hold-sh"
        shell.write_text(
            f'#!/bin/sh\ncase "$2" in *stages.train*) export PYTHONPATH={self.modules} ;; esac\n'
            f'exec {warm_python.shell(folder)} "$@"\n'
        )
        shell.chmod(0o755)
        self.shell = str(shell)

    def release(self) -> None:
        self._hold.unlink()
