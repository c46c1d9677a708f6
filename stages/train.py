"""Train the network: data/prepared -> models/weights.safetensors, and the curve.

The weights are those of the best epoch on the validation images. The number of workers and of
processes changes nothing in them, nor does it that a run was killed and started again.

    python -m stages.train --data data/prepared --weights models/weights.safetensors \\
        --metrics metrics/train.json --curve metrics/plots/training.csv --resume .resume
"""

import argparse
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from digits.core import command_line, errors, files
from digits.core.params import Params
from digits.core.workers import count_workers
from digits.data import dataset
from digits.model.network import Architecture, initial_network, save_network
from digits.training import checkpoint, loop
from digits.training.recipe import Recipe


class TrainParams(Params):
    model: Architecture
    train: Recipe


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = TrainParams.load(args.params)
    recipe = loop.resolve(params.train)

    train, val = dataset.load(args.data, "train"), dataset.load(args.data, "val")
    classes = dataset.load_source(args.data).classes
    network = initial_network(params.model, classes, train.images, recipe.seed)
    with checkpoint.open_folder(args.resume) as state:
        on_epoch = partial(save_curve, args.curve)
        trained = loop.train(network, recipe, train, val, count_workers(), state, on_epoch)
        save_network(trained.network, args.weights)
        save_curve(args.curve, trained.curve)
        files.write(args.metrics, files.canonical_json(summary(trained, recipe)))


def save_curve(path: Path, curve: list[loop.Epoch]) -> None:
    """Also while training goes on, so that it can be watched: dvc plots show."""
    files.write(path, files.csv_table([asdict(row) for row in curve]))


def summary(trained: loop.Trained, recipe: Recipe) -> dict[str, int | float | str]:
    best = trained.best
    return {
        "epochs": len(trained.curve),
        "best_epoch": best.epoch,
        "val_accuracy": round(best.val_accuracy, 6),
        "val_nll": round(best.val_nll, 6),
        "train_loss": round(best.train_loss, 6),
        "seed": recipe.seed,
        "device": recipe.device,
        "precision": recipe.precision,
        "shards": recipe.shards,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.split("+")[0],  # the rest names a build
    }


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.train", __doc__)
    parser.add_argument("--params", type=Path, default="params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="folder that `prepare` wrote")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON: the best epoch's")
    parser.add_argument("--resume", type=Path, required=True, help="folder to go on from if killed")
    parser.add_argument("--curve", type=Path, required=True, help="CSV: a row an epoch")
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main)
