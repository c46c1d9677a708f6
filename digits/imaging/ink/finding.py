"""Find the ink of one digit on a picture, and tell it from what lies around it.

The ink is dark on light or light on dark; which of the two is unknown. What differs from the
background falls into pieces (reading.py). Pieces along the picture's edge are a table, a corner or
a shadow; straight and long ones are rules, underlines and boxes (pieces.py); what remains is the
digit, without dirt and punched holes. A picture that is not plain is read in several ways, and the
reading that looks most like strokes on paper is taken (likeness.py). Lines of ruled paper are
painted over before (ruling.py). What cannot be one digit is refused (checks.py).
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy
from PIL import Image
from PIL.Image import Resampling

from digits.core.arrays import Float32Array, UInt8Array
from digits.core.errors import InputError
from digits.imaging import decoding
from digits.imaging.ink import checks
from digits.imaging.ink.geometry import (
    EIGHT,
    box_of,
    dilated,
    enlarged,
    quantile,
    reduced,
    scaled,
    sides,
    widened,
)
from digits.imaging.ink.likeness import likeness
from digits.imaging.ink.pieces import SPECK
from digits.imaging.ink.reading import (
    FAINTEST,
    Reading,
    contrast_with,
    has_lighter_ink,
    read_picture,
    read_plain,
)
from digits.imaging.ink.ruling import without_rules

SIDE = 112  # pixels: the pieces are found on a picture reduced to this
COLOUR_SIDE = 48  # pixels: and the colours on one reduced to this
FAINT = 40  # grey levels; if the ink differs less, its colour may tell more than its grey level
COLOURED = 1.5  # times the contrast in grey: then the colour is used
WINDOWS = (0.35, 0.12)  # of the picture's side: wider than any stroke; narrower than most shadows
WINDOWS_ON_SMALL = (0.35, 0.2)  # the strokes on a small image are broader
NARROWEST = 10  # pixels; a window that is narrower is narrower than strokes
TINY = 20  # pixels; on an image with a shorter side, nothing has room but the digit
ENLARGED = 100  # pixels; an image whose longer side is shorter is enlarged, but no tiny one
SCENE = 48  # pixels; an image with a shorter side mostly shows a digit's own background, no table
LIKELIER = 2.5  # likeness, more than without a table: a small image shows one
SLIM = 0.2  # thickness of ink on a plain picture: more may be a sheet of paper on a table
SMALL = 0.35  # of the picture's longer side; a shorter digit is read again, closer
MARGIN = 0.4  # of the digit's length, around it
REACH = 3  # pixels of the reduced picture: finer strokes than it shows are as close to others
FULL = 0.97  # quantile of the written pixels' contrast that is full ink


def find_ink(image: UInt8Array) -> Float32Array:
    """Crop an image to its ink, from 0 (none) to 1 (the strongest).

    Parameters
    ----------
    image : uint8 (height, width), or (height, width, 3) with colours

    Raises
    ------
    InputError
        If the image shows no ink, or something else than one digit.
    """
    found = _find_digit(decoding.grey(image))
    strength = found[1].strength if found else 0.0
    if image.ndim == 3 and image.size > 3 and strength < FAINT:
        coloured = _find_digit(_along_colour(image))
        if coloured and coloured[1].strength > COLOURED * strength:
            found, strength = coloured, coloured[1].strength
    if found is None or strength < FAINTEST:
        raise InputError(
            f"the image shows no ink: it differs from its background by {strength:.0f} grey levels "
            f"of 255; expected at least {FAINTEST}"
        )
    return _cut_out(*found)


def _along_colour(image: UInt8Array) -> UInt8Array:
    """Grey levels along the direction in which the colours differ most."""
    small = reduced(image, COLOUR_SIDE).reshape(-1, 3).astype(np.float32)
    middle = np.median(small, axis=0)
    direction = np.linalg.eigh(np.cov((small - middle).T))[1][:, -1].astype(np.float32)
    levels = 128 + (image.astype(np.float32) - middle) @ direction
    return np.clip(levels, 0, 255).astype(np.uint8)


def _find_digit(grey: UInt8Array) -> tuple[UInt8Array, Reading] | None:
    """The part of a picture that has the digit, and its reading; None if there is no ink."""
    is_small, original = min(grey.shape) < SCENE, grey
    if min(grey.shape) >= TINY and max(grey.shape) < ENLARGED:
        grey = _enlarged(grey)
    small = reduced(grey, SIDE).astype(np.float32)
    plain = read_plain(small if grey is original else original.astype(np.float32), small)
    if plain and plain.thickness < SLIM:
        return _closer(original, plain)
    grey = without_rules(grey)
    small = reduced(grey, SIDE).astype(np.float32)
    found = [plain] if plain and plain.strength >= FAINTEST else []
    if is_small:
        found += _readings(small, (has_lighter_ink(small),), WINDOWS[:1])
    scenes = []
    if min(grey.shape) >= SCENE:
        scenes = _readings(small, (False, True), WINDOWS_ON_SMALL if is_small else WINDOWS)
    best, scene = (max(of, key=likeness, default=None) for of in (found, scenes))
    if scene and (best is None or likeness(scene) > likeness(best) + LIKELIER * is_small):
        best = scene
    return _closer(original if best is plain else grey, best) if best else None


def _readings(
    small: Float32Array, polarities: Sequence[bool], windows: Sequence[float]
) -> list[Reading]:
    """A reduced picture, read with ink that is lighter or darker, and with windows."""
    readings = (
        read_picture(small, is_light=is_light, window=window)
        for is_light in polarities
        for window in windows
        if window == max(windows) or window * math.sqrt(small.size) >= NARROWEST
    )
    return [reading for reading in readings if reading and reading.strength >= FAINTEST]


def _enlarged(grey: UInt8Array) -> UInt8Array:
    """A picture as large as the one on which the pieces are found."""
    height, width = (round(SIDE / max(grey.shape) * side) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Resampling.BICUBIC))


def _closer(grey: UInt8Array, reading: Reading) -> tuple[UInt8Array, Reading]:
    """Read a small digit again, on the part of the picture that has it."""
    shape = reading.picture.shape
    length = max(sides(reading.box))
    if max(grey.shape) > max(shape) and length < SMALL * max(shape):
        margin = round(MARGIN * length) + 2
        part = grey[scaled(widened(reading.box, margin, shape), shape, grey.shape)]
        small = reduced(part, SIDE).astype(np.float32)
        again = read_picture(
            small, is_light=reading.is_light, level=reading.level, window=reading.window
        )
        if again and not again.is_cut and again.strength > 0.5 * reading.strength:
            return part, again
    return grey, reading


def _cut_out(grey: UInt8Array, reading: Reading) -> Float32Array:
    """Crop a picture to its ink, at full size; raises `InputError` if it cannot be one digit."""
    checks.check_plain(reading)
    checks.check_whole(reading)
    contrast = _contrast(grey, reading)
    pieces, count = scipy.ndimage.label(contrast > reading.least, EIGHT)
    if not count:
        raise InputError("the image shows no ink")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    is_large = sizes >= SPECK * sizes.max()
    written = is_large.take(pieces)
    box = box_of(written)
    contrast, pieces, written = contrast[box], pieces[box], written[box]
    checks.check_single(written, int(is_large.sum()))
    full = quantile(contrast[written], FULL)
    ink: Float32Array = np.minimum(contrast / np.float32(full), 1)
    ink[(pieces > 0) & ~written] = 0
    return ink


def _contrast(grey: UInt8Array, reading: Reading) -> Float32Array:
    """The contrast of the digit's pixels, around its box; 0 of all others."""
    shape = reading.picture.shape
    around = widened(reading.box, 2, shape)
    part = grey[scaled(around, shape, grey.shape)].astype(np.float32)
    picture = 255 - part if reading.is_light else part
    background = reading.background[:1, :1]  # of an even background, it is all
    if reading.level is None:
        background = enlarged(reading.background[around], part.shape)
    contrast = contrast_with(background, picture, is_divided=reading.is_divided)
    near = dilated(reading.written, REACH)
    left_out = (reading.pieces > 0) & ~reading.written
    if left_out.any():
        near &= ~dilated(left_out) | dilated(reading.written)
    return np.where(enlarged(near[around], part.shape) > 0.3, contrast, np.float32(0))
