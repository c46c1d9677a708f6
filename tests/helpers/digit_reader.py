"""A model that reads what is drawn: trained in seconds on the bundled scans, not on MNIST.

Scans and drawings go through one preprocessing, the model's own.

    folder = write_folder(tmp_path / "model", uci)     # a model folder, for `python -m serving`
"""

from pathlib import Path

import numpy as np

from benchmarks import measure
from digits.data import dataset
from digits.data.dataset import Labelled, Raw
from digits.imaging import model_form
from digits.model import onnx_export
from digits.model.network import initial_network
from digits.training import loop
from digits.training.calibration import calibrate
from digits.training.recipe import resolve

CHANGES = {
    "model.channels": [8, 16, 32],
    "train.batch_size": 64,
    "train.ema": 0.95,
    "train.epochs": 4,
    "train.optimizer.lr": 0.2,
}


def write_folder(folder: Path, uci: Raw) -> Path:
    """Train, and export to a folder."""
    architecture, recipe = measure.configuration(CHANGES)
    train, val = (uci.train.take(part) for part in dataset.split_indices(uci.train.labels, 0.1, 0))
    network = initial_network(architecture, uci.source.classes, train.images, recipe.seed)
    form = onnx_export.preprocessing(network, uci.source.method)

    def prepare(*scans: Labelled) -> Labelled:
        found = [model_form.convert(image, form) for each in scans for image in each.images]
        return Labelled(np.stack(found), np.concatenate([each.labels for each in scans]))

    both = prepare(train, with_a_fine_pen(train))
    trained = loop.train(network, resolve(recipe), both, prepare(val), workers=2)
    network = calibrate(trained.network, trained.best.calibration)
    content, test = onnx_export.to_onnx(network), prepare(uci.test)
    onnx_export.compare(network, content, test.images, workers=2)
    folder.mkdir()
    onnx_export.write_folder(folder, network, content, form, test)
    return folder


def with_a_fine_pen(scans: Labelled) -> Labelled:
    """The strokes' cores alone: the scans are soft, since they had 8 x 8 pixels."""
    cores = np.clip(3.0 * scans.images - 380, 0, 255).astype(np.uint8)
    return Labelled(cores, scans.labels)
