"""Run a commit's pipeline again and compare with its committed results: digits verify [REV]

Clones the revision into a temporary folder, runs the whole pipeline there, the data included, and
compares the outputs with those that were committed:

  identical    the same bytes
  equivalent   different bytes, metrics within the tolerances: the same model scored on another
               processor, or a model from other kernels (a GPU, Arm, another PyTorch)
  different    anything else, as other weights from the same kernels; the report names the first
               stage that diverges, and how this machine differs
  stale        the committed dvc.lock does not match the code, the parameters, the pins or metrics/

Exit code 0 for the first two, 1 for the others, 2 if the pipeline could not run. --here runs
nothing; it compares the results that `dvc repro --force` left in this folder. With --data uci there
is no dvc.lock to compare with: the pipeline runs twice, with one worker and with several, and the
two results are compared.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml

from digits.core import command_line, errors
from digits.core.errors import InputError
from digits.core.params import flat, override, read_yaml
from digits.core.workers import count_workers
from digits.gate import strict_json
from ops.tools import dvc_files, git, object_store
from ops.tools.dvc import clone_with_data, reproduce
from ops.tools.dvc_files import Locked
from ops.tools.revisions import METRICS

# The largest difference that counts as rounding. A different seed alone moves accuracy by 0.0005.
TOLERANCES = {
    "metrics/evaluation.json": {"accuracy": 0.0015, "nll": 0.004, "ece": 0.003},
    "metrics/train.json": {"val_accuracy": 0.0025, "val_nll": 0.01},
}
# Of train.json: where all of these are equal, and the kernels portable, so are the weights.
SAME_BYTES = ("kernels", "torch", "device", "instruction_set")
SHORT = {"data.source": "uci", "train.epochs": 2, "train.batch_size": 64, "train.ema": 0.9}

Digests = dict[str, dict[str, str]]
Verdict = Literal["identical", "equivalent", "different", "stale"]


@dataclass(frozen=True)
class Record:
    """A run, as its dvc.lock and metrics/ describe it.

    `digests` has the outputs' MD5s, by stage and path; `metrics` the files that have a tolerance;
    `inputs` each stage's command, code, pins, parameters and the paths of its outputs; `misfits`
    the metrics files whose content dvc.lock does not name; `missing` the stages that it lacks.
    """

    digests: Digests
    metrics: dict[str, dict[str, Any]]
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    misfits: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """The verdict on two runs, and the lines that explain it."""

    verdict: Verdict
    lines: list[str]


def main() -> None:
    args = parse_args()
    if args.here:
        comparison = compare(read_commit(args.rev), read_folder(Path.cwd()))
    else:
        comparison = verify(args.rev, args.data)
    if args.json:
        document = {"verdict": comparison.verdict, "findings": comparison.lines}
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(comparison.lines))
    sys.exit(0 if comparison.verdict in ("identical", "equivalent") else 1)


def verify(rev: str, source: str) -> Comparison:
    """Run the revision in a temporary clone, and compare the results."""
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        clone = clone_with_data(git.commit(rev), Path(folder, "clone"))
        if source == "uci":
            cores = max(2, count_workers())
            params = override(read_yaml(clone / "params.yaml"), SHORT)
            (clone / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
            title = f"one worker against {cores}, on scikit-learn's digits"
            comparison = compare(run(clone, 1), run(clone, cores))
        else:
            title = f"{rev} against its dvc.lock"
            comparison = compare(read_commit(rev), run(clone, count_workers()))
    return replace(comparison, lines=[title, *comparison.lines])


def run(clone: Path, workers: int) -> Record:
    """Run every stage in a clone, and read the result."""
    reproduce(clone, workers)
    return read_folder(clone)


def read_commit(rev: str) -> Record:
    """The run that a revision describes; raises `InputError` if it describes none."""
    absent = f"{rev} has no FILE: it has no results to compare with"
    return parse(partial(git.read, git.commit(rev)), absent)


def read_folder(folder: Path) -> Record:
    """The run that a folder describes; raises `InputError` if it describes none."""
    record = parse(
        lambda path: (folder / path).read_bytes() if (folder / path).exists() else None,
        f"{folder}/FILE does not exist. Run: dvc repro --force",
    )
    if record.missing:
        raise InputError(
            f"{folder / 'dvc.lock'} has no {', '.join(record.missing)}. Run: dvc repro --force"
        )
    return record


def parse(read_file: Callable[[str], bytes | None], absent: str) -> Record:
    """Parse a run's files; `absent` is the error if there is no FILE."""

    def read(path: str) -> bytes:
        content = read_file(path)
        if content is None:
            raise InputError(absent.replace("FILE", path))
        return content

    lock = dvc_files.parse_lock(read("dvc.lock"))
    declared = dvc_files.parse_pipeline(read("dvc.yaml"))
    if not declared:
        raise InputError("dvc.yaml has no stages, so there is nothing to compare")
    order = [stage for stage in declared if stage in lock]
    digests: Digests = {stage: {} for stage in order}
    for stage in order:
        for out in lock[stage].outs:
            digests[stage][out.path] = object_store.stored_output(stage, out, "dvc.lock").oid
    outs = {path: md5 for by_path in digests.values() for path, md5 in by_path.items()}
    return Record(
        digests,
        missing=[stage for stage in declared if stage not in lock],
        metrics={path: parse_metrics(read(path), path) for path in TOLERANCES},
        inputs={stage: inputs(lock[stage], tuple(outs)) for stage in order},
        misfits=[
            path
            for path, md5 in outs.items()
            if path.startswith(f"{METRICS}/") and hashlib.md5(read(path)).hexdigest() != md5
        ],
    )


def parse_metrics(content: bytes, path: str) -> dict[str, Any]:
    """A file of metrics; raises `InputError` unless those with a tolerance are finite numbers."""
    document = strict_json.parse(path, content)
    for name in TOLERANCES[path]:
        if type(value := document.get(name)) not in (int, float):
            raise InputError(f"{path}: {name} is {value!r}; expected a number. Run: dvc repro")
    return document


def inputs(stage: Locked, outs: tuple[str, ...]) -> dict[str, Any]:
    """A stage's inputs by its entry in dvc.lock, except those that other stages make (`outs`)."""
    made = tuple(f"{out}/" for out in outs)
    return {
        "cmd": stage.cmd,
        "outs": [out.path for out in stage.outs],
        **flat(stage.params.get("params.yaml", {})),
        **{dep.path: dep.md5 for dep in stage.deps if not f"{dep.path}/".startswith(made)},
    }


def compare(expected: Record, actual: Record) -> Comparison:
    """Compare a run with the expected one: inputs first, then bytes, then metrics."""
    if reasons := [*outdated(expected, actual)]:
        return Comparison(
            "stale",
            [
                "stale: the committed dvc.lock and metrics/ do not match this code",
                *(f"  {reason}" for reason in reasons),
                "  Run dvc repro, and commit dvc.lock and metrics/",
            ],
        )
    differing = [
        (stage, path)
        for stage, outs in expected.digests.items()
        for path in outs
        if actual.digests[stage].get(path) != outs[path]
    ]
    total = sum(len(outs) for outs in expected.digests.values())
    if not differing:
        return Comparison("identical", [f"identical: all {total} outputs have the same bytes"])
    metrics = compare_metrics(expected, actual)
    exact = {"fetch", "prepare"}
    if same_kernels(expected, actual):
        exact |= {"train", "detect", "export"}
    within = all(within for _, within in metrics) and not exact & {stage for stage, _ in differing}
    verdict: Verdict = "equivalent" if within else "different"
    stage, path = differing[0]
    return Comparison(
        verdict,
        [
            f"{verdict}: {len(differing)} of {total} outputs have different bytes",
            f"  the first stage that diverges: {stage} ({path})",
            *(f"  {line}" for line, _ in metrics),
            *(f"  {line}" for line in compare_environments(expected, actual)),
        ],
    )


def outdated(expected: Record, actual: Record) -> Iterator[str]:
    """The committed inputs that differ from the actual ones, and metrics that are not the run's."""
    for stage in expected.inputs | actual.inputs:
        before, now = (record.inputs.get(stage, {}) for record in (expected, actual))
        names = [name for name in before | now if before.get(name) != now.get(name)]
        if names:
            yield f"{stage}: different {', '.join(names)}"
    for stage in expected.missing:
        yield f"{stage}: the committed dvc.lock lacks it"
    for path in expected.misfits:
        yield f"{path} is not the file that dvc.lock names"


def compare_metrics(expected: Record, actual: Record) -> list[tuple[str, bool]]:
    """A line for each metric that has a tolerance, and whether it is within that."""
    lines = []
    for path, tolerances in TOLERANCES.items():
        for name, tolerance in tolerances.items():
            before, now = expected.metrics[path][name], actual.metrics[path][name]
            within = abs(now - before) <= tolerance
            word = "within" if within else "BEYOND"
            lines.append((f"{name} {before} -> {now}, {word} {tolerance}", within))
    return lines


def same_kernels(expected: Record, actual: Record) -> bool:
    """Whether both models come from the same portable kernels, so that no byte may differ."""
    one, two = ({key: t.get(key) for key in SAME_BYTES} for t in trainings(expected, actual))
    return one == two and (one["kernels"], one["device"]) == ("portable", "cpu")


def compare_environments(expected: Record, actual: Record) -> list[str]:
    """How processor and PyTorch differ from those of the committed run."""
    before, now = trainings(expected, actual)
    return [
        f"{name}: {before.get(name)} there, {now.get(name)} here"
        for name in SAME_BYTES
        if before.get(name) != now.get(name)
    ] or ["PyTorch, its kernels and its device are the same"]


def trainings(*records: Record) -> list[dict[str, Any]]:
    return [record.metrics["metrics/train.json"] for record in records]


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.verify", __doc__)
    parser.add_argument("rev", nargs="?", default="HEAD", help="a Git revision (HEAD)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--here",
        action="store_true",
        help="compare what dvc repro --force left in this folder",
    )
    mode.add_argument(
        "--data",
        choices=("mnist", "uci"),
        default="mnist",
        help="uci: compare two short runs with each other, offline (mnist)",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
