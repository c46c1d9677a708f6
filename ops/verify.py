"""Are the committed results those of the committed code? digits verify [REV]

Clones the revision into a temporary folder, runs its pipeline from nothing, the data included, and
compares what comes out with what was committed:

  identical    the same bytes
  equivalent   other bytes, metrics within the tolerances: another CPU rounds otherwise
  different    anything else; names the first stage that diverges, and what differs here
  stale        the committed dvc.lock speaks of other code, parameters or pins, or of other metrics

Exit code 0 for the first two, 1 for the others, 2 when it could not run. With --here it runs
nothing, and takes what `dvc repro --force` has left in this folder. With --data uci there is no
dvc.lock to compare with: it runs twice, with one worker and with several, and compares the two.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from digits.core import command_line, errors
from digits.core.errors import InputError
from digits.core.params import flat, parse_yaml, read_yaml
from digits.core.workers import count_workers
from ops.tools import git
from ops.tools.dvc import clone_with_data, reproduce
from ops.tools.revisions import METRICS

# How far a metric may be off before it is a difference. Seeds alone move accuracy by 0.0005.
TOLERANCES = {
    "metrics/evaluation.json": {"accuracy": 0.0015, "nll": 0.004, "ece": 0.003},
    "metrics/train.json": {"val_accuracy": 0.0025, "val_nll": 0.01},
}
SHORT = {"epochs": 2, "batch_size": 64, "ema": 0.9}

Digests = dict[str, dict[str, str]]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """What dvc.lock and metrics/ say of a run.

    `digests` are of its outputs, by stage and path; `metrics` those with a tolerance; `inputs` are
    each stage's command, code, pins, parameters and the paths of its outputs; `misfits` are metrics
    files other than the ones that dvc.lock names.
    """

    digests: Digests
    metrics: dict[str, dict[str, Any]]
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    misfits: list[str] = field(default_factory=list)


def main() -> None:
    args = parse_args()
    lines: list[str] = []
    if args.here:
        verdict = report(committed(args.rev), outcome(Path.cwd()), lines.append)
    else:
        with tempfile.TemporaryDirectory(prefix="verify-") as folder:
            verdict = verify(args.rev, args.data, Path(folder), lines.append)
    text = "\n".join(lines)
    print(json.dumps({"verdict": verdict, "findings": lines}, indent=2) if args.json else text)
    sys.exit(0 if verdict in ("identical", "equivalent") else 1)


def verify(rev: str, source: str, folder: Path, tell: Tell) -> str:
    """Run the revision anew and compare: tells the findings and returns the verdict."""
    clone = folder / "clone"
    clone_with_data(git.commit(rev), clone)
    if source == "uci":
        cores = max(2, count_workers())
        shorten(clone / "params.yaml")
        expected, found = run(clone, 1), run(clone, cores)
        tell(f"one worker against {cores}, on scikit-learn's digits")
    else:
        expected = committed(rev)
        found = run(clone, count_workers())
        tell(f"{rev} against its dvc.lock")
    return report(expected, found, tell)


def shorten(path: Path) -> None:
    """Set the parameters to the bundled digits and a short training."""
    document = read_yaml(path)
    document["data"]["source"] = "uci"
    document["train"] |= SHORT
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def run(clone: Path, workers: int) -> Record:
    """Run every stage in a clone, and read the result."""
    reproduce(clone, workers)
    return outcome(clone)


def committed(rev: str) -> Record:
    """What a revision says of its run."""
    commit = git.commit(rev)

    def read(path: str) -> bytes:
        content = git.read(commit, path)
        if content is None:
            raise InputError(f"{rev} has no {path}: nothing was reproduced at that commit")
        return content

    return parse(read)


def outcome(folder: Path) -> Record:
    """What a folder says of its run."""

    def read(path: str) -> bytes:
        if not (folder / path).exists():
            raise InputError(f"{folder / path} does not exist. Run: dvc repro --force")
        return (folder / path).read_bytes()

    return parse(read)


def parse(read: Callable[[str], bytes]) -> Record:
    """An outcome from the contents of its files, which `read` gives."""
    lock = parse_yaml(read("dvc.lock"), "dvc.lock")["stages"]
    order = [stage for stage in parse_yaml(read("dvc.yaml"), "dvc.yaml")["stages"] if stage in lock]
    digests = {stage: {out["path"]: out["md5"] for out in lock[stage]["outs"]} for stage in order}
    outs = {path: md5 for found in digests.values() for path, md5 in found.items()}
    return Record(
        digests,
        metrics={path: parse_json(read(path), path) for path in TOLERANCES},
        inputs={stage: inputs(lock[stage], tuple(outs)) for stage in order},
        misfits=[
            path
            for path, md5 in outs.items()
            if path.startswith(f"{METRICS}/") and hashlib.md5(read(path)).hexdigest() != md5
        ],
    )


def parse_json(content: bytes, path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    return found


def inputs(stage: Mapping[str, Any], outs: tuple[str, ...]) -> dict[str, Any]:
    """Of what a stage was made, by its entry in dvc.lock; not what other stages made."""
    made = tuple(f"{out}/" for out in outs)
    return {
        "cmd": stage["cmd"],
        "outs": [out["path"] for out in stage["outs"]],
        **flat(stage.get("params", {}).get("params.yaml", {})),
        **{
            dep["path"]: dep["md5"]
            for dep in stage.get("deps", [])
            if not f"{dep['path']}/".startswith(made)
        },
    }


def report(expected: Record, found: Record, tell: Tell = print) -> str:
    """Tell what is the same and what is not; the verdict."""
    if outdated := [*stale(expected, found)]:
        tell("stale: the committed dvc.lock and metrics/ are not of this code")
        for line in outdated:
            tell(f"  {line}")
        tell("  The way out: dvc repro, and commit dvc.lock and metrics/")
        return "stale"
    differing = [
        (stage, path)
        for stage, outs in expected.digests.items()
        for path in outs
        if found.digests[stage].get(path) != outs[path]
    ]
    total = sum(len(outs) for outs in expected.digests.values())
    if not differing:
        tell(f"identical: all {total} outputs have the same bytes")
        return "identical"
    beyond = [line for line, within in compare_metrics(expected, found) if not within]
    data_differ = any(stage in ("fetch", "prepare") for stage, _ in differing)
    verdict = "different" if beyond or data_differ else "equivalent"
    tell(f"{verdict}: {len(differing)} of {total} outputs have other bytes")
    tell(f"  the first stage that diverges: {differing[0][0]} ({differing[0][1]})")
    for line, _ in compare_metrics(expected, found):
        tell(f"  {line}")
    for line in compare_environment(expected):
        tell(f"  {line}")
    return verdict


def stale(expected: Record, found: Record) -> Iterator[str]:
    """What the committed dvc.lock says of its inputs that is not so, and metrics not of its run."""
    for stage in expected.inputs | found.inputs:
        before, now = (side.inputs.get(stage, {}) for side in (expected, found))
        names = [name for name in before | now if before.get(name) != now.get(name)]
        if names:
            yield f"{stage}: other {', '.join(names)}"
    for path in expected.misfits:
        yield f"{path} is not the one that dvc.lock names"


def compare_metrics(expected: Record, found: Record) -> list[tuple[str, bool]]:
    lines = []
    for path, tolerances in TOLERANCES.items():
        for name, tolerance in tolerances.items():
            before, now = expected.metrics[path][name], found.metrics[path][name]
            within = abs(now - before) <= tolerance
            word = "within" if within else "BEYOND"
            lines.append((f"{name} {before} -> {now}, {word} {tolerance}", within))
    return lines


def compare_environment(expected: Record) -> list[str]:
    """What the committed run says of its machine and libraries, beside what is here."""
    import torch  # 2 s

    here = {
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.split("+")[0],
    }
    committed = expected.metrics["metrics/train.json"]
    return [
        f"{name}: {committed.get(name)} there, {value} here"
        for name, value in here.items()
        if committed.get(name) != value
    ] or [
        "instruction set and torch are the same here as there; what remains is the processor's "
        "make, by which torch chooses how to compute"
    ]


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.verify", __doc__)
    parser.add_argument("rev", nargs="?", default="HEAD", help="a Git revision (HEAD)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--here", action="store_true", help="compare what dvc repro --force has left in this folder"
    )
    how.add_argument(
        "--data",
        choices=("mnist", "uci"),
        default="mnist",
        help="uci: offline, two short runs compared with each other",
    )
    parser.add_argument("--json", action="store_true", help="the verdict for a machine")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
