"""Seconds of training to 99.0, 99.2 and 99.5 % test accuracy, against PyTorch's example.

python -m benchmarks.time_to_accuracy [--seeds N ...]

This benchmark measures the test accuracy after each epoch, since that is its question. Its recipes
were chosen on validation images. Both sides train on all training images, on as many threads.

Ours: a recipe for each goal, from the first step to the last, accuracy measurements included. The
time is that of all runs divided by the number of runs that end at the goal or above it: the mean
time to a success, if a run that fails is followed by another one.

The baseline: PyTorch's MNIST example (pytorch_example.py), in a process of its own, with kernels
that PyTorch chooses. The time is that until the end of the first epoch at the goal or above it,
without the accuracy measurements. If it never gets there, its whole time is a lower bound.
"""

import json
from typing import Any

from benchmarks import measure, unpinned
from benchmarks.pytorch_example import RAW
from digits.core import command_line, errors
from digits.core.workers import count_workers
from digits.data import dataset
from digits.data.dataset import Labelled
from ops.tools import presets

FAST = presets.load("fast")
RECIPES: dict[str, dict[str, Any]] = {
    "0.990": {**FAST, "model.channels": [8, 16, 32]},
    "0.992": FAST,
    "0.995": {
        **presets.load("short"),
        "model.channels": [8, 24, 64],
        "train.epochs": 2,
        "train.batch_size": 128,
        "train.shards": 2,
        "train.optimizer.lr": 0.6,
        "train.augmentation.rotation": 6.0,
        "train.augmentation.translation": 1.0,
        "train.augmentation.scale": 0.06,
        "train.augmentation.shear": 3.0,
    },
}


def main() -> None:
    parser = command_line.parser("benchmarks.time_to_accuracy", __doc__)
    measure.add_seeds(parser)
    args = parser.parse_args()
    workers = count_workers()
    train, test = (dataset.load(RAW, name) for name in ("train", "test"))
    ours = {goal: time_recipe(goal, train, test, args.seeds, workers) for goal in RECIPES}
    curve = time_baseline(workers)
    results = compare(ours, curve) | {"runs": ours, "baseline_curve": curve, "workers": workers}
    for goal, ratio in results["ratio"].items():
        bound = "at least " if goal in results["baseline_never_reached"] else ""
        print(
            f"{float(goal):.1%}: {results['ours'][goal]} s, the baseline "
            f"{results['baseline'][goal]} s: {bound}{ratio} times as long"
        )
    measure.save("time_to_accuracy", results)


def time_recipe(
    goal: str, train: Labelled, test: Labelled, seeds: list[int], workers: int
) -> dict[str, list[float]]:
    """Train a goal's recipe with each seed: seconds, and the last epoch's test accuracy."""
    runs: dict[str, list[float]] = {"seconds": [], "accuracy": []}
    for seed in seeds:
        changes = {**RECIPES[goal], "train.seed": seed, "train.early_stopping.patience": 100}
        trained, seconds = measure.train(changes, train, test, workers)
        runs["seconds"].append(round(seconds, 2))
        runs["accuracy"].append(trained.curve[-1].val_accuracy)
        print(f"{goal}, seed {seed}: {runs['accuracy'][-1]:.2%} in {seconds:.1f} s")
    return runs


def compare(
    ours: dict[str, dict[str, list[float]]], curve: list[dict[str, float]]
) -> dict[str, Any]:
    """Both times to each goal, and their ratio. `curve` is the baseline's, with a row per epoch."""
    times, baseline, never = {}, {}, []
    for goal, runs in ours.items():
        reached = sum(accuracy >= float(goal) for accuracy in runs["accuracy"])
        if not reached:
            best = max(runs["accuracy"])
            raise SystemExit(f"no run reached a test accuracy of {goal}; the best has {best}")
        times[goal] = round(sum(runs["seconds"]) / reached, 2)
        epochs = (row["seconds"] for row in curve if row["accuracy"] >= float(goal))
        baseline[goal] = next(epochs, curve[-1]["seconds"])
        if all(row["accuracy"] < float(goal) for row in curve):
            never.append(goal)
    ratio = {goal: round(baseline[goal] / times[goal], 1) for goal in ours}
    return {"ours": times, "baseline": baseline, "baseline_never_reached": never, "ratio": ratio}


def time_baseline(workers: int) -> list[dict[str, float]]:
    """Train PyTorch's example, with the kernels that PyTorch chooses: a row for each epoch."""
    curve = []
    for line in unpinned.lines("benchmarks.pytorch_example", "--workers", workers):
        curve.append(json.loads(line))
        print("baseline, epoch {epoch}: {accuracy:.2%} after {seconds:.0f} s".format(**curve[-1]))
    return curve


if __name__ == "__main__":
    errors.run(main)
