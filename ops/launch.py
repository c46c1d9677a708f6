"""Run a stage where and how `compute` says: python -m ops.launch stages.train ARGUMENTS.

Reads the `compute` section of params.yaml, over which DIGITS_COMPUTE_<KEY> in the environment
wins. None of it can change a byte of the results, so no stage declares it.
"""

import os
import sys
from typing import Annotated, Literal

from pydantic import Field

from digits import compute, errors
from digits.errors import InputError
from digits.params import Params


class ComputeParams(Params):
    workers: Literal["auto"] | Annotated[int, Field(ge=1)]


class LaunchParams(Params):
    compute: ComputeParams


def main() -> None:
    match sys.argv[1:]:
        case [str(module), *arguments] if module.startswith("stages."):
            pass
        case found:
            raise InputError(f"arguments are {found}; expected: stages.NAME ARGUMENTS")
    params = LaunchParams.load("params.yaml").compute
    os.environ.setdefault(compute.WORKERS, str(params.workers))
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


if __name__ == "__main__":
    errors.run(main)
