"""Ten corruptions of digit images, each at one fixed severity.

In the spirit of MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337). Each takes images, float32
(n, height, width) in [0, 1] with background 0, and a generator. It returns images of the same
shape, not yet clipped.
"""

import math
from collections.abc import Callable

import numpy as np
import scipy

from digits.core.arrays import Float32Array, Float64Array, Int64Array, UInt8Array

Corruption = Callable[[Float32Array, np.random.Generator], Float32Array]


def gaussian_noise(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Sensor noise: normal, with a standard deviation of 0.2."""
    return images + 0.2 * rng.standard_normal(images.shape, np.float32)


def impulse_noise(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Salt and pepper: 8 % of the pixels become black or white."""
    u = rng.random(images.shape, np.float32)
    return np.where(u < 0.04, np.float32(0), np.where(u > 0.96, np.float32(1), images))


def gaussian_blur(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Out of focus: a Gaussian blur of 1.2 pixels."""
    blurred: Float32Array = scipy.ndimage.gaussian_filter(images, (0, 1.2, 1.2), mode="constant")
    return blurred


def motion_blur(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """A moving camera: the mean of 5 neighbours along the diagonal."""
    kernel = np.eye(5, dtype=np.float32)[None] / 5
    blurred: Float32Array = scipy.ndimage.convolve(images, kernel, mode="constant")
    return blurred


def rotation(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Rotated by 25 degrees, to either side."""
    return _either_way(images, rng, lambda side: _rotated(side * math.radians(25)))


def shear(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Slanted by 22 degrees (a shift of 0.4 pixels a row), to either side."""
    return _either_way(images, rng, lambda side: np.array([[1, 0], [side * 0.4, 1]]))


def scale(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Shrunk to 65 % or grown to 135 % of its size."""
    return _either_way(images, rng, lambda side: np.eye(2) / (1 + side * 0.35))


def translation(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Shifted by 4 pixels to the right and 3 down, or as far left and up."""
    down, right = 3, 4
    one, other = images[:, :-down, :-right], images[:, down:, right:]
    sides = _sides(images, rng)[:, None, None]
    out = np.zeros_like(images)
    out[:, down:, right:] = np.where(sides == 1, one, 0)
    out[:, :-down, :-right] += np.where(sides == -1, other, 0)
    return out


def brightness(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """A grey background of 0.4, with ink at most as bright as before."""
    return 0.4 + 0.6 * images


def stripe(images: Float32Array, rng: np.random.Generator) -> Float32Array:
    """An inverted band, a seventh of the width, somewhere in the middle three fifths."""
    width = images.shape[2]
    start = rng.integers(width // 5, width - width // 5 - width // 7, len(images))[:, None]
    columns = np.arange(width)
    band = (columns >= start) & (columns < start + width // 7)
    return np.where(band[:, None, :], 1 - images, images)


CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function
    for function in (
        gaussian_noise,
        impulse_noise,
        gaussian_blur,
        motion_blur,
        rotation,
        shear,
        scale,
        translation,
        brightness,
        stripe,
    )
}


def corrupt(images: UInt8Array, name: str) -> UInt8Array:
    """Apply a corruption; equal images and names always give equal bytes.

    Parameters
    ----------
    images : uint8 (n, height, width), 0 is background
    name : a key of `CORRUPTIONS`

    Returns
    -------
    uint8 (n, height, width)
    """
    rng = np.random.default_rng(list(CORRUPTIONS).index(name))
    scaled: Float32Array = np.divide(images, 255, dtype=np.float32)
    corrupted = CORRUPTIONS[name](scaled, rng)
    return np.round(255 * np.clip(corrupted, 0, 1)).astype(np.uint8)


def _rotated(angle: float) -> Float64Array:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _sides(images: Float32Array, rng: np.random.Generator) -> Int64Array:
    """For each image, 1 or -1 at random."""
    return np.where(rng.random(len(images)) < 0.5, -1, 1)


def _either_way(
    images: Float32Array, rng: np.random.Generator, matrix: Callable[[int], Float64Array]
) -> Float32Array:
    """Transform a random half of the images with `matrix(1)`, the rest with `matrix(-1)`.

    As in SciPy, a matrix maps the output's (row, column) to the input's, relative to the centre.
    """
    out = np.empty_like(images)
    sides = _sides(images, rng)
    centre = (np.array(images.shape[1:]) - 1) / 2
    for side in (-1, 1):
        linear = np.eye(3)
        linear[1:, 1:] = matrix(side)
        offset = centre - matrix(side) @ centre
        out[sides == side] = scipy.ndimage.affine_transform(
            images[sides == side], linear, (0, *offset), order=1
        )
    return out
