"""Which pieces of ink are the digit's: no edge of a table, no rule, no frame, no dirt."""

from collections.abc import Sequence

import numpy as np
import scipy

from digits.core.arrays import BoolArray
from digits.imaging.ink.geometry import (
    Box,
    edge_mask,
    is_inside,
    share_along_sides,
    sides,
    thickness,
)

PLUMP = 0.45  # thickness of a piece; the strokes of a digit are thinner
SPECK = 0.03  # of the largest piece of ink; smaller pieces are dirt
SHORT = 0.08  # of the picture's longer side; a digit is longer

ALONG_EDGE = 0.4  # of a piece's length, along the picture's edge: a table, a corner or a shadow
SURROUNDS = 0.5  # of the picture's edge: no digit lies along so much of it, even if cut tight
FILLS = 0.8  # of the picture's sides: a digit that was cut out to its ink
IN_MIDDLE = 0.25  # of the pixels of a digit that was cut out; a frame has fewer

BESIDE_RULE = 0.15  # of a rule's length: what it belongs to is at least as long
SHORTEST_RULE = 8  # pixels of the reduced picture
RULE_THICKNESS = 0.12  # of a rule's length, at most, besides its two ends
UNDERLINE = (3, 4)  # times as wide as high; times as long as thick
STRAIGHT = 10  # times as long as thick: no stroke of a digit but a 1
WHOLE_SIDE = 0.85  # of the picture's longer side: a rule, if straight
IN_RING = 0.3  # of a ring's length, at least: a digit in it; a zero has smaller dots
FRAME = 0.9  # of a piece's pixels lie along the sides of its box


def find_inner(pieces: np.ndarray, boxes: list[Box], lengths: np.ndarray) -> BoolArray:
    """Which pieces may be the digit's, by their number.

    Parameters
    ----------
    pieces : (height, width), the number of the piece of each pixel; 0 is none
    boxes : of piece 1, 2, ...
    lengths : (pieces + 1,), their longer sides, pixels
    """
    edge = edge_mask(pieces.shape)
    contacts = np.bincount(pieces[edge], minlength=len(boxes) + 1)
    is_inner: BoolArray = contacts <= ALONG_EDGE * lengths
    is_inner[0] = False
    for i in (np.flatnonzero(~is_inner[1:]) + 1).tolist():
        is_inner[i] = contacts[i] < SURROUNDS * edge.sum() and _fills_picture(
            pieces[boxes[i - 1]] == i, pieces.shape
        )
    long = np.flatnonzero(is_inner & is_long(lengths, pieces.shape)).tolist()
    for i in sorted(long, key=lambda i: -lengths[i]):
        others = [
            boxes[j - 1]
            for j in long
            if j != i and is_inner[j] and lengths[j] >= BESIDE_RULE * lengths[i]
        ]
        if others and _is_rule(pieces, i, boxes[i - 1], others):
            is_inner[i] = False
    return is_inner


def is_long(lengths: np.ndarray, shape: tuple[int, ...]) -> BoolArray:
    """Which pieces are as long as a digit."""
    found: BoolArray = lengths >= SHORT * max(shape)
    return found


def _fills_picture(piece: BoolArray, shape: tuple[int, ...]) -> bool:
    """Whether a piece at the edge is a digit that was cut out to its ink."""
    return (
        min(side / whole for side, whole in zip(piece.shape, shape, strict=True)) > FILLS
        and share_along_sides(piece) < 1 - IN_MIDDLE
        and thickness(piece) < PLUMP - 0.1
    )


def _is_rule(pieces: np.ndarray, number: int, box: Box, others: Sequence[Box]) -> bool:
    """Whether a piece is a ruled line, an underline or a frame around the others."""
    piece = pieces[box] == number
    length = max(piece.shape)
    if length < SHORTEST_RULE or piece.sum() > RULE_THICKNESS * length**2 + 2 * length:
        return False
    width, extent = axes(piece)
    if _is_underline(box, extent / width, others):
        return True
    if extent < STRAIGHT * width:
        return any(is_inside(other, box) for other in others) and (
            share_along_sides(piece) > FRAME or _surrounds(piece, box, others)
        )
    ends = zip(box, pieces.shape, strict=True)
    at_edge = any(side.start == 0 or side.stop == n for side, n in ends)
    return at_edge or length > WHOLE_SIDE * max(pieces.shape)


def _surrounds(piece: BoolArray, box: Box, others: Sequence[Box]) -> bool:
    """Whether the middle of another piece lies in a hole of this one, as in a circle around it."""
    holes = scipy.ndimage.binary_fill_holes(piece) & ~piece
    for other in others:
        if is_inside(other, box) and max(sides(other)) > IN_RING * max(sides(box)):
            row, column = (
                min(max((side.start + side.stop) // 2 - whole.start, 0), n - 1)  # within a pixel
                for side, whole, n in zip(other, box, piece.shape, strict=True)
            )
            if holes[row, column]:
                return True
    return False


def axes(piece: BoolArray) -> tuple[float, float]:
    """The shorter and the longer side of the rectangle with a piece's variance, pixels."""
    y, x = np.nonzero(piece)
    variances = np.maximum(np.linalg.eigvalsh(np.cov(y, x)), 1 / 12)
    shorter, longer = np.sqrt(12 * variances)
    return float(shorter), float(longer)


def _is_underline(box: Box, straightness: float, others: Sequence[Box]) -> bool:
    height, width = sides(box)
    lowest = max(other[0].stop for other in others)
    tallest = max(sides(other)[0] for other in others)
    is_below = box[0].start >= lowest - BESIDE_RULE * tallest
    return is_below and width > UNDERLINE[0] * height and straightness > UNDERLINE[1]
