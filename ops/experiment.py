"""Run the pipeline with a preset's parameters, as a DVC experiment: python -m ops.experiment NAME.

    python -m ops.experiment                          # which presets there are
    python -m ops.experiment tiny                     # dvc exp run --name tiny --set-param ...
    python -m ops.experiment tiny -S train.seed=1     # options of dvc exp run may follow

The working tree then holds the results; `dvc exp show` compares, and `git checkout . && dvc
checkout` goes back. Where the name is taken on this commit, a number is added to it.
"""

import itertools
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from digits import errors, params, presets
from digits.errors import InputError
from ops import git

DVC = (sys.executable, "-m", "dvc")


def main() -> None:
    match sys.argv[1:]:
        case [] | ["-h" | "--help"]:
            print(__doc__)
            for name, purpose in presets.names().items():
                print(f"  {name:<10} {purpose}")
        case [name, *options]:
            words = [*DVC, "exp", "run", *settings(name), "--name", free_name(name), *options]
            sys.exit(subprocess.run(words).returncode)


def settings(name: str) -> list[str]:
    """A preset as options of `dvc exp run`; raises `InputError` if it names no parameter."""
    changes = presets.load(name)
    try:
        presets.override(params.read_yaml("params.yaml"), changes)
    except InputError as error:
        raise InputError(f"{presets.PRESETS / name}.yaml: {error}") from None
    return set_params(changes)


def set_params(changes: Mapping[str, Any]) -> list[str]:
    """Overrides by dotted key as options of `dvc exp run`."""
    return [f"--set-param={key}={presets.shown(value)}" for key, value in changes.items()]


def free_name(name: str) -> str:
    taken = git.experiments()
    numbered = (f"{name}-{i}" for i in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


if __name__ == "__main__":
    errors.run(main)
