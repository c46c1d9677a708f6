"""A picture on the canvas becomes an image like those of a data set."""

import numpy as np

from digits.drawing.canvas import CANVAS, placed


def test_ink_is_placed_as_large_as_another_images() -> None:
    like = np.zeros((28, 28), np.uint8)
    like[4:24, 10:18] = 255
    picture = np.zeros((CANVAS, CANVAS), np.uint8)
    picture[:10, :5] = 255
    rows, columns = (np.flatnonzero(placed(picture, like).any(axis)) for axis in (1, 0))
    assert (rows[0], len(rows), len(columns)) == (4, 20, 10)
