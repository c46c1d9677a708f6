"""Are the committed results those of the committed code? python -m ops.verify [REV]

Clones the revision into a temporary folder, runs its pipeline from nothing, the data included, and
compares every output with its dvc.lock:

  identical    the same bytes
  equivalent   other bytes, metrics within the tolerances: another CPU rounds otherwise
  different    anything else; names the first stage that diverges, and what differs here

Exit code 0 for the first two, 1 for the third, 2 when it could not run. With --data uci there is no
dvc.lock to compare with: it runs twice, with one worker and with several, and compares the two.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from digits import compute, errors
from digits.errors import InputError
from digits.params import read_yaml
from ops import git

# How far a metric may be off before it is a difference. Seeds alone move accuracy by 0.0005.
TOLERANCES = {
    "metrics/evaluation.json": {"accuracy": 0.0015, "nll": 0.004, "ece": 0.003},
    "metrics/train.json": {"val_accuracy": 0.0025, "val_nll": 0.01},
}
SHORT = {"epochs": 2, "batch_size": 64, "ema": 0.9}

Digests = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Outcome:
    """A run's outputs: their digests by stage and path, and the metrics with a tolerance."""

    digests: Digests
    metrics: dict[str, dict[str, Any]]


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        verdict = verify(args.rev, args.data, Path(folder))
    sys.exit(0 if verdict in ("identical", "equivalent") else 1)


def verify(rev: str, source: str, folder: Path) -> str:
    """Run the revision anew and compare; prints the findings and returns the verdict."""
    clone = folder / "clone"
    checkout(rev, clone)
    if source == "uci":
        cores = max(2, compute.workers())
        shorten(clone / "params.yaml")
        expected, found = reproduce(clone, 1), reproduce(clone, cores)
        print(f"one worker against {cores}, on scikit-learn's digits")
    else:
        expected = outcome(clone)
        found = reproduce(clone, compute.workers())
        print(f"{rev} against its dvc.lock")
    return report(expected, found)


def checkout(rev: str, clone: Path) -> None:
    git.clone(git.commit(rev), clone)
    if not (clone / "dvc.lock").exists():
        raise InputError(f"{rev} has no dvc.lock: nothing was reproduced at that commit")


def shorten(path: Path) -> None:
    """Set the parameters to the bundled digits and a short training."""
    document = read_yaml(path)
    document["data"]["source"] = "uci"
    document["train"] |= SHORT
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def reproduce(clone: Path, workers: int) -> Outcome:
    """Run every stage, whatever a cache may hold."""
    words = ["dvc", "repro", "--force", "--no-run-cache"]
    mirror = os.environ.get("MNIST_MIRROR")
    if mirror and Path(mirror).is_dir():
        mirror = str(Path(mirror).resolve())
    environment = {compute.WORKERS: str(workers), **({"MNIST_MIRROR": mirror} if mirror else {})}
    if subprocess.run(words, cwd=clone, env=os.environ | environment).returncode:
        raise InputError("the pipeline failed; its own message stands above")
    return outcome(clone)


def outcome(clone: Path) -> Outcome:
    lock = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))
    digests = {
        stage: {out["path"]: out["md5"] for out in entry["outs"]}
        for stage, entry in lock["stages"].items()
    }
    order = list(yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    metrics = {name: json.loads((clone / name).read_text(encoding="utf-8")) for name in TOLERANCES}
    return Outcome({stage: digests[stage] for stage in order}, metrics)


def report(expected: Outcome, found: Outcome) -> str:
    """Print what is the same and what is not; the verdict."""
    differing = [
        (stage, path)
        for stage, outs in expected.digests.items()
        for path in outs
        if found.digests[stage].get(path) != outs[path]
    ]
    total = sum(len(outs) for outs in expected.digests.values())
    if not differing:
        print(f"identical: all {total} outputs have the same bytes")
        return "identical"
    beyond = [line for line, within in compare_metrics(expected, found) if not within]
    data_differ = any(stage in ("fetch", "prepare") for stage, _ in differing)
    verdict = "different" if beyond or data_differ else "equivalent"
    print(f"{verdict}: {len(differing)} of {total} outputs have other bytes")
    print(f"  the first stage that diverges: {differing[0][0]} ({differing[0][1]})")
    for line, _ in compare_metrics(expected, found):
        print(f"  {line}")
    for line in compare_environment(expected):
        print(f"  {line}")
    return verdict


def compare_metrics(expected: Outcome, found: Outcome) -> list[tuple[str, bool]]:
    lines = []
    for path, tolerances in TOLERANCES.items():
        for name, tolerance in tolerances.items():
            before, now = expected.metrics[path][name], found.metrics[path][name]
            within = abs(now - before) <= tolerance
            word = "within" if within else "BEYOND"
            lines.append((f"{name} {before} -> {now}, {word} {tolerance}", within))
    return lines


def compare_environment(expected: Outcome) -> list[str]:
    """What the committed run says of its machine and libraries, beside what is here."""
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
    parser = argparse.ArgumentParser(
        "ops.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rev", nargs="?", default="HEAD", help="a Git revision (HEAD)")
    parser.add_argument(
        "--data",
        choices=("mnist", "uci"),
        default="mnist",
        help="uci: offline, two short runs compared with each other",
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
