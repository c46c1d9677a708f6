"""A model that reads what is drawn: trained in seconds on the bundled scans, not on MNIST.

Scans and drawings go through one preprocessing, the model's own.

    folder = write_folder(tmp_path / "model", uci)     # a model folder, for `python -m serving`
"""

from pathlib import Path

import numpy as np

from benchmarks import measure
from digits import data, engine, export, images, model
from digits.data import Labelled, Raw

CHANGES = {
    "model.channels": [8, 16, 32],
    "train.batch_size": 64,
    "train.ema": 0.95,
    "train.optimizer.lr": 0.2,
}


def write_folder(folder: Path, uci: Raw) -> Path:
    """Train, and export to a folder."""
    architecture, recipe = measure.configuration(CHANGES)
    train, val = (uci.train.take(part) for part in data.split_indices(uci.train.labels, 0.1, 0))
    network = model.initial(architecture, uci.source.classes, train.images, recipe.seed)
    form = export.preprocessing(network, uci.source.method)

    def prepare(*scans: Labelled) -> Labelled:
        found = [images.convert(image, form) for each in scans for image in each.images]
        return Labelled(np.stack(found), np.concatenate([each.labels for each in scans]))

    both = prepare(train, with_a_fine_pen(train))
    trained = engine.train(network, engine.resolve(recipe), both, prepare(val), workers=2)
    content, test = export.to_onnx(trained.network), prepare(uci.test)
    logits = export.compare(trained.network, content, test.images, workers=2)
    folder.mkdir()
    export.write_folder(folder, trained.network, content, form, test, logits)
    return folder


def with_a_fine_pen(scans: Labelled) -> Labelled:
    """The strokes' cores alone: the scans are soft, since they had 8 x 8 pixels."""
    cores = np.clip(3.0 * scans.images - 380, 0, 255).astype(np.uint8)
    return Labelled(cores, scans.labels)
