"""Make the images that the detector learns from.

Half of them show none of the classes; the others are training images, most of them redrawn with
another pen. The first half is made in many ways, so that the detector learns what a class looks
like rather than one way of making outliers (Hendrycks et al. 2019, Deep Anomaly Detection with
Outlier Exposure).
"""

from collections.abc import Callable

import numpy as np

from digits.core.arrays import UInt8Array
from digits.data.dataset import Labelled, Source
from digits.drawing.canvas import Random, enlarged, fitted, placed, redrawn
from digits.outliers import pictures

Way = Callable[[Random, UInt8Array, UInt8Array], UInt8Array]

# How often each way of making an outlier is taken.
WAYS: dict[Way, int] = {pictures.cut: 6, pictures.strokes: 9, pictures.texture: 4}
# Not where the classes are letters: then a letter is one of them, and so may be a mirrored one.
WAYS_FOR_DIGITS: dict[Way, int] = {pictures.turned: 2, pictures.letter: 9}


def make(data: Labelled, n: int, source: Source, seed: int) -> Labelled:
    """Make outliers from some images of the classes, and redraw as many of these.

    Parameters
    ----------
    data : the images; 0 is background
    n : how many of each to make
    source : the data set's; where its method is ink-box, the ink is as large as the images' is
    seed : of the random draw

    Returns
    -------
    2 n images of the same size; the outliers' label is the number of classes
    """
    ways = WAYS | (WAYS_FOR_DIGITS if source.shows_digits else {})
    shares = np.array(list(ways.values())) / sum(ways.values())
    rng = np.random.default_rng(seed)
    images = np.zeros((2 * n, *data.images.shape[1:]), np.uint8)
    labels = np.full(2 * n, len(source.classes), np.uint8)
    for i, way in enumerate(rng.choice(len(ways), n, p=shares)):
        chosen = rng.integers(len(data), size=2)
        one, other = data.images[chosen]
        picture = list(ways)[way](rng, one, other)
        # One in eight fills the frame, as a photo does that was reduced to it.
        fit = placed if source.method == "ink-box" and rng.integers(8) else fitted
        images[i] = redrawn(picture, one, fit, rng) if rng.integers(3) else fit(picture, one)
        images[n + i] = redrawn(enlarged(one), one, fit, rng) if rng.integers(3) else one
        labels[n + i] = data.labels[chosen[0]]
    return Labelled(images, labels)
