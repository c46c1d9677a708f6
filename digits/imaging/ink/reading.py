"""Read a reduced picture as dark ink on a lighter background, or as light ink on a darker one.

The background of a plain picture is the grey level of its edge. Otherwise it is the picture without
its strokes: a closing with a window wider than a stroke, so that shadows and uneven light belong
to the background. A shadow dims ink and paper alike, so the contrast of dark ink is a share of the
paper's light. What differs from the background falls into pieces.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from digits.core.arrays import BoolArray, Float32Array
from digits.imaging.ink.geometry import (
    EIGHT,
    Box,
    box_of,
    closed,
    count_pieces,
    dilated,
    edge_mask,
    quantile,
    sides,
    thickness,
)
from digits.imaging.ink.pieces import MANY, SPECK, find_inner, is_long, without_underline

EVEN = 8  # grey levels; the edge of a plain picture differs less, but for single pixels
ONE_SIDED = 0.1  # of the ink's contrast: JPEG makes the paper next to ink as much lighter
DARKEST = 48  # grey levels; paper is lighter, even in a shadow
INK = 0.3  # of the strongest ink; a pixel with at least this much is written
FAINTEST = 16  # grey levels of 255 between ink and background; less is no ink
FAINTEST_READ = 4  # grey levels; what differs less is the noise of a sensor
WEAKER = 0.8  # times as strong: the digit's ink, compared with what is not the digit's
ROUNDS = 3  # of reading: what is not the digit may be stronger than its ink
OUTERMOST = 2  # pixels that are no measure of the ink: their background is known from one side only


@dataclass(frozen=True)
class Reading:
    """A picture, read as dark ink on a lighter background.

    Attributes
    ----------
    picture : float32 (height, width), negated if the ink is the lighter one
    is_light : whether it is
    background : float32 (height, width), the picture without ink
    contrast : float32 (height, width), of the ink, grey levels
    least : the contrast of a written pixel, grey levels
    pieces : (height, width), the number of the piece of each pixel; 0 is none
    written : bool (height, width), the pieces of the digit
    strength : contrast of its ink, grey levels
    thickness : of its largest piece where it is thickest, as a share of its length
    is_cut : whether all pieces lie along the picture's edge
    level : grey level of an even background; None if it is uneven
    window : strokes are narrower, as a share of the picture's side
    """

    picture: Float32Array
    is_light: bool
    background: Float32Array
    contrast: Float32Array
    least: float
    pieces: np.ndarray
    written: BoolArray
    strength: float
    thickness: float
    is_cut: bool
    level: float | None
    window: float

    @property
    def window_pixels(self) -> int:
        return _window_pixels(self.picture, self.window)

    @property
    def is_divided(self) -> bool:
        """Whether the contrast is a share of the paper's light."""
        return self.level is None and not self.is_light

    @cached_property
    def box(self) -> Box:
        return box_of(self.written)

    @cached_property
    def marks(self) -> int:
        """How many pieces the digit has."""
        return count_pieces(self.pieces[self.written])


def read_plain(original: Float32Array, small: Float32Array) -> Reading | None:
    """Read a picture that has nothing but ink on an even ground; None if it has something else.

    Whether it has is seen on the original: next to ink, an enlarged picture has lighter pixels.
    """
    edge = original[edge_mask(original.shape)]
    level = quantile(edge, 0.5)
    differences = float(original.max()) - level, level - float(original.min())
    is_even = quantile(np.abs(edge - level), 0.98) < EVEN
    if not is_even or min(differences) > max(EVEN, ONE_SIDED * max(differences)):
        return None
    return read_picture(small, is_light=has_lighter_ink(original), level=level)


def has_lighter_ink(small: Float32Array) -> bool:
    """Whether what differs most from the picture's edge is lighter than it."""
    level = quantile(small[edge_mask(small.shape)], 0.5)
    return bool(small.max() - level > level - small.min())


def read_picture(
    small: Float32Array, *, is_light: bool, level: float | None = None, window: float = 1.0
) -> Reading | None:
    """Read a picture as dark or light ink; None if nothing differs from the background.

    Parameters
    ----------
    small : float32 (height, width), grey levels
    is_light : whether the ink is lighter than the background
    level : grey level of an even background; None if it is uneven
    window : strokes on an uneven background are narrower, as a share of the picture's side
    """
    picture = 255 - small if is_light else small
    if level is None:
        background = _background(picture, window)
    else:
        background = np.full_like(picture, 255 - level if is_light else level)
    contrast = contrast_with(background, picture, is_divided=level is None and not is_light)
    strength = _strongest(contrast)
    for _ in range(ROUNDS):
        least = INK * strength
        pieces, count = scipy.ndimage.label(contrast > least, EIGHT)
        if strength < FAINTEST_READ or count == 0:
            return None
        boxes = scipy.ndimage.find_objects(pieces)
        lengths = np.array([0] + [max(sides(box)) for box in boxes])
        is_inner = find_inner(pieces, boxes, lengths)
        previous = strength
        if is_inner.any():
            strength = quantile(contrast[is_inner.take(pieces)], 0.95)
        elif count > MANY:  # nothing but dirt; the digit's ink may be fainter
            fainter = _strongest(np.where(dilated(pieces > 0, 2), np.float32(0), contrast))
            strength = fainter if fainter > FAINTEST else strength
        if strength > WEAKER * previous:
            break
    is_cut = not (is_inner & is_long(lengths, picture.shape)).any()
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    if not is_cut:
        sizes[~is_inner] = 0
    largest = int(sizes.argmax())
    written = without_underline((sizes >= max(1, SPECK * sizes[largest])).take(pieces))
    return Reading(
        picture,
        is_light,
        background,
        contrast,
        least,
        pieces,
        written,
        quantile(contrast[written], 0.9),
        thickness(pieces[boxes[largest - 1]] == largest),
        is_cut,
        level,
        window,
    )


def contrast_with(
    background: Float32Array, picture: Float32Array, *, is_divided: bool
) -> Float32Array:
    """The contrast of dark ink, grey levels; if divided, as on white paper in the same light."""
    contrast: Float32Array = np.maximum(background - picture, 0)
    if is_divided:
        contrast *= np.float32(255) / np.maximum(background, np.float32(DARKEST))
    return contrast


def _background(picture: Float32Array, window: float) -> Float32Array:
    """The light background without its dark strokes."""
    pixels = _window_pixels(picture, window)
    return closed(picture, pixels, pixels)


def _window_pixels(picture: Float32Array, window: float) -> int:
    return 1 + int(window * math.sqrt(picture.size))


def _strongest(contrast: Float32Array) -> float:
    """The contrast of the strongest ink, without the noise of single pixels, grey levels."""
    is_large = min(contrast.shape) > 4 * OUTERMOST
    inside = contrast[OUTERMOST:-OUTERMOST, OUTERMOST:-OUTERMOST] if is_large else contrast
    return quantile(inside, 0.998)
