"""Bring an image into the form of a model's own images, which its `Preprocessing` describes.

ink-box is the convention of MNIST (LeCun et al. 1998, Gradient-Based Learning Applied to Document
Recognition, section III): the ink, dark on light or light on dark, is cut out, scaled to 20 x 20
with its proportions kept, and its centre of mass is moved to the centre of 28 x 28. resize fits the
whole image into the frame, and inverts it if its edge is light, so that the background is dark.

An image that is already in the model's form is returned unchanged, byte for byte.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import Resampling

from digits.core.arrays import BoolArray, Float32Array, UInt8Array
from digits.imaging import decoding
from digits.imaging.ink.finding import find_ink
from digits.imaging.ink.geometry import edge_mask, eroded, extremes
from digits.imaging.ink.reading import INK
from digits.imaging.preprocessing import Preprocessing

BOX = 20 / 28  # of the frame's sides: the ink's box in MNIST
PEN = 1.7  # pixels of the result; thinner strokes are thickened, since no digit of MNIST is as thin


def read(
    content: bytes, preprocessing: Preprocessing, max_pixels: int = decoding.MAX_PIXELS
) -> UInt8Array:
    """Decode an image file and bring it into the model's form.

    Parameters
    ----------
    content : the file
    preprocessing : the model's form
    max_pixels : of the image, before it is reduced

    Returns
    -------
    uint8 (height, width) of the model's size, 0 is background

    Raises
    ------
    InputError
        As `decoding.decode`; or, for ink-box, if the image shows no ink, or more than one digit.
    """
    return _into_form(decoding.decode(content, max_pixels), preprocessing)


def convert(image: npt.NDArray[Any], preprocessing: Preprocessing) -> UInt8Array:
    """As `read`, for an array that `decoding.from_array` takes."""
    return _into_form(decoding.from_array(image), preprocessing)


def in_form(images: UInt8Array, preprocessing: Preprocessing) -> BoolArray:
    """Which images are already in the model's form.

    For ink-box: ink as large as the box, on a background of 0. All of MNIST's images have ink that
    is 19 or 20 pixels high or wide. For resize: an image as large as the frame, with a dark edge.

    Parameters
    ----------
    images : uint8 (n, height, width)

    Returns
    -------
    bool (n,)
    """
    if images.shape[1:] != preprocessing.size:
        return np.zeros(len(images), bool)
    if preprocessing.method == "resize":
        return ~_is_light(images)
    box = _box_side(preprocessing.size)
    return np.array([_longest_side(image) in (box, box - 1) for image in images], bool)


def fit(grey: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Fit a whole image into the middle of a dark frame, its proportions kept: the form of resize.

    Parameters
    ----------
    grey : uint8 (height, width)
    size : height and width of the frame, pixels
    """
    if _is_light(grey[None])[0]:
        grey = 255 - grey
    if grey.shape == size:
        return grey
    scale = min(size[0] / grey.shape[0], size[1] / grey.shape[1])
    height, width = (max(1, round(scale * side)) for side in grey.shape)
    resized = Image.fromarray(grey).resize((width, height), Resampling.BICUBIC)
    frame = np.zeros(size, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    frame[top : top + height, left : left + width] = np.asarray(resized)
    return frame


def _into_form(image: UInt8Array, preprocessing: Preprocessing) -> UInt8Array:
    if image.shape[:2] == preprocessing.size:
        grey = decoding.grey(image)
        if in_form(grey[None], preprocessing)[0]:
            return grey
    if preprocessing.method == "resize":
        return fit(decoding.grey(image), preprocessing.size)
    return _place_ink(find_ink(image), preprocessing.size)


def _longest_side(image: UInt8Array) -> int:
    """The longer side of the box around an image's ink, pixels."""
    return max(_lines_with_ink(image), _lines_with_ink(image.T))


def _lines_with_ink(image: UInt8Array) -> int:
    """Rows from the first to the last that has ink; 0 or less if none has."""
    # As bytes, an image takes half the time that it takes NumPy.
    pixels, width = image.tobytes(), int(image.shape[1])
    before = len(pixels) - len(pixels.lstrip(b"\0"))
    return -(-len(pixels.rstrip(b"\0")) // width) - before // width


def _box_side(size: tuple[int, int]) -> int:
    return round(BOX * min(size))


def _is_light(images: UInt8Array) -> BoolArray:
    """Whether the edge is closer to white than to black; uint8 (n, height, width) -> (n,)."""
    light: BoolArray = np.median(images[:, edge_mask(images.shape[1:])], axis=1) > 127.5
    return light


def _place_ink(ink: Float32Array, size: tuple[int, int]) -> UInt8Array:
    """Scale ink to MNIST's box, and centre it by its mass."""
    ink = _thicken(ink, PEN / _box_side(size) * max(ink.shape))
    scale = _box_side(size) / max(ink.shape)
    height, width = (max(1, round(scale * side)) for side in ink.shape)
    resized = Image.fromarray(ink).resize((width, height), Resampling.BICUBIC)
    scaled = np.clip(np.asarray(resized), 0, 1)
    scaled = scaled / scaled.max()
    frame = np.zeros(size, np.uint8)
    corner = []
    for axis, side in enumerate(scaled.shape):
        mass = scaled.sum(1 - axis)
        centre = float(mass @ np.arange(side) / mass.sum())
        corner.append(min(max(round(size[axis] / 2 - centre), 0), size[axis] - side))
    top, left = corner
    frame[top : top + height, left : left + width] = np.round(255 * scaled)
    return frame


def _thicken(ink: Float32Array, pen: float) -> Float32Array:
    """Redraw strokes that are thinner than a pen, both in pixels."""
    written = ink > INK
    rim = written & ~eroded(written)
    thickness = 2 * written.sum() / max(rim.sum(), 1)
    missing = round(pen - thickness)
    if missing <= 0:
        return ink
    height, width = ink.shape
    padded = np.zeros((height + 2 * missing, width + 2 * missing), np.float32)
    padded[missing:-missing, missing:-missing] = ink
    return extremes(extremes(padded, missing + 1).T, missing + 1).T
