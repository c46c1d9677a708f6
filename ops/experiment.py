"""Run the pipeline with a preset's parameters, as a DVC experiment: digits experiment NAME

    digits experiment                          # lists the presets
    digits experiment tiny                     # runs dvc exp run --name tiny --set-param ...
    digits experiment tiny -S train.seed=1     # options of dvc exp run may follow

The working tree then has the results. `dvc exp show` compares experiments; `git checkout . && dvc
checkout` restores the committed results. If the commit has an experiment of this name, a number is
added to the name.
"""

import itertools
import subprocess
import sys
from textwrap import indent

from digits.core import errors
from ops.tools import git, presets
from ops.tools.dvc import DVC
from ops.tools.tables import aligned


def main() -> None:
    match sys.argv[1:]:
        case [] | ["-h" | "--help"]:
            print(__doc__)
            print(indent(aligned(list(presets.names().items())), "  "))
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
    """Return the name, with a number if an experiment has it already."""
    taken = git.experiments()
    numbered = (f"{name}-{i}" for i in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


if __name__ == "__main__":
    errors.run(main)
