"""What each recipe gives, over several seeds: test accuracy, robustness, size, speed, time.

python -m benchmarks.accuracy [--recipes NAME ...] [--seeds N ...] [--untimed]

The file that is served is what is measured: each network is exported. The test set is only looked
at when a training has ended; docs/explanation.md says how the recipe was chosen. Recipes and seeds
that are not named keep their former results. Times are those of one call; with `--untimed`, for
when other work goes on beside it, they are kept from before, or left out.
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
IMAGES = 2000  # that are classified to see how long it takes


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
            found = evaluate.evaluate(classifier, test, count_workers())
            figures = evaluate.summary(found)
            run = {
                "accuracy": figures["accuracy"],
                "robustness": figures["robustness"]["mean"],
                "val_nll": round(trained.best.val_nll, 6),
                "wrong": found.wrong.tolist(),
            }
            runs[seed] = run
            if not args.untimed:
                times["train_s"].append(round(seconds, 1))
                times["us_per_image"].append(round(microseconds(classifier, test), 1))
            print(f"{name}, seed {seed}: {run['accuracy']:.2%} in {seconds:.1f} s")
            columns = {key: [runs[each][key] for each in sorted(runs)] for key in RUN}
            results[name] = columns | {
                "seeds": sorted(runs),
                "device": recipe.device,
                "precision": recipe.precision,
                "parameters": classifier.parameters,
                "model_bytes": size,
                **times,
            }
            measure.save("accuracy", results)  # each time: it is hours until the last


def former_runs(entry: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What is known of each seed; nothing where a column is missing."""
    if any(key not in entry for key in RUN):
        return {}
    return {seed: {key: entry[key][i] for key in RUN} for i, seed in enumerate(entry["seeds"])}


def exported(network: Network, folder: Path) -> Classifier:
    """The network as the stage `export` writes it, into folder/model."""
    weights, out = folder / "weights.safetensors", folder / "model"
    save_network(network, weights)
    export.main(["--weights", f"{weights}", "--data", f"{measure.PREPARED}", "--out", f"{out}"])
    return Classifier.load(out)


def microseconds(classifier: Classifier, test: Labelled) -> float:
    """To classify an image, of many, on one core."""
    some = test.images[:IMAGES]
    times = [measure.seconds(lambda: classifier.logits(some)) for _ in range(5)]
    return 1e6 * statistics.median(times) / len(some)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.accuracy", __doc__)
    here = [name for name in RECIPES if "cuda" not in name or torch.cuda.is_available()]
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=here)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--untimed", action="store_true", help="keep the times of an earlier run")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
