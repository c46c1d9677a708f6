"""Fetch a base's model and data, for --base-model of gate and report: digits evaluators --base REV

If the base was evaluated with different code or on another test set, scoring both models again
requires the base's model and data. They come from DVC's cache or its remote; if neither has them,
the base's pipeline runs again. They are kept in .bases/, by commit.

Exit code 0: everything needed is here. 2: something is missing or broken.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from digits.core import command_line, errors, files
from digits.core.errors import InputError
from digits.core.workers import count_workers
from ops.gate.bases import find_bases
from ops.gate.evaluators import (
    FETCHED,
    Incomparable,
    check_classes,
    differences,
    fetch,
    unknown_evaluators,
)
from ops.tools.dvc import DATA, MODEL, clone_with_data, reproduce
from ops.tools.revisions import METRICS, runs_in_folder
from ops.tools.tree import WORKING_TREE


def main() -> None:
    args = parse_args()
    candidate = runs_in_folder(Path(METRICS))
    for base in find_bases(args.base):
        differing = differences(base, candidate, WORKING_TREE)
        known = not unknown_evaluators(base, candidate, WORKING_TREE)
        same = "is the same" if known else "is unknown"
        result = f"differs in {', '.join(differing)}" if differing else same
        print(f"the evaluator of {base.name} {result}", flush=True)
        if base.commit and differing:
            try:
                check_classes(base, candidate)
            except Incomparable as error:  # the gate says so too, unless a reviewer overrides it
                print(f"{error}. Nothing is fetched", flush=True)
            else:
                make_ready(base.commit)


def make_ready(commit: str) -> None:
    """Fetch a commit's model and data into .bases/, or run its pipeline to make them."""
    with files.new_directory(FETCHED / commit) as folder:
        try:
            for path in (MODEL, DATA):
                fetch(commit, path, folder / path)
        except InputError as error:
            print(f"{error}\nRunning the pipeline of {commit[:9]}", flush=True)
            with tempfile.TemporaryDirectory(prefix="base-") as clone:
                project = clone_with_data(commit, Path(clone))
                reproduce(project, count_workers())
                for path in (MODEL, DATA):
                    shutil.copytree(project / path, folder / path, dirs_exist_ok=True)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.evaluators", __doc__)
    parser.add_argument("--base", metavar="REV", required=True, help="what to compare with")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
