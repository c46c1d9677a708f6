"""How much a reading looks like the strokes of one digit on paper.

A picture of a sheet on a table, or of a shadow, can be read in several ways: the sheet, the hole of
a zero and the corner of a shadow are ink to some of them. Strokes are thin, they are few pieces,
they do not lie along the picture's edge, and the paper around them is even.
"""

import numpy as np

from digits.imaging.ink.geometry import sides, widened
from digits.imaging.ink.reading import Reading

# What makes a reading less likely. The first four: logistic regression on readings of photos of
# digits, made harder in 21 ways; of each, whether the classifier recognised the digit.
THICKNESS = 12.0  # times the thickness
UNEVENNESS = 2.0  # times the standard deviation of the paper around it, as a share of the contrast
PIECES = 0.35  # each
CUT = 0.75  # if all pieces lie along the edge
PLAIN = -2.0  # if the picture's edge is even: mostly there is only ink
EATEN = 1.0  # if the strokes are as wide as the window: the background has a part of them

AROUND = 3  # pixels of the reduced picture
WHOLE = 0.7  # of the window: strokes that are narrower are whole
MOST = (2.0, 8)  # unevenness and pieces that count


def likeness(reading: Reading) -> float:
    """Larger is more likely."""
    around = widened(reading.box, AROUND, reading.written.shape)
    paper = reading.picture[around][reading.pieces[around] == 0]
    unevenness = float(paper.std()) / reading.strength if paper.size else MOST[0]
    pieces = len(np.unique(reading.pieces[reading.written]))
    stroke = reading.thickness * max(sides(reading.box))
    is_eaten = reading.level is None and stroke > WHOLE * reading.window_pixels
    return -(
        THICKNESS * reading.thickness
        + UNEVENNESS * min(unevenness, MOST[0])
        + PIECES * min(pieces, MOST[1])
        + CUT * reading.is_cut
        + PLAIN * (reading.level is not None)
        + EATEN * is_eaten
    )
