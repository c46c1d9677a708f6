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
import scipy
from PIL import Image
from PIL.Image import Resampling

from digits.core.arrays import BoolArray, Float32Array, Int64Array, UInt8Array
from digits.core.errors import InputError
from digits.imaging import decoding
from digits.imaging.preprocessing import Preprocessing

BOX = 20 / 28  # of the frame's sides: the ink's box in MNIST
FAINTEST = 16  # grey levels of 255 between ink and background; less is no ink
INK = 0.3  # of the strongest ink; a pixel with at least this much is written
SPECK = 0.03  # of the largest piece of ink; smaller pieces are dirt
MAX_ON_EDGE = 0.15  # of the image's outermost pixels; a photo of a scene has more ink there
MAX_PIECES = 8  # of ink in one digit; MNIST's digits have one or two
PEN = 1.7  # pixels of the result; thinner strokes are thickened, since no digit of MNIST is as thin


def read(content: bytes, preprocessing: Preprocessing) -> UInt8Array:
    """Decode an image file and bring it into the model's form.

    Parameters
    ----------
    content : the file
    preprocessing : the model's form

    Returns
    -------
    uint8 (height, width) of the model's size, 0 is background

    Raises
    ------
    InputError
        As `decoding.decode`; or, for ink-box, if the image shows no ink, or more than one digit.
    """
    return _into_form(decoding.decode(content), preprocessing)


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
    inked = images > 0
    longest = np.maximum(_extent(inked.max(axis=2)), _extent(inked.max(axis=1)))
    box = _box_side(preprocessing.size)
    fills_box: BoolArray = (longest == box) | (longest == box - 1)
    return fills_box


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


def _into_form(grey: UInt8Array, preprocessing: Preprocessing) -> UInt8Array:
    if in_form(grey[None], preprocessing)[0]:
        return grey
    if preprocessing.method == "resize":
        return fit(grey, preprocessing.size)
    return _place_ink(_find_ink(grey), preprocessing.size)


def _extent(lines: BoolArray) -> Int64Array:
    """Lines from the first to the last that has ink; bool (n, lines) -> (n,)."""
    first, after_last = lines.argmax(axis=1), lines.shape[1] - lines[:, ::-1].argmax(axis=1)
    extent: Int64Array = after_last - first
    return extent


def _box_side(size: tuple[int, int]) -> int:
    return round(BOX * min(size))


def _is_light(images: UInt8Array) -> BoolArray:
    """Whether the edge is closer to white than to black; uint8 (n, height, width) -> (n,)."""
    light: BoolArray = np.median(images[:, _edge(images.shape[1:])], axis=1) > 127.5
    return light


def _edge(shape: tuple[int, ...]) -> BoolArray:
    """A mask of the outermost pixels."""
    mask = np.ones(shape, bool)
    mask[1:-1, 1:-1] = False
    return mask


def _find_ink(grey: UInt8Array) -> Float32Array:
    """Crop an image to its ink, from 0 (none) to 1 (the strongest)."""
    contrast = _contrast(grey)
    strongest = float(scipy.ndimage.uniform_filter(contrast, _grain(grey.shape)).max())
    if strongest < FAINTEST:
        raise InputError(
            f"the image shows no ink: it differs from its background by {strongest:.0f} grey "
            f"levels of 255; expected at least {FAINTEST}"
        )
    ink = np.clip(contrast / strongest, 0, 1)
    pieces, _ = scipy.ndimage.label(ink > INK, np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    is_large = np.concatenate([[False], sizes >= SPECK * sizes.max()])
    written = is_large[pieces]
    box = scipy.ndimage.find_objects(written.astype(np.uint8))[0]
    _check_single(written, int(is_large.sum()), written[box])
    cropped: Float32Array = np.where((pieces > 0) & ~written, 0, ink)[box]
    return cropped


def _check_single(written: BoolArray, pieces: int, box: BoolArray) -> None:
    """Refuse ink that cannot be one digit; `box` is the part of `written` that has the ink."""
    on_edge = written[_edge(written.shape)].mean()
    if on_edge > MAX_ON_EDGE:
        raise InputError(
            f"the background is not plain: {on_edge:.0%} of the image's edge is ink, expected at "
            f"most {MAX_ON_EDGE:.0%}. Crop the image to the digit"
        )
    if pieces > MAX_PIECES:
        raise InputError(f"the image shows {pieces} separate marks; expected one digit")
    inked = np.flatnonzero(np.diff(box.any(axis=0), prepend=False, append=False))
    columns = [box[:, left:right] for left, right in zip(inked[::2], inked[1::2], strict=True)]
    digits = [
        part
        for part in columns
        if part.sum() > 0.15 * box.sum() and part.any(axis=1).sum() > 0.5 * len(box)
    ]
    if len(digits) > 1:
        raise InputError(f"the image shows {len(digits)} digits side by side; expected one")


def _contrast(grey: UInt8Array) -> Float32Array:
    """Grey levels between each pixel and the background, whose lighting may be uneven."""
    values = grey.astype(np.float32)
    edge = _edge(grey.shape)
    background = np.median(values[edge])
    smoothed = scipy.ndimage.uniform_filter(values, _grain(grey.shape))
    if smoothed.max() - background > background - smoothed.min():
        values = 255 - values
    difference = _light_background(values) - values
    contrast: Float32Array = np.maximum(difference - np.median(difference[edge]), 0)
    return contrast


def _light_background(values: Float32Array) -> Float32Array:
    """The light background without its dark strokes, if these are narrower than half the image."""
    height, width = values.shape
    small = Image.fromarray(values).resize((min(width, 64), min(height, 64)), Resampling.BOX)
    closed = scipy.ndimage.grey_closing(
        np.asarray(small), [1 + side // 2 for side in small.size[::-1]]
    )
    return np.asarray(Image.fromarray(closed).resize((width, height), Resampling.BILINEAR))


def _grain(shape: tuple[int, ...]) -> int:
    """Width in pixels over which noise is averaged: less than a stroke."""
    return 1 + max(shape) // 200


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
    written = np.pad(ink > INK, 1)
    rim = written & ~scipy.ndimage.binary_erosion(written)
    thickness = 2 * written.sum() / max(rim.sum(), 1)
    missing = round(pen - thickness)
    if missing <= 0:
        return ink
    thick: Float32Array = scipy.ndimage.grey_dilation(
        np.pad(ink, missing), (missing + 1, missing + 1)
    )
    return thick[missing // 2 : -missing // 2, missing // 2 : -missing // 2]
