"""Test accuracy and training time of each recipe over several seeds.

python -m benchmarks.accuracy [--recipes NAME ...] [--seeds N ...] [--untimed]

The test set is only looked at when a training has ended; the README says how the recipe was chosen.
Recipes that are not named keep their former results; with `--untimed`, for when other work goes on
beside it, times are kept from before.
"""

import argparse
from typing import Any

from benchmarks import measure
from digits import compute, data

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "bfloat16": {"train.precision": "bfloat16"},
    "accurate": {
        "model.members": 5,
        "train.epochs": 12,
        "train.augmentation.rotation": 15.0,
        "train.augmentation.scale": 0.15,
        "train.augmentation.shear": 10.0,
        "train.early_stopping.patience": 12,
    },
    "classic": {
        "model.channels": [32, 64, 128],
        "model.convolutions": [1, 1, 1],
        "model.pooling": "avg",
        "model.pool_size": 3,
        "model.hidden": [256, 128],
        "model.spatial_dropout": 0.1,
        "model.dense_dropout": 0.5,
        "train.optimizer.name": "adam",
        "train.optimizer.lr": 0.001,
        "train.schedule.name": "step",
        "train.schedule.step.every": 3,
    },
}


def main() -> None:
    args = parse_args()
    train, val, test = (data.load(measure.PREPARED, name) for name in ("train", "val", "test"))
    results = measure.load("accuracy")
    results.pop("machine", None)
    for name in args.recipes:
        entry: dict[str, Any] = {"seeds": args.seeds, "accuracy": [], "val_nll": [], "wrong": []}
        entry["train_s"] = results[name]["train_s"] if args.untimed else []
        for seed in args.seeds:
            changes = {**RECIPES[name], "train.seed": seed}
            trained, seconds = measure.train(changes, train, val, compute.workers())
            entry["wrong"].append(measure.wrong(trained.network, test))
            entry["accuracy"].append(1 - len(entry["wrong"][-1]) / len(test))
            entry["val_nll"].append(round(trained.best.val_nll, 6))
            if not args.untimed:
                entry["train_s"].append(round(seconds, 1))
            print(f"{name}, seed {seed}: {entry['accuracy'][-1]:.4f} in {seconds:.1f} s")
        _, recipe = measure.configuration(RECIPES[name])
        parameters = sum(p.numel() for p in trained.network.parameters())
        entry |= {"precision": recipe.precision, "parameters": parameters}
        results[name] = entry
        measure.save("accuracy", results)
    for name, entry in results.items():
        accuracy, times = measure.spread(entry["accuracy"]), measure.spread(entry["train_s"])
        print(f"{name:<12} accuracy {accuracy}, {times} s")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.accuracy", description=__doc__)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--untimed", action="store_true", help="keep the times of an earlier run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
