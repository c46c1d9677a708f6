"""Make the images that the detector learns from.

Half of them show none of the classes; the others are training images, most of them redrawn with
another pen. The first half is made in many ways, so that the detector learns what a class looks
like rather than one way of making outliers (Hendrycks et al. 2019, Deep Anomaly Detection with
Outlier Exposure).
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from digits.core.arrays import UInt8Array
from digits.core.workers import end_with_parent
from digits.data.dataset import Labelled, Source
from digits.drawing.canvas import Random, enlarged, fitted, placed, redrawn
from digits.outliers import pictures

Way = Callable[[Random, UInt8Array, UInt8Array], UInt8Array]
Made = tuple[UInt8Array, UInt8Array, UInt8Array]  # outliers, redrawn images, the labels of these

# How often each way of making an outlier is taken.
WAYS: dict[Way, int] = {pictures.cut: 6, pictures.strokes: 9, pictures.texture: 4}
# Not where the classes are letters: then a letter is one of them, and so may be a mirrored one.
WAYS_FOR_DIGITS: dict[Way, int] = {pictures.turned: 2, pictures.letter: 9}
CHUNK = 500  # images of each half that are made at once, with a random generator of their own


def make(data: Labelled, n: int, source: Source, seed: int, workers: int = 1) -> Labelled:
    """Make outliers from some images of the classes, and redraw as many of these.

    Parameters
    ----------
    data : the images; 0 is background
    n : how many of each to make
    source : the data set's; where its method is ink-box, the ink is as large as the images' is
    seed : of the random draw
    workers : processes, which change no byte of the result

    Returns
    -------
    2 n images of the same size; the outliers' label is the number of classes
    """
    chunks = _Chunks(data, n, source, seed)
    processes = workers if workers > 1 and len(chunks) > 1 else 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # workers > cores
        loader = DataLoader(
            chunks,
            batch_size=None,
            num_workers=processes,
            collate_fn=_as_made,
            worker_init_fn=end_with_parent,  # it would wait until somebody takes its images
        )
        made = list(loader)
    outliers, images, labels = map(np.concatenate, zip(*made, strict=True))
    none = np.full(n, len(source.classes), np.uint8)
    return Labelled(np.concatenate([outliers, images]), np.concatenate([none, labels]))


@dataclass(frozen=True)
class _Chunks(Dataset[Made]):
    """What `make` makes, in parts, so that several processes can make them."""

    data: Labelled
    n: int
    source: Source
    seed: int

    def __len__(self) -> int:
        return math.ceil(self.n / CHUNK)

    def __getitem__(self, number: int) -> Made:
        data, source = self.data, self.source
        n = min(CHUNK, self.n - number * CHUNK)
        ways = WAYS | (WAYS_FOR_DIGITS if source.shows_digits else {})
        shares = np.array(list(ways.values())) / sum(ways.values())
        rng = np.random.default_rng((self.seed, number))
        outliers, images = np.zeros((2, n, *data.images.shape[1:]), np.uint8)
        chosen = rng.integers(len(data), size=(n, 2))
        for i, way in enumerate(rng.choice(len(ways), n, p=shares)):
            one, other = data.images[chosen[i]]
            picture = list(ways)[way](rng, one, other)
            # One in eight fills the frame, as a photo does that was reduced to it.
            fit = placed if source.method == "ink-box" and rng.integers(8) else fitted
            outliers[i] = redrawn(picture, one, fit, rng) if rng.integers(3) else fit(picture, one)
            images[i] = redrawn(enlarged(one), one, fit, rng) if rng.integers(3) else one
        return outliers, images, data.labels[chosen[:, 0]]


def _as_made(chunk: Any) -> Any:
    """In place of a conversion to tensors."""
    return chunk
