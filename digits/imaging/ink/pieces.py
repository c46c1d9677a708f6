"""Which pieces of ink are the digit's: no edge of a table, no rule, no frame, no dirt."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy

from digits.core.arrays import BoolArray
from digits.imaging.ink.geometry import (
    Box,
    box_of,
    edge_mask,
    is_inside,
    joined,
    overlap,
    share_along_sides,
    sides,
    thickness,
    widened,
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
FRAME_THICKNESS = 0.3  # of a frame's length: its four sides together
UNDERLINE = (3, 4)  # times as wide as high; times as long as thick
STRAIGHT = 10  # times as long as thick: no stroke of a digit but a 1
WHOLE_SIDE = 0.85  # of the picture's longer side: a rule, if straight
IN_RING = 0.2  # of a ring's length, at least: a digit in it; a zero has smaller dots
BLOB = 0.5  # of the digit's length; a spot beside the digit is shorter
NEAR = 4  # pixels of the reduced picture; a mark at a larger distance is not part of the digit
MANY = 8  # short marks; if there are more, they are dirt or a dashed line
OVERHANG = 0.12  # of the digit's width, to either side: of a line that the digit stands on
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
    is_digit = is_long(lengths, pieces.shape)
    is_inner &= ~_find_dirt(boxes, is_inner, is_digit)
    long = np.flatnonzero(is_inner & is_digit).tolist()
    for i in sorted(long, key=lambda i: -lengths[i]):
        others = [
            boxes[j - 1]
            for j in long
            if j != i and is_inner[j] and lengths[j] >= BESIDE_RULE * lengths[i]
        ]
        if others and _is_rule(pieces, i, boxes[i - 1], others):
            is_inner[i] = False
    return is_inner & ~_find_blobs(pieces, boxes, is_inner & (lengths >= NEAR), is_digit)


def is_long(lengths: np.ndarray, shape: tuple[int, ...]) -> BoolArray:
    """Which pieces are as long as a digit."""
    found: BoolArray = lengths >= SHORT * max(shape)
    return found


def _find_blobs(
    pieces: np.ndarray, boxes: list[Box], is_inner: BoolArray, is_digit: BoolArray
) -> BoolArray:
    """Which pieces, by number, are round spots beside the digit: punched holes, blots."""

    @cache
    def is_plump(i: int) -> bool:
        return thickness(pieces[boxes[i - 1]] == i) > PLUMP

    def is_beside(box: Box, stroke: Box) -> bool:
        is_shorter = max(sides(box)) < BLOB * max(sides(stroke))
        return is_shorter and not overlap(box, widened(stroke, NEAR, pieces.shape))

    is_blob = np.zeros_like(is_inner)
    long = np.flatnonzero(is_inner & is_digit).tolist()
    for i in np.flatnonzero(is_inner).tolist():
        beside = [j for j in long if is_beside(boxes[i - 1], boxes[j - 1])]
        is_blob[i] = any(not is_plump(j) for j in beside) and is_plump(i)
    return is_blob


def _find_dirt(boxes: list[Box], is_inner: BoolArray, is_digit: BoolArray) -> BoolArray:
    """Which pieces, by number, are short marks all over the picture: dirt, or a dashed line."""
    is_short = is_inner & ~is_digit
    if is_short.sum() > MANY:
        short, long = (
            [boxes[i - 1] for i in np.flatnonzero(chosen).tolist()]
            for chosen in (is_short, is_inner & is_digit)
        )
        if not long or _is_beyond(joined(short), joined(long)):
            return is_short
    return np.zeros_like(is_inner)


def _is_beyond(box: Box, other: Box) -> bool:
    """Whether a box is larger than another on two sides or more."""
    beyond = 0
    for one, two in zip(box, other, strict=True):
        beyond += (two.start - one.start > NEAR) + (one.stop - two.stop > NEAR)
    return beyond >= 2


def without_underline(written: BoolArray) -> BoolArray:
    """A digit's ink without a line that it stands on, if that is wider to both sides."""
    box = box_of(written)
    height, width = sides(box)
    highest = written[box].argmax(axis=0)  # row of ink; 0 also in columns that have none
    highest[~written[box].any(axis=0)] = height

    def is_wider(thick: int) -> bool:
        """Whether a line of this thickness is wider to both sides; a thicker one is too, then."""
        above = np.flatnonzero(highest < height - thick)
        overhang = max(2, OVERHANG * (above[-1] - above[0]))
        return bool(above[0] >= overhang and width - 1 - above[-1] >= overhang)

    thickest = round(RULE_THICKNESS * max(height, width)) + 1
    possible = range(1, 1 + min(thickest, height - 1 - int(highest.min())))
    if not possible or not is_wider(possible[-1]):
        return written
    thick = possible[bisect_left(possible, True, key=is_wider)]
    cut = written.copy()
    cut[box[0].stop - thick : box[0].stop] = False
    return cut


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
    area = float(piece.sum()) - 2 * length
    if length < SHORTEST_RULE or area > FRAME_THICKNESS * length**2:
        return False
    width, extent = axes(piece)
    is_thin = area <= RULE_THICKNESS * length**2
    if is_thin and _is_underline(box, extent / width, others):
        return True
    if extent < STRAIGHT * width:
        if share_along_sides(piece) > FRAME:
            is_around = any(is_inside(other, box) for other in others)
            return is_around or _is_comb(piece, box, others)
        return _surrounds(piece, box, others)
    ends = zip(box, pieces.shape, strict=True)
    at_edge = any(side.start == 0 or side.stop == n for side, n in ends)
    return is_thin and (at_edge or length > WHOLE_SIDE * max(pieces.shape))


def _surrounds(piece: BoolArray, box: Box, others: Sequence[Box]) -> bool:
    """Whether the middle of what is inside lies in a hole, as in a circle around a digit."""
    inside = [other for other in others if is_inside(other, box)]
    if not inside:
        return False
    holes = scipy.ndimage.binary_fill_holes(piece) & ~piece
    found = joined(inside)
    row, column = (
        min(max((side.start + side.stop) // 2 - whole.start, 0), n - 1)  # within a pixel
        for side, whole, n in zip(found, box, piece.shape, strict=True)
    )
    return bool(holes[row, column]) and max(sides(found)) > IN_RING * max(sides(box))


def _is_comb(piece: BoolArray, box: Box, others: Sequence[Box]) -> bool:
    """Whether a piece has three sides of a box, and the middle of another piece is between two."""
    margin = max(2, round(0.08 * max(piece.shape)))
    bands = piece[:margin].T, piece[-margin:].T, piece[:, :margin], piece[:, -margin:]
    top, bottom, left, right = (band.any(axis=1).mean() > WHOLE_SIDE for band in bands)
    if not (bottom and left and right) and not (top and left and right):
        return False
    return any(
        box[1].start + margin < other[1].start
        and other[1].stop < box[1].stop - margin
        and sides(other)[0] > IN_RING * max(sides(box))
        for other in others
    )


def axes(piece: BoolArray) -> tuple[float, float]:
    """The shorter and the longer side of the rectangle with a piece's variance, pixels."""
    y, x = np.nonzero(piece)
    if len(y) < 2:
        return 1.0, 1.0
    variances = np.maximum(np.linalg.eigvalsh(np.cov(y, x)), 1 / 12)
    shorter, longer = np.sqrt(12 * variances)
    return float(shorter), float(longer)


def _is_underline(box: Box, straightness: float, others: Sequence[Box]) -> bool:
    height, width = sides(box)
    tallest = max(others, key=lambda other: sides(other)[0])
    is_below = box[0].start >= tallest[0].stop - BESIDE_RULE * sides(tallest)[0]
    return is_below and width > UNDERLINE[0] * height and straightness > UNDERLINE[1]
