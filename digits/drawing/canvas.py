"""A canvas to draw on, and how a picture on it becomes an image like those of a data set.

Images and pictures are uint8, 0 is background. They are the same on every processor: all random
numbers are uniform, and arithmetic is limited to operations that IEEE 754 rounds exactly (so no
sines or exponentials, whose last bit depends on the processor).
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from digits.core.arrays import Float64Array, IntArray, UInt8Array

Random = np.random.Generator
Fit = Callable[[UInt8Array, UInt8Array], UInt8Array]

CANVAS = 56  # pixels; a pen here has no soft edges, and gets them when the picture is reduced
INK = 64  # pixels above it count as ink


def enlarged(image: UInt8Array) -> UInt8Array:
    """An image of a class, on the canvas."""
    return np.asarray(Image.fromarray(image).resize((CANVAS, CANVAS), Resampling.BICUBIC))


def smooth(path: Float64Array) -> Float64Array:
    """Cut a path's corners, three times (Chaikin 1974)."""
    for _ in range(3):
        before, after = path[:-1], path[1:]
        between = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1)
        path = np.concatenate([path[:1], between.reshape(-1, 2), path[-1:]])
    return path


def redrawn(picture: UInt8Array, like: UInt8Array, fit: Fit, rng: Random) -> UInt8Array:
    """Fit a picture to an image's form, as another pen (mostly a finer one) and camera show it."""
    for _ in range(rng.integers(1, 3)):
        pen = np.minimum if rng.integers(4) else np.maximum
        other = _of_neighbours(pen, picture).astype(np.float32)
        picture = (picture + np.float32(rng.uniform()) * (other - picture)).astype(np.uint8)
    image = fit(picture, like)
    black, white = rng.uniform(0, 0.3), rng.uniform(0.6, 1.1)
    ink: Float64Array = (image / max(image.max(), INK) - black) / (white - black)
    return (255 * ink.clip(0, 1)).astype(np.uint8)


def _of_neighbours(extreme: np.ufunc, image: UInt8Array) -> UInt8Array:
    """The least or the greatest of each pixel and its eight neighbours.

    (Pillow's filters, which sort the nine, take twenty times as long.)
    """
    found = image.copy()
    for view in (found, found.T):
        before = view.copy("K")  # in the order in which its pixels lie
        extreme(view[1:], before[:-1], out=view[1:])
        extreme(view[:-1], before[1:], out=view[:-1])
    return found


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
