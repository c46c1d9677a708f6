"""The digit 1 with a long upstroke, as most of Europe writes it; MNIST has hardly any.

A network that knows no such ones reads them as 7. So some are made from MNIST's, to train on.
"""

import math

import numpy as np
from PIL import Image, ImageDraw
from PIL.Image import Resampling

from digits.core.arrays import Float64Array, UInt8Array
from digits.data.dataset import Labelled

ONE = "1"
INK = 64  # a pixel above it is ink
LARGEST_ANGLE = math.radians(45)  # from the vertical; sevens begin beyond it
FINER = 4  # an upstroke is drawn so many times as large, since PIL's strokes have no soft edge


def with_upstrokes(data: Labelled, classes: tuple[str, ...], share: float, seed: int) -> Labelled:
    """Add copies of some images of the class `1`, with an upstroke drawn on each.

    Parameters
    ----------
    data : training images
    classes : their names; without a `1`, nothing is added
    share : of the class's images, in [0, 1]; 0 adds nothing
    seed : of the random draw

    Returns
    -------
    the images as they are, then the new ones
    """
    ones = np.flatnonzero(data.labels == classes.index(ONE)) if ONE in classes else np.empty(0, int)
    rng = np.random.default_rng(seed)
    chosen = data.take(rng.choice(ones, round(share * len(ones)), replace=False))
    if not len(chosen):
        return data
    drawn = np.stack([draw(image, rng) for image in chosen.images])
    return Labelled(
        np.concatenate([data.images, drawn]), np.concatenate([data.labels, chosen.labels])
    )


def draw(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Draw a stroke from the top of a stem down to the left, as thick as the stem.

    It is 30 to 60 % as long as the stem, and at 20 to 45 degrees to it. The picture is then scaled
    and moved, so that its ink is as large and where it was.
    """
    rows = np.flatnonzero((image > INK).any(axis=1))
    if len(rows) < 2:
        return image
    top, bottom = (_middle(image[row]) for row in rows[[0, -1]])
    length = math.hypot(len(rows), top - bottom)
    thickness = float(image.sum()) / 255 / length
    lean = math.atan2(top - bottom, len(rows))
    angle = min(lean + math.radians(rng.uniform(20, 45)), LARGEST_ANGLE)
    reach = rng.uniform(0.3, 0.6) * length
    room = image.shape[1]  # at the left
    paper = np.pad(image, ((0, 0), (room, 0)))
    x, y = room + top + 0.5, rows[0] + thickness / 2
    ends = ((x, y), (x - reach * math.sin(angle), y + reach * math.cos(angle)))
    height, width = paper.shape
    canvas = Image.new("L", (FINER * width, FINER * height))
    stroke = [(FINER * u, FINER * v) for u, v in ends]
    ImageDraw.Draw(canvas).line(stroke, 255, max(1, round(FINER * thickness)))
    drawn = np.asarray(canvas.resize((width, height), Resampling.BOX))
    return _placed(np.maximum(paper, drawn), image)


def _placed(picture: UInt8Array, like: UInt8Array) -> UInt8Array:
    """Scale a picture and move it, so that its ink is as large and where another image's is."""
    rows, columns = _box(picture)
    ink = picture[rows, columns]
    largest = max(lines.stop - lines.start for lines in _box(like))
    scale = min(largest / max(ink.shape), *np.divide(like.shape, ink.shape))
    height, width = (max(1, round(scale * side)) for side in ink.shape)
    ink = np.asarray(Image.fromarray(ink).resize((width, height), Resampling.BILINEAR))
    top, left = (
        min(max(round(centre - own), 0), side - extent)
        for centre, own, side, extent in zip(
            _centre(like), _centre(ink), like.shape, ink.shape, strict=True
        )
    )
    frame = np.zeros_like(like)
    frame[top : top + height, left : left + width] = ink
    return frame


def _box(image: UInt8Array) -> tuple[slice, slice]:
    """The rows and the columns from the first to the last ink."""
    rows, columns = (np.flatnonzero((image > INK).any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _centre(image: UInt8Array) -> tuple[float, float]:
    """Row and column of the centre of mass."""
    return _middle(image.sum(axis=1)), _middle(image.sum(axis=0))


def _middle(line: UInt8Array | Float64Array) -> float:
    """The mean position in a line, weighted by its values."""
    return float(line @ np.arange(len(line), dtype=np.float64)) / float(line.sum())
