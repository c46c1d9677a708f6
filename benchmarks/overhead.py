"""Time besides training: `dvc repro`, start of the commands, checkpoints; and memory.

MNIST_MIRROR=/path/to/folder python -m benchmarks.overhead

The pipeline runs in a clone without the detector, with one and with two epochs. The difference is
the time of an epoch. The shorter run minus an epoch is the time of everything else: imports, data,
export, evaluation. A third run shows what the detector adds.
Also measured: `dvc repro` with nothing to do, against a repository with a single stage, and the
processor time of each command until it has shown its --help.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
import yaml

from benchmarks import measure
from digits.core import command_line, errors
from digits.core.errors import InputError
from digits.model.network import Network
from digits.training.checkpoint import Checkpoint, State
from ops.tools import compute

RUNS = 3
STARTS = 5  # runs of what takes little time
COMMANDS = (
    *("correct", "demo", "deploy", "doctor", "evaluators", "experiment", "gate", "predict"),
    *("push", "registry", "report", "sagemaker", "sweep", "verify"),
)


def main() -> None:
    command_line.parser("benchmarks.overhead", __doc__).parse_args()
    mirror = compute.environment_for_clones()
    if not mirror:
        raise InputError(
            "MNIST_MIRROR is not set, so the download would be measured too. Name a folder with "
            "MNIST's four files: MNIST_MIRROR=/path/to/folder"
        )
    os.environ |= mirror
    overheads, epochs, detectors = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", measure.ROOT, clone], check=True)
        for _ in range(RUNS):
            one, two = (
                repro_seconds(clone, {"train.epochs": n, "detector.outliers": 0}) for n in (1, 2)
            )
            epochs.append(two - one)
            overheads.append(one - epochs[-1])
            detectors.append(repro_seconds(clone, {"train.epochs": 1}) - one)
            print(
                f"overhead {overheads[-1]:.1f} s, an epoch {epochs[-1]:.1f} s, the detector "
                f"{detectors[-1]:.1f} s"
            )
        idle = idle_seconds(clone, Path(folder, "single"))
        memory = {
            name: round(measure.peak_mb(["sh", "-c", command], clone))
            for name, command in stages(clone).items()
        }
    print(f"besides the training loop: {measure.spread(overheads)} s")
    print(f"the detector adds {measure.spread(detectors)} s")
    for name, megabytes in memory.items():
        print(f"  {name:<9} {megabytes} MB at most")
    ratios = measure.ratios(idle["ours"], idle["one_stage"])
    print(f"nothing to do: {measure.spread(ratios)} times the time in a one-stage repository")
    starts = {name: [help_seconds(f"ops.{name}") for _ in range(STARTS)] for name in COMMANDS}
    for name, values in starts.items():
        print(f"  {name:<11} --help: {measure.spread(values)} s of processor time")
    saves = checkpoint_seconds()
    share = statistics.median(saves) / statistics.median(epochs)
    print(f"a checkpoint: {measure.spread(saves)} s, {share:.2%} of its epoch")
    results = {
        "checkpoint_s": measure.rounded(saves, 4),
        "checkpoint_share": round(share, 5),
        "overhead_s": measure.rounded(overheads),
        "epoch_s": measure.rounded(epochs),
        "detector_s": measure.rounded(detectors),
        "help_cpu_s": {k: measure.rounded(values, 3) for k, values in starts.items()},
        "idle_s": {k: measure.rounded(values, 3) for k, values in idle.items()},
        "idle_ratio": ratios,
        "peak_memory_mb": memory,
    }
    measure.save("overhead", results)


def repro_seconds(clone: Path, changes: dict[str, int]) -> float:
    measure.write_params(clone / "params.yaml", changes)
    return measure.seconds(partial(repro, clone, "--force", "--no-run-cache"))


def idle_seconds(clone: Path, single: Path) -> dict[str, list[float]]:
    """`dvc repro` with nothing to do: in the clone, and in a new repository with one stage."""
    single.mkdir()
    (single / "dvc.yaml").write_text(
        "stages: {copy: {cmd: cp in out, deps: [in], outs: [out]}}\n", encoding="utf-8"
    )
    (single / "in").write_text("1", encoding="utf-8")
    for words in (["git", "init"], ["dvc", "init"], ["dvc", "repro"]):
        subprocess.run([*words, "--quiet"], cwd=single, check=True)
    times: dict[str, list[float]] = {"ours": [], "one_stage": []}
    for _ in range(STARTS):
        times["ours"].append(measure.seconds(partial(repro, clone)))
        times["one_stage"].append(measure.seconds(partial(repro, single)))
    return times


def repro(folder: Path, *options: str) -> None:
    subprocess.run(["dvc", "repro", *options], cwd=folder, check=True, capture_output=True)


def help_seconds(module: str) -> float:
    """Processor time of a command's --help, including its child processes."""
    before = os.times()
    subprocess.run([sys.executable, "-m", module, "--help"], check=True, capture_output=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])  # of children, as user and as system


def stages(clone: Path) -> dict[str, str]:
    document = yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))
    return {name: stage["cmd"] for name, stage in document["stages"].items()}


def checkpoint_seconds(repeats: int = 20) -> list[float]:
    """Times to save the training state of the default network, as after each epoch."""
    architecture, _ = measure.configuration({})
    network = Network(architecture, tuple("0123456789"), (28, 28), 33.0, 79.0)
    size = sum(tensor.numel() for tensor in network.state_dict().values())
    shapes = {"current": (size,), "moments": (2, size), "average": (size,), "best": (size,)}
    state = State({name: torch.zeros(shape) for name, shape in shapes.items()}, [])
    with tempfile.TemporaryDirectory(dir=measure.ROOT) as folder:
        file = Checkpoint(Path(folder, "state"))
        return [measure.seconds(lambda: file.save({}, state)) for _ in range(repeats)]


if __name__ == "__main__":
    errors.run(main)
