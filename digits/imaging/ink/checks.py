"""Refuse what cannot be one digit: several digits, many marks, a picture of a scene."""

import numpy as np
import scipy

from digits.core.arrays import BoolArray
from digits.core.errors import InputError
from digits.imaging.ink.geometry import (
    box_of,
    dilated,
    edge_mask,
    framed,
    sides,
    slopes,
    thickness,
    widened,
)
from digits.imaging.ink.pieces import STRAIGHT, axes
from digits.imaging.ink.reading import Reading

MAX_PIECES = 8  # of ink in one digit; MNIST's digits have one or two
MAX_OTHERS = 80  # marks that do not belong to the digit, as dirt
MAX_HOLES = 8  # in the ink; a digit has up to two, and the noise of a photo a few
MAX_AT_EDGE = (0.12, 4)  # of the picture's edge is ink, while there are so many other marks
MAX_UNEVEN = 0.31  # standard deviation of the ink's contrast, as a share of the ink's
SLOPE = (0.055, 0.3)  # of the grey levels at the ink's rim, a pixel, as a share of its contrast
RIM = 2  # pixels of the reduced picture
REACH = 4  # pixels; slopes are measured with those so far away
BLOT = (0.45, 0.3)  # thickness of a piece that is no stroke; its shorter side, of its longer one
# What is left out at the edge is like a stroke of the digit with:
STROKE_SIZE = 0.1  # of the digit's pixels, at least
STROKE_THICKNESS = 0.15  # of its length, at most
STROKE_AT_EDGE = 0.7  # of its length along the edge, at most
STROKE_CONTRAST = (0.9, 1.4)  # times the contrast of the digit's ink
DIGIT = (0.15, 0.5)  # of the ink, and of its height: columns that have both are a digit


def check_plain(reading: Reading) -> None:
    """Refuse a picture of a scene: its marks are many, or thick, or their edges are not a pen's."""
    at_edge = reading.written[edge_mask(reading.written.shape)].mean()
    around = widened(reading.box, RIM + REACH, reading.written.shape)
    written, contrast = reading.written[around], reading.contrast[around]
    others = int(reading.pieces.max()) - reading.marks
    unevenness = np.std(contrast[written]) / reading.strength
    rim = dilated(written, RIM) & ~written
    at_rim = slopes(contrast)[rim] / reading.strength
    shorter, longer = sorted(sides(reading.box))
    is_plain = reading.level is not None
    is_blot = not is_plain and reading.thickness > BLOT[0] and shorter > BLOT[1] * longer
    if (
        reading.marks > MAX_PIECES
        or others > MAX_OTHERS
        or (at_edge > MAX_AT_EDGE[0] and others > MAX_AT_EDGE[1])
        or unevenness > MAX_UNEVEN
        or not (at_rim.size and SLOPE[0] < at_rim.mean() < SLOPE[1])
        or is_blot
        or _count_holes(written) > MAX_HOLES
    ):
        raise InputError(
            "the ink can't be told from its background. Crop the image to the digit, on plain paper"
        )


def check_whole(reading: Reading) -> None:
    """Refuse a picture if what is left out at its edge looks like a stroke of the same pen."""
    pieces, written, contrast = reading.pieces, reading.written, reading.contrast
    contacts = np.bincount(pieces[edge_mask(pieces.shape) & ~written])
    for number in (np.flatnonzero(contacts[1:]) + 1).tolist():
        mask = pieces == number
        box = box_of(mask)
        piece = mask[box]
        is_cut_off = (piece & written[box]).any()  # a line that the digit stands on
        if is_cut_off or piece.sum() <= STROKE_SIZE * written.sum():
            continue
        width, extent = axes(piece)
        strength = contrast[mask].mean() / contrast[written].mean()
        if (
            extent < STRAIGHT * width
            and thickness(piece) < STROKE_THICKNESS
            and contacts[number] < STROKE_AT_EDGE * max(piece.shape)
            and STROKE_CONTRAST[0] < strength < STROKE_CONTRAST[1]
        ):
            raise InputError(
                "a line at the image's edge may belong to the digit or to what lies around it. "
                "Leave a margin of plain paper around the digit"
            )


def _count_holes(written: BoolArray) -> int:
    _, areas = scipy.ndimage.label(~framed(written))
    return int(areas) - 1


def check_single(written: BoolArray, pieces: int) -> None:
    """Refuse more than one digit.

    Parameters
    ----------
    written : the box of the ink, at full size
    pieces : how many pieces it has
    """
    if pieces > MAX_PIECES:
        raise InputError(f"the image shows {pieces} separate marks; expected one digit")
    inked = np.flatnonzero(np.diff(written.any(axis=0), prepend=False, append=False))
    columns = [written[:, left:right] for left, right in zip(inked[::2], inked[1::2], strict=True)]
    digits = [
        part
        for part in columns
        if part.sum() > DIGIT[0] * written.sum()
        and part.any(axis=1).sum() > DIGIT[1] * len(written)
    ]
    if len(digits) > 1:
        raise InputError(f"the image shows {len(digits)} digits side by side; expected one")
