"""Run the pipeline with a preset's parameters, as a DVC experiment: digits experiment NAME.

    digits experiment                          # which presets there are
    digits experiment tiny                     # dvc exp run --name tiny --set-param ...
    digits experiment tiny -S train.seed=1     # options of dvc exp run may follow

The working tree then holds the results; `dvc exp show` compares, and `git checkout . && dvc
checkout` goes back. Where the name is taken on this commit, a number is added to it.
"""

import itertools
import subprocess
import sys

from digits.core import errors
from ops.tools import git, presets
from ops.tools.dvc import DVC


def main() -> None:
    match sys.argv[1:]:
        case [] | ["-h" | "--help"]:
            print(__doc__)
            for name, purpose in presets.names().items():
                print(f"  {name:<10} {purpose}")
        case [name, *options]:
            words = [
                *DVC,
                "exp",
                "run",
                *presets.set_params_of(name),
                "--name",
                free_name(name),
                *options,
            ]
            sys.exit(subprocess.run(words).returncode)


def free_name(name: str) -> str:
    taken = git.experiments()
    numbered = (f"{name}-{i}" for i in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


if __name__ == "__main__":
    errors.run(main)
