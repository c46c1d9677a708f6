"""Accuracy, robustness, size and speed of each recipe, over several seeds.

python -m benchmarks.accuracy [--recipes NAME ...] [--seeds N ...] [--untimed]

Each network is exported, and the exported file is measured, since this file is served. The test
images are used only after a training has ended; docs/explanation.md says how the recipe was chosen.
Recipes and seeds that are not named keep their results. All times of a recipe come from one call.
Use `--untimed` while the machine does other work: no times are measured, and earlier ones are kept.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import measure
from digits.core import command_line, errors
from digits.core.workers import count_workers
from digits.data import dataset
from digits.data.dataset import Labelled
from digits.evaluation import evaluate
from digits.model.classifier import Classifier
from digits.model.network import Network, save_network
from ops.tools import presets
from stages import export

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "bfloat16": {"train.precision": "bfloat16"},
    "cuda": {"train.device": "cuda"},
    "cuda-bfloat16": {"train.device": "cuda", "train.precision": "bfloat16"},
    **{name: presets.load(name) for name in presets.names() if name != "demo"},
}
RUN = ("accuracy", "robustness", "val_nll", "wrong")
TIMES = ("train_s", "us_per_image", "machine")
IMAGES = 2000  # classified to measure the time for one image


def main() -> None:
    args = parse_args()
    train, val, test = (dataset.load(measure.PREPARED, name) for name in ("train", "val", "test"))
    results = measure.load("accuracy")
    results.pop("machine", None)
    for name in args.recipes:
        before = results.get(name, {})
        _, recipe = measure.configuration(RECIPES[name])
        runs, times = former_runs(before), {key: before[key] for key in TIMES if key in before}
        if not args.untimed:
            times = {"train_s": [], "us_per_image": [], "machine": measure.machine()}
        for seed in args.seeds:
            changes = {**RECIPES[name], "train.seed": seed}
            trained, seconds = measure.train(changes, train, val, count_workers())
            with tempfile.TemporaryDirectory() as folder:
                classifier = exported(trained.network, Path(folder))
                size = Path(folder, "model", "model.onnx").stat().st_size
            evaluation = evaluate.evaluate(classifier, test, count_workers())
            summary = evaluate.summary(evaluation)
            run = {
                "accuracy": summary["accuracy"],
                "robustness": summary["robustness"]["mean"],
                "val_nll": round(trained.best.val_nll, 6),
                "wrong": evaluation.wrong.tolist(),
            }
            runs[seed] = run
            if not args.untimed:
                times["train_s"].append(round(seconds, 1))
                times["us_per_image"].append(round(microseconds(classifier, test), 1))
            print(f"{name}, seed {seed}: {run['accuracy']:.2%} in {seconds:.1f} s")
            columns = {key: [runs[number][key] for number in sorted(runs)] for key in RUN}
            results[name] = columns | {
                "seeds": sorted(runs),
                "device": recipe.device,
                "precision": recipe.precision,
                "parameters": classifier.parameters,
                "model_bytes": size,
                **times,
            }
            measure.save("accuracy", results)  # after each run: all of them take hours


def former_runs(entry: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """The earlier results of each seed; empty if a column is missing."""
    if any(key not in entry for key in RUN):
        return {}
    return {seed: {key: entry[key][i] for key in RUN} for i, seed in enumerate(entry["seeds"])}


def exported(network: Network, folder: Path) -> Classifier:
    """The network as the stage `export` writes it, into folder/model; without a detector."""
    weights, detector, out = (folder / name for name in ("weights", "detector", "model"))
    save_network(network, weights)
    detector.touch()
    words = ["--weights", weights, "--detector", detector, "--data", measure.PREPARED, "--out", out]
    export.main([str(word) for word in words])
    return Classifier.load(out)


def microseconds(classifier: Classifier, test: Labelled) -> float:
    """Time to classify one image on one core: that of many images, divided by their number."""
    some = test.images[:IMAGES]
    times = [measure.seconds(lambda: classifier.logits(some)) for _ in range(5)]
    return 1e6 * statistics.median(times) / len(some)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.accuracy", __doc__)
    possible = [name for name in RECIPES if "cuda" not in name or torch.cuda.is_available()]
    parser.add_argument(
        "--recipes",
        nargs="+",
        choices=RECIPES,
        default=possible,
        metavar="NAME",
        help=f"of {', '.join(RECIPES)} (all that this machine can run)",
    )
    measure.add_seeds(parser)
    parser.add_argument("--untimed", action="store_true", help="keep the times of an earlier run")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
