"""Boxes of pixels, reduced pictures, and the shape of a piece of ink."""

from collections.abc import Sequence

import numpy as np
import scipy
from PIL import Image
from PIL.Image import Resampling

from digits.core.arrays import BoolArray, Float32Array

Box = tuple[slice, slice]  # rows, columns
EIGHT = np.ones((3, 3), bool)  # a pixel's neighbours, for SciPy
_STEPS = np.arange(-4, 5)  # pixels
GAUSSIAN = np.exp(-0.5 * _STEPS**2) / np.exp(-0.5 * _STEPS**2).sum()
DERIVATIVE = _STEPS * GAUSSIAN


def box_of(mask: BoolArray) -> Box:
    """The smallest box that holds all pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def sides(box: Box) -> tuple[int, int]:
    """Height and width."""
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def is_inside(inner: Box, outer: Box) -> bool:
    """Whether a box lies in another one, to within a pixel."""
    return all(
        o.start - 1 <= i.start and i.stop <= o.stop + 1 for i, o in zip(inner, outer, strict=True)
    )


def joined(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of these."""
    rows, columns = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in (0, 1)
    )
    return rows, columns


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have a pixel in common."""
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def widened(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """A box with a margin, inside of a picture."""
    rows, columns = (
        slice(max(side.start - margin, 0), min(side.stop + margin, n))
        for side, n in zip(box, shape, strict=True)
    )
    return rows, columns


def scaled(box: Box, shape: tuple[int, ...], larger: tuple[int, ...]) -> Box:
    """A box of a reduced picture, in the pixels of the larger one."""
    rows, columns = (
        slice(int(side.start * n / m), round(side.stop * n / m))
        for side, n, m in zip(box, larger, shape, strict=True)
    )
    return rows, columns


def dilated(mask: BoolArray, pixels: int = 1) -> BoolArray:
    """A mask and all pixels that are at most so far from it, also diagonally."""
    grown = mask.copy()
    for _ in range(pixels):  # SciPy's binary_dilation takes fifty times as long
        for view in (grown, grown.T):
            before = view.copy("K")  # in the order in which its pixels lie
            view[1:] |= before[:-1]
            view[:-1] |= before[1:]
    return grown


def extremes(array: Float32Array, pixels: int, *, least: bool = False) -> Float32Array:
    """The largest or the least of so many neighbours, (n, ...) -> (n - pixels + 1, ...)."""
    pick, span = np.minimum if least else np.maximum, 1
    while span < pixels:  # each round doubles the span
        step = min(span, pixels - span)
        array = pick(array[:-step], array[step:])
        span += step
    return array


def closed(picture: Float32Array, height: int, width: int) -> Float32Array:
    """As SciPy's `grey_closing` with a window and mode "nearest", in a third of the time."""
    for least, outside in ((False, -np.inf), (True, np.inf)):
        for pixels in (height, width):
            start = pixels // 2 if least else (pixels - 1) // 2
            rows, columns = picture.shape
            padded = np.full((rows + pixels - 1, columns), outside, np.float32)
            padded[start : start + rows] = picture
            picture = extremes(padded, pixels, least=least).T
    return picture


def eroded(mask: BoolArray) -> BoolArray:
    """The pixels of a mask whose four neighbours are in it too."""
    frame = framed(mask)  # SciPy's binary_erosion takes ten times as long
    return mask & frame[:-2, 1:-1] & frame[2:, 1:-1] & frame[1:-1, :-2] & frame[1:-1, 2:]


def edge_mask(shape: tuple[int, ...]) -> BoolArray:
    """A mask of the outermost pixels."""
    mask = np.ones(shape, bool)
    mask[1:-1, 1:-1] = False
    return mask


def framed(mask: BoolArray) -> BoolArray:
    """A mask with an empty pixel around it; `np.pad` takes ten times as long."""
    frame = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    frame[1:-1, 1:-1] = mask
    return frame


def reduced(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture whose longer side has at most so many pixels."""
    image = Image.fromarray(picture)
    scale = min(1, side / max(image.size))
    width, height = (max(1, round(scale * pixels)) for pixels in image.size)
    return np.asarray(image.resize((width, height), Resampling.BOX))


def enlarged(array: np.ndarray, shape: tuple[int, ...]) -> Float32Array:
    """A picture or a mask, interpolated to (height, width)."""
    image = Image.fromarray(array.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Resampling.BILINEAR))


def quantile(values: Float32Array, share: float) -> float:
    """As `np.quantile` of all values, in a third of the time that it takes for a few thousand."""
    place = share * (values.size - 1)
    lower = min(int(place), values.size - 2)
    if lower < 0:
        return float(values.item())
    one, two = np.partition(values, (lower, lower + 1), axis=None)[lower : lower + 2]
    above = place - lower
    return float(one + (two - one) * above if above < 0.5 else two - (two - one) * (1 - above))


def slopes(picture: Float32Array) -> Float32Array:
    """As SciPy's `gaussian_gradient_magnitude` with sigma 1, which makes its kernels each time."""
    down, across = (
        scipy.ndimage.correlate1d(scipy.ndimage.correlate1d(picture, first, 0), second, 1)
        for first, second in ((DERIVATIVE, GAUSSIAN), (GAUSSIAN, DERIVATIVE))
    )
    found: Float32Array = np.sqrt(down * down + across * across)
    return found


def thickness(piece: BoolArray) -> float:
    """How thick a piece is where it is thickest, as a share of its longer side.

    A pen's stroke has 0.05 to 0.2, a disc 1.
    """
    distance = scipy.ndimage.distance_transform_cdt(framed(piece), "chessboard")
    return (2.0 * float(distance.max()) - 1) / float(max(piece.shape))


def count_pieces(pieces: np.ndarray) -> int:
    """How many different numbers there are, that of the background included."""
    return int(np.count_nonzero(np.bincount(pieces.ravel())))


def share_along_sides(piece: BoolArray) -> float:
    """The share of a piece's pixels that lie along the sides of its box: 1 for a frame."""
    margin = max(2, round(0.08 * max(piece.shape)))
    return 1 - float(piece[margin:-margin, margin:-margin].sum() / piece.sum())
