"""How much a reading looks like the strokes of one digit on paper.

A picture of a sheet on a table, or of a shadow, can be read in several ways: the sheet, the hole of
a zero and the corner of a shadow are ink to some of them. Strokes are thin, they are few pieces,
they do not lie along the picture's edge, and the paper around them is even.
"""

import numpy as np
import scipy

from digits.imaging.ink.geometry import sides, widened
from digits.imaging.ink.reading import Reading

# What makes a reading less likely. The first four: logistic regression on readings of photos of
# digits, made harder in 21 ways; of each, whether the classifier recognised the digit.
THICKNESS = 12.0  # times the thickness
UNEVENNESS = 2.0  # times the standard deviation of the paper around it, as a share of the contrast
PIECES = 0.35  # each
CUT = 0.75  # if all pieces lie along the edge
PLAIN = -2.0  # if the picture's edge is even: mostly there is only ink
SHEET = 1.0  # but if the ink is one area, it may be a sheet of paper
EATEN = 1.0  # if the strokes are as wide as the window: the background has a part of them

AROUND = 3  # pixels of the reduced picture
WHOLE = 0.7  # of the window: strokes that are narrower are whole
MOST = (2.0, 8)  # unevenness and pieces that count
SQUARE = 0.65  # of a sheet's longer side; a one by a broad pen is narrower
FILLED = 0.6  # of its box: a sheet that is turned has more
CONVEX = 0.88  # of the area of the rectangle with the same variance; an ellipse has 1.05


def likeness(reading: Reading) -> float:
    """Larger is more likely."""
    around = widened(reading.box, AROUND, reading.written.shape)
    paper = reading.picture[around][reading.pieces[around] == 0]
    unevenness = float(paper.std()) / reading.strength if paper.size else MOST[0]
    stroke = reading.thickness * max(sides(reading.box))
    is_eaten = reading.level is None and stroke > WHOLE * reading.window_pixels
    return -(
        THICKNESS * reading.thickness
        + UNEVENNESS * min(unevenness, MOST[0])
        + PIECES * min(reading.marks, MOST[1])
        + CUT * reading.is_cut
        + (PLAIN + SHEET * _is_area(reading)) * (reading.level is not None)
        + EATEN * is_eaten
    )


def _is_area(reading: Reading) -> bool:
    """Whether the pieces, with their holes filled, are one convex area, as a sheet of paper is."""
    shortest, longest = sorted(sides(reading.box))
    filled = scipy.ndimage.binary_fill_holes(reading.pieces[reading.box] > 0)
    y, x = np.nonzero(filled)
    if shortest < SQUARE * longest or len(y) < max(9, FILLED * filled.size):
        return False
    # A rectangle has the area 12 * sqrt(det), an ellipse 4 * pi * sqrt(det); others have less.
    return bool(len(y) > CONVEX * 12 * np.sqrt(max(np.linalg.det(np.cov(y, x)), 1e-9)))
