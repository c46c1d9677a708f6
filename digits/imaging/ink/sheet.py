"""A sheet of paper on a table, and which of two readings is the digit.

The hole of a zero is ink to the reading of the other polarity, and so is the sheet under a digit.
"""

from collections.abc import Sequence

import numpy as np
import scipy
from PIL import Image

from digits.core.arrays import Float32Array, UInt8Array
from digits.imaging.ink.geometry import (
    EIGHT,
    box_of,
    edge_mask,
    is_inside,
    scaled,
    share_along_sides,
    sides,
)
from digits.imaging.ink.pieces import FRAME, PLUMP
from digits.imaging.ink.reading import Reading

FAINTEST = 16  # grey levels of 255 between ink and background; less is no ink
STROKES = 0.3  # thickness; a piece that is thinner may be strokes rather than an area
PEN = 0.17  # thickness of what a usual pen writes

ON_EDGE = 0.05  # of the picture's edge, at most, is ink if the edge is plain
PLAIN_EDGE = 0.1  # of the sheet's edge, at most, is ink of the digit on it
ON_SHEET = 0.9  # of a sheet's sides, at most: what is written on it
AS_STRONG = (0.2, 0.4)  # of the other reading's strength, at least: ink on a sheet; ink with a hole

SMALLEST_SHEET = 24  # pixels of the reduced picture
SQUARE = 0.65  # of a sheet's longer side; a one by a broad pen is narrower
LARGE = (0.85, 0.12)  # of the picture's sides, and the thickness: a sheet that fills the picture
AREA = 0.26  # thickness of a sheet with a digit's hole in it
THIN = 0.2  # thickness; what lies along the edge and is thinner is no sheet
FILLED = 0.6  # of its box: a sheet that is turned has more
CONVEX = 0.88  # of the area of the rectangle with the same variance; an ellipse has 1.05
MARGIN = 0.03  # of a sheet's longer side: its rim is shaded, and left out

CUT = 0.3  # a reading whose pieces all lie along the edge is as much less likely
SHORTER = 0.1  # of the picture's longer side; the likeness of shorter ink falls with its length


def by_edge(small: Float32Array, readings: Sequence[Reading]) -> Reading | None:
    """The reading whose background is the picture's edge; None if the edge is not plain."""
    edge = edge_mask(small.shape)
    background = np.median(small[edge])
    is_light = small.max() - background > background - small.min()
    best = next((r for r in readings if r.is_light == is_light and not r.is_cut), None)
    if best is None or (best.pieces[edge] > 0).mean() > ON_EDGE:
        return None
    for other in readings:
        is_smaller = all(
            inner < ON_SHEET * outer
            for inner, outer in zip(sides(other.box), sides(best.box), strict=True)
        )
        is_written_on = is_smaller and other.strength > AS_STRONG[0] * best.strength
        if is_written_on and other.thickness < PEN and is_sheet(best):
            return None
    return best


def most_like_strokes(readings: Sequence[Reading]) -> Reading:
    """The reading that looks most like strokes; of one inside of the other, the outer one.

    Unless the outer one is a sheet.
    """
    best = max(readings, key=_likeness)
    if len(readings) < 2 or min(r.strength for r in readings) < FAINTEST / 2:
        return best
    for inner, outer in (readings, readings[::-1]):
        if not is_inside(inner.box, outer.box):
            continue
        is_ink = inner.thickness < STROKES and inner.strength > AS_STRONG[0] * outer.strength
        if is_ink and is_sheet(outer):
            best = inner
        elif (
            outer.thickness < min(STROKES, inner.thickness)
            and not outer.is_cut
            and outer.strength > AS_STRONG[1] * inner.strength
        ):
            best = outer
    return best


def _likeness(reading: Reading) -> float:
    length = max(sides(reading.box)) / (SHORTER * max(reading.picture.shape))
    cut = CUT if reading.is_cut else 1
    return float(reading.strength * np.exp(-5 * reading.thickness) * cut * min(1, length))


def has_hole(outer: Reading, readings: Sequence[Reading]) -> bool:
    """Whether the other reading is a hole, as that of a zero, rather than a digit on a sheet."""
    return any(
        r is not outer and not r.is_cut and r.thickness > STROKES and is_inside(r.box, outer.box)
        for r in readings
    )


def is_sheet(reading: Reading) -> bool:
    """Whether a digit may be written on what was read as ink."""
    shortest, longest = sorted(sides(reading.box))
    if shortest < max(SMALLEST_SHEET, SQUARE * longest):
        return False
    if not _is_convex(reading) or (reading.is_cut and reading.thickness < THIN):
        return False
    shares = [n / m for n, m in zip(sides(reading.box), reading.picture.shape, strict=True)]
    is_large = min(shares) > LARGE[0] and reading.thickness > LARGE[1]
    is_frame = share_along_sides(reading.written[reading.box]) > FRAME
    return is_large or reading.thickness > AREA or is_frame


def _is_convex(reading: Reading) -> bool:
    """Whether the pieces, with their holes filled, are one convex area."""
    filled = scipy.ndimage.binary_fill_holes(reading.pieces[reading.box] > 0)
    y, x = np.nonzero(filled)
    if len(y) < max(9, FILLED * filled.size):
        return False
    # A rectangle has the area 12 * sqrt(det), an ellipse 4 * pi * sqrt(det); others have less.
    return bool(len(y) > CONVEX * 12 * np.sqrt(max(np.linalg.det(np.cov(y, x)), 1e-9)))


def is_written_on(sheet: Reading) -> bool:
    """Whether a sheet alone shows a digit rather than the shades of a thick stroke."""
    at_edge = sheet.written[edge_mask(sheet.written.shape)].mean()
    return not sheet.is_cut and sheet.thickness < PLUMP - 0.1 and bool(at_edge < PLAIN_EDGE)


def cut_out_sheet(grey: UInt8Array, sheet: Reading) -> UInt8Array:
    """Cut out a sheet, and paint over what is around it; empty if nothing remains.

    Parameters
    ----------
    grey : uint8 (height, width), the picture at full size
    """
    filled = scipy.ndimage.binary_fill_holes(sheet.written)
    margin = 1 + round(MARGIN * max(sides(sheet.box)))
    inner = scipy.ndimage.binary_erosion(filled, EIGHT, margin)
    if not inner.any():
        return grey[:0]
    level = np.median(sheet.picture[inner])
    box = box_of(inner)
    part = grey[scaled(box, inner.shape, grey.shape)]
    if not part.size:
        return part
    mask = np.asarray(Image.fromarray(inner[box]).resize(part.shape[::-1]))
    paper = np.uint8(255 - level if sheet.is_light else level)
    alone: UInt8Array = np.where(mask, part, paper)
    return alone
