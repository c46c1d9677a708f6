"""Draw 1s with an upstroke, as most of Europe writes them.

MNIST was written in the USA, where a 1 is one straight stroke, so a network that has seen nothing
else takes the upstroke for the bar of a 7.
"""

import numpy as np
from PIL import Image, ImageDraw

from digits.core.arrays import BoolArray, UInt8Array
from digits.data.dataset import Labelled, Source
from digits.drawing.canvas import INK, Random, enlarged, fitted, placed, redrawn, smooth

ONE = "1"


def add(data: Labelled, source: Source, share: float, seed: int) -> Labelled:
    """Draw some of the 1s again, with an upstroke, and append them.

    Parameters
    ----------
    data : images of the classes
    source : the data set's; nothing is added if it has no 1, or classes that are no digits
    share : of the 1s, how many are drawn
    seed : of the random draw
    """
    if ONE not in source.classes or not source.shows_digits:
        return data
    rng = np.random.default_rng(seed)
    label = source.classes.index(ONE)
    ones = np.flatnonzero(data.labels == label)
    fit = placed if source.method == "ink-box" else fitted
    drawn = []
    for one in data.images[rng.choice(ones, round(share * len(ones)), replace=False)]:
        picture = with_upstroke(one, rng)
        drawn.append(fit(picture, one) if rng.integers(3) else redrawn(picture, one, fit, rng))
    if not drawn:
        return data
    labels = np.full(len(drawn), label, np.uint8)
    return Labelled(np.concatenate([data.images, drawn]), np.concatenate([data.labels, labels]))


def with_upstroke(image: UInt8Array, rng: Random) -> UInt8Array:
    """A straight 1 with an upstroke, on the canvas; one in six also gets a line to stand on."""
    picture = enlarged(image)
    ink = picture > INK
    rows = np.flatnonzero(ink.any(axis=1))
    if not len(rows):
        return picture
    top, bottom = int(rows[0]), int(rows[-1])
    height = bottom + 1 - top
    pen = max(2, round(ink.sum() / height * rng.uniform(0.6, 1)))
    head, foot = _middle(ink[top : top + 4]), _middle(ink[max(bottom - 3, 0) :])
    down = height * rng.uniform(0.2, 0.75)
    left = min(down * rng.uniform(0.4, 1.2), head - pen / 2)  # steeper than the bar of a 7
    x, y = head, top + pen / 2
    bend_x, bend_y = rng.uniform(-0.08, 0.08, 2) * height
    bend = (x - left / 2 + bend_x, y + down / 2 + bend_y)
    path = smooth(np.array([(x, y), bend, (x - left, y + down)]))
    drawn = Image.fromarray(picture)
    draw = ImageDraw.Draw(drawn)
    draw.line([(x, y) for x, y in path.tolist()], 255, pen)
    if rng.integers(6) == 0:
        half = height * rng.uniform(0.15, 0.4)
        draw.line([(foot - half, bottom), (foot + half, bottom)], 255, pen)
    return np.asarray(drawn)


def _middle(ink: BoolArray) -> float:
    """The mean column of the ink in some rows."""
    return float(np.flatnonzero(ink.any(axis=0)).mean())
