"""Paint over the lines of ruled paper: thin, nearly straight, from one edge to the other.

The picture is averaged over strips at right angles to the lines. A line is a narrow peak in nearly
all strips, at nearly the same place; a stroke of a digit is in few of them.
"""

import numpy as np
import scipy
from PIL import Image
from PIL.Image import Resampling

from digits.core.arrays import Float32Array, Int64Array, UInt8Array
from digits.imaging.ink.geometry import closed

STRIPS = 16  # across the picture; a digit's strokes leave most of them free
SMALLEST = 48  # pixels; lines on smaller pictures can't be told from strokes
THICKEST = 0.04  # of the picture; strokes of a digit that fills it are thicker
BEND = 0.015  # of the picture, from strip to strip: paper is never quite flat, nor held straight
FAINTEST = 8  # grey levels; fainter lines are no ink anyway
NOISE = 5  # times the noise: a peak
WEAKEST = 0.4  # of the line's strength at the first edge, at the other strips
SEEN = 0.75  # of the strips, at least


def without_rules(grey: UInt8Array) -> UInt8Array:
    """A picture without the lines that go from one edge to the other; itself if it has none."""
    if min(grey.shape) < SMALLEST:
        return grey
    return _without_level_rules(_without_level_rules(grey).T).T


def _without_level_rules(grey: UInt8Array) -> UInt8Array:
    """As `without_rules`, for the lines from the left edge to the right."""
    height, width = grey.shape
    strips = np.asarray(Image.fromarray(grey).resize((STRIPS, height), Resampling.BOX), np.float32)
    thickest = max(2, round(THICKEST * height))
    middles = (np.arange(STRIPS) + 0.5) * width / STRIPS
    painted = grey
    for sign in (1, -1):  # dark lines, light ones
        levels = sign * strips
        peaks = closed(levels, 2 * thickest + 1, 1) - levels
        for track in _find_tracks(peaks):
            half = _half_thickness(peaks, track, thickest)
            if half:
                rows = np.round(np.interp(np.arange(width), middles, track)).astype(np.int64)
                painted = _painted_over(painted, rows, half, sign)
    return painted


def _find_tracks(peaks: Float32Array) -> list[Int64Array]:
    """The row of each line in each strip; (height, strips) -> (strips,) each."""
    height = len(peaks)
    first = peaks[:, 0]
    threshold = max(FAINTEST, NOISE * float(np.median(peaks)))
    highest = scipy.ndimage.maximum_filter1d(first, 2 * max(2, round(THICKEST * height)) + 1)
    reach = max(2, round(BEND * height))
    tracks = []
    for start in np.flatnonzero((first == highest) & (first > threshold)):
        track, seen, row = [], 0, int(start)
        for strip in peaks.T:
            low = max(row - reach, 0)
            nearest = low + int(strip[low : row + reach + 1].argmax())
            is_seen = strip[nearest] > max(WEAKEST * first[start], FAINTEST / 2)
            row = nearest if is_seen else row
            seen += is_seen
            track.append(row)
        if is_seen and seen >= SEEN * STRIPS:
            tracks.append(np.array(track))
    return tracks


def _half_thickness(peaks: Float32Array, track: Int64Array, thickest: int) -> int | None:
    """Half the thickness of a line, rounded up: rows from its middle; None if it is too thick."""
    middle = np.median(peaks[track, np.arange(STRIPS)])
    for half in range(1, (thickest + 1) // 2 + 1):
        rows = np.clip([track - half, track + half], 0, len(peaks) - 1)
        if np.median(peaks[rows, np.arange(STRIPS)]) < 0.15 * middle:
            return half
    return None


def _painted_over(grey: UInt8Array, rows: Int64Array, half: int, sign: int) -> UInt8Array:
    """Paint each column of a line from what is above to what is below; ink on the line stays."""
    columns = np.arange(grey.shape[1])
    steps = np.arange(-half - 1, half + 2)[:, None]
    at = np.clip(rows + steps, 0, len(grey) - 1)
    band = sign * grey[at, columns].astype(np.float32)
    paper, level = np.median(band[[0, -1]]), np.median(band[half + 1])
    is_ink = band < level - max(FAINTEST, 0.5 * (paper - level))
    share = (steps + half + 1) / (2 * half + 2)
    between = (1 - share) * band[0] + share * band[-1]
    painted = grey.copy()
    painted[at, columns] = np.abs(np.where(is_ink, band, between))
    return painted
