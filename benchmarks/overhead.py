"""What `dvc repro` from nothing takes beside the training loop, peak memory, cost of checkpoints.

MNIST_MIRROR=/path/to/folder python -m benchmarks.overhead

The pipeline runs in a clone with one and with two epochs: their difference is an epoch, and the
shorter run less an epoch is what the five stages cost together (imports, data, export, evaluation).
"""

import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
import yaml

from benchmarks import measure
from digits import commands, errors
from digits.checkpoint import Checkpoint, State
from digits.errors import InputError
from digits.model import Network
from ops import launch

RUNS = 3


def main() -> None:
    commands.parser("benchmarks.overhead", __doc__).parse_args()
    mirror = launch.elsewhere()
    if not mirror:
        raise InputError("MNIST_MIRROR is not set: the download would be measured too")
    os.environ |= mirror
    overheads, epochs = [], []
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", measure.ROOT, clone], check=True)
        for _ in range(RUNS):
            one, two = repro_seconds(clone, 1), repro_seconds(clone, 2)
            epochs.append(two - one)
            overheads.append(one - epochs[-1])
            print(f"overhead {overheads[-1]:.1f} s, an epoch {epochs[-1]:.1f} s")
        memory = {
            name: round(measure.peak_mb(["sh", "-c", command], clone))
            for name, command in stages(clone).items()
        }
    print(f"beside the training loop: {measure.spread(overheads)} s")
    for name, megabytes in memory.items():
        print(f"  {name:<9} {megabytes} MB at most")
    saves = checkpoint_seconds()
    share = statistics.median(saves) / statistics.median(epochs)
    print(f"a checkpoint: {measure.spread(saves)} s, {share:.2%} of its epoch")
    results = {
        "checkpoint_s": [round(value, 4) for value in saves],
        "checkpoint_share": round(share, 5),
        "overhead_s": [round(value, 1) for value in overheads],
        "median_overhead_s": round(statistics.median(overheads), 1),
        "epoch_s": [round(value, 1) for value in epochs],
        "peak_memory_mb": memory,
    }
    measure.save("overhead", results)


def repro_seconds(clone: Path, epochs: int) -> float:
    measure.write_params(clone / "params.yaml", {"train.epochs": epochs})
    words = ["dvc", "repro", "--force", "--no-run-cache"]
    return measure.seconds(
        lambda: subprocess.run(words, cwd=clone, check=True, capture_output=True)
    )


def stages(clone: Path) -> dict[str, str]:
    document = yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))
    return {name: stage["cmd"] for name, stage in document["stages"].items()}


def checkpoint_seconds(repeats: int = 20) -> list[float]:
    """To save the state of the default network, as after each epoch."""
    architecture, _ = measure.configuration({})
    network = Network(architecture, tuple("0123456789"), (28, 28), 33.0, 79.0)
    size = sum(tensor.numel() for tensor in network.state_dict().values())
    shapes = {"weights": (size,), "moments": (2, size), "average": (size,), "kept": (size,)}
    state = State({name: torch.zeros(shape) for name, shape in shapes.items()}, [])
    with tempfile.TemporaryDirectory(dir=measure.ROOT) as folder:
        file = Checkpoint(Path(folder, "state"))
        return [measure.seconds(lambda: file.save({}, state)) for _ in range(repeats)]


if __name__ == "__main__":
    errors.run(main)
