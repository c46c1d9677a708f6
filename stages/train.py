"""Train the network: data/prepared -> models/weights.safetensors, and the training curve.

The weights are those of the best epoch on the validation images. They do not depend on the number
of workers or processes, nor on whether the training was killed and continued.

    python -m stages.train --data data/prepared --weights models/weights.safetensors \\
        --metrics metrics/train.json --curve metrics/plots/training.csv --resume .resume
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from digits.core import command_line, errors, files, kernels
from digits.core.params import Params
from digits.core.workers import count_workers
from digits.data import dataset
from digits.model.network import Architecture, initial_network, save_network
from digits.training import checkpoint, distributed
from digits.training.calibration import calibrate
from digits.training.curve import Epoch
from digits.training.loop import Trained, train
from digits.training.recipe import Recipe, resolve


class TrainParams(Params):
    model: Architecture
    train: Recipe


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = TrainParams.load(args.params)
    recipe, used_kernels = resolve(params.train), kernels.require_pins()

    data, val = dataset.load(args.data, "train"), dataset.load(args.data, "val")
    classes = dataset.load_source(args.data).classes
    network = initial_network(params.model, classes, data.images, recipe.seed)
    with checkpoint.open_folder(args.resume) as state:
        on_epoch = partial(save_curve, args.curve)
        trained = train(network, recipe, data, val, count_workers(), state, on_epoch)
        calibrated = calibrate(trained.network, trained.best.calibration)
        if distributed.rank() == 0:  # every process has the same result, and one writes it
            save_network(calibrated, args.weights)
            save_curve(args.curve, trained.curve)
            files.write(args.metrics, files.canonical_json(summary(trained, recipe, used_kernels)))


def save_curve(path: Path, curve: Sequence[Epoch]) -> None:
    """Write the curve, also after each epoch, so that `dvc plots show` can watch a training."""
    files.write(path, files.csv_table([asdict(row) for row in curve]))


def summary(trained: Trained, recipe: Recipe, used_kernels: str) -> dict[str, int | float | str]:
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
        "kernels": used_kernels,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.split("+")[0],  # without the build
    }


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.train", __doc__)
    parser.add_argument("--params", type=Path, default="params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="folder that `prepare` wrote")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write: the best epoch")
    parser.add_argument(
        "--resume", type=Path, required=True, help="folder for the checkpoint of a killed training"
    )
    parser.add_argument("--curve", type=Path, required=True, help="CSV to write: a row per epoch")
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
