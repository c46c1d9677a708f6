"""Make the images that the detector learns from.

Half of them show none of the classes; the others are training images, most of them redrawn with
another pen. The first half is made in many ways, so that the detector learns what a class looks
like rather than one way of making outliers (Hendrycks et al. 2019, Deep Anomaly Detection with
Outlier Exposure).
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter
from PIL.Image import Resampling

from digits.core.arrays import Float64Array, IntArray, UInt8Array
from digits.data.dataset import Labelled, Source
from digits.outliers import pictures
from digits.outliers.pictures import Random

INK = 64  # pixels above it count as ink

Way = Callable[[Random, UInt8Array, UInt8Array], UInt8Array]
Fit = Callable[[UInt8Array, UInt8Array], UInt8Array]

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
    ways = WAYS | (WAYS_FOR_DIGITS if set(source.classes) <= set("0123456789") else {})
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
        images[n + i] = redrawn(pictures.enlarged(one), one, fit, rng) if rng.integers(3) else one
        labels[n + i] = data.labels[chosen[0]]
    return Labelled(images, labels)


def redrawn(picture: UInt8Array, like: UInt8Array, fit: Fit, rng: Random) -> UInt8Array:
    """Fit a picture to an image's form, as another pen (mostly a finer one) and camera show it."""
    drawn = Image.fromarray(picture)
    for _ in range(rng.integers(1, 3)):
        pen = ImageFilter.MinFilter(3) if rng.integers(4) else ImageFilter.MaxFilter(3)
        drawn = Image.blend(drawn, drawn.filter(pen), rng.uniform())
    image = fit(np.asarray(drawn), like)
    black, white = rng.uniform(0, 0.3), rng.uniform(0.6, 1.1)
    ink: Float64Array = (image / max(image.max(), INK) - black) / (white - black)
    return (255 * ink.clip(0, 1)).astype(np.uint8)


def fitted(picture: UInt8Array, like: UInt8Array) -> UInt8Array:
    """Scale a picture to the size of an image."""
    height, width = like.shape
    return np.asarray(Image.fromarray(picture).resize((width, height), Resampling.BOX))


def placed(picture: UInt8Array, like: UInt8Array) -> UInt8Array:
    """Scale a picture and move it, so that its ink is as large as an image's, and in the middle."""
    ink = picture[_box(picture)]
    side = max(lines.stop - lines.start for lines in _box(like))
    limits = [length / extent for length, extent in zip(like.shape, ink.shape, strict=True)]
    scale = min(side / max(ink.shape), *limits)
    height, width = (max(1, round(scale * length)) for length in ink.shape)
    ink = np.asarray(Image.fromarray(ink).resize((width, height), Resampling.BICUBIC))
    frame = np.zeros(like.shape, np.uint8)
    top, left = (
        min(max(round(length / 2 - _centre(ink.sum(1 - axis))), 0), length - ink.shape[axis])
        for axis, length in enumerate(like.shape)
    )
    frame[top : top + height, left : left + width] = ink
    return frame


def _box(image: UInt8Array) -> tuple[slice, slice]:
    """The rows and the columns from the first to the last ink; all of them if there is no ink."""
    lines = [np.flatnonzero((image > INK).any(axis=1 - axis)) for axis in (0, 1)]
    if not len(lines[0]):
        return slice(0, image.shape[0]), slice(0, image.shape[1])
    rows, columns = (slice(int(found[0]), int(found[-1]) + 1) for found in lines)
    return rows, columns


def _centre(mass: IntArray) -> float:
    """The centre of a line of masses."""
    return float(mass @ np.arange(len(mass))) / max(float(mass.sum()), 1.0)
