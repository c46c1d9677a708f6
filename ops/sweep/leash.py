"""Run `dvc` so that it, and all that it starts, ends when the one that started it does.

    python -m ops.leash exp run ...    # with a pipe as its standard input, and a session of its own

The pipe closes when its other end is closed, or its owner killed: then the process group ends at
once. `dvc` alone would go on, and its stage with it.
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nobody is there to answer what a stage asks
    threading.Thread(target=end_with, args=[pipe], daemon=True).start()
    sys.argv[0] = "dvc"
    runpy.run_module("dvc", run_name="__main__")


def end_with(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
