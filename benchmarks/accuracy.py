"""Test accuracy and training time of each recipe over several seeds.

python -m benchmarks.accuracy [--recipes NAME ...] [--seeds N ...] [--untimed]

The test set is only looked at when a training has ended; the README says how the recipe was chosen.
Recipes that are not named keep their former results; with `--untimed`, for when other work goes on
beside it, times are kept from before.
"""

import argparse
from typing import Any

from benchmarks import measure
from digits import compute, data, presets

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "bfloat16": {"train.precision": "bfloat16"},
    **{name: presets.load(name) for name in presets.names() if name != "demo"},
}


def main() -> None:
    args = parse_args()
    train, val, test = (data.load(measure.PREPARED, name) for name in ("train", "val", "test"))
    results = measure.load("accuracy")
    results.pop("machine", None)
    for name in args.recipes:
        timed = results[name]["train_s"] if args.untimed else []
        entry: dict[str, Any] = {"seeds": [], "accuracy": [], "val_nll": [], "wrong": []}
        for seed in args.seeds:
            changes = {**RECIPES[name], "train.seed": seed}
            trained, seconds = measure.train(changes, train, val, compute.workers())
            wrong = measure.wrong(trained.network, test)
            entry["seeds"].append(seed)
            entry["wrong"].append(wrong)
            entry["accuracy"].append(1 - len(wrong) / len(test))
            entry["val_nll"].append(round(trained.best.val_nll, 6))
            if not args.untimed:
                timed.append(round(seconds, 1))
            print(f"{name}, seed {seed}: {entry['accuracy'][-1]:.4f} in {seconds:.1f} s")
            _, recipe = measure.configuration(RECIPES[name])
            parameters = sum(p.numel() for p in trained.network.parameters())
            about = {"precision": recipe.precision, "parameters": parameters, "train_s": timed}
            results[name] = entry | about | {"machine": measure.machine()}
            measure.save("accuracy", results)  # each time: it is hours until the last
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
