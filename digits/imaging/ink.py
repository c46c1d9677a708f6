"""Find the ink of one digit on a picture, and tell it from what lies around it.

The ink is dark on light or light on dark; which of the two is unknown. The background is the
picture without its strokes: a closing with a window wider than any stroke. So shadows and uneven
light belong to the background. What differs from it falls into pieces. Pieces along the picture's
edge are a table, a corner or a shadow; straight and long ones are rules, underlines and boxes; what
remains is the digit. If the digit lies on a sheet on a table, the sheet is cut out first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from PIL import Image
from PIL.Image import Resampling

from digits.core.arrays import BoolArray, Float32Array, UInt8Array
from digits.core.errors import InputError
from digits.imaging import decoding

SIDE = 112  # pixels: the pieces are found on a picture reduced to this
BACKGROUND_SIDE = 48  # pixels: and the background on one reduced to this
STROKE = 0.5  # of the shorter side: strokes are narrower
FAINTEST = 16  # grey levels of 255 between ink and background; less is no ink
FAINT = 40  # grey levels; if the ink differs less, its colour may tell more than its grey level
INK = 0.3  # of the strongest ink; a pixel with at least this much is written
REACH = 3  # pixels of the reduced picture: finer strokes than it shows are as close to others
SPECK = 0.03  # of the largest piece of ink; smaller pieces are dirt
SHORT = 0.08  # of the picture's longer side; a digit is longer
MAX_PIECES = 8  # of ink in one digit; MNIST's digits have one or two
SMALLEST_SHEET = 24  # pixels of the reduced picture
MAX_OTHERS = 80  # marks that do not belong to the digit, as ruled lines and dirt
MAX_UNEVEN = 0.31  # standard deviation of the ink's contrast, as a share of the ink's
SLOPE = (0.055, 0.3)  # of the grey levels at the ink's rim, a pixel, as a share of its contrast
PLUMP = 0.45  # thickness of a piece, of its length; the strokes of a digit are slimmer
EIGHT = np.ones((3, 3), bool)  # neighbours of a pixel

Box = tuple[slice, slice]


@dataclass(frozen=True)
class Reading:
    """A picture, read as dark ink on a lighter background.

    Attributes
    ----------
    picture : float32 (height, width), negated if the ink is the lighter one
    is_light : whether it is
    background : float32 (height, width), the picture without ink
    least : the contrast of a written pixel, grey levels
    pieces : (height, width), the number of the piece of each pixel; 0 is none
    written : bool (height, width), the pieces of the digit
    strength : contrast of its ink, grey levels
    slimness : thickness of its largest piece, as a share of its length
    is_cut : whether all pieces lie along the picture's edge
    """

    picture: Float32Array
    is_light: bool
    background: Float32Array
    least: float
    pieces: np.ndarray
    written: BoolArray
    strength: float
    slimness: float
    is_cut: bool

    @property
    def box(self) -> Box:
        return _box(self.written)


def find_ink(image: UInt8Array) -> Float32Array:
    """Crop an image to its ink, from 0 (none) to 1 (the strongest).

    Parameters
    ----------
    image : uint8 (height, width), or (height, width, 3) with colours

    Raises
    ------
    InputError
        If the image shows no ink, or something else than one digit.
    """
    found = _find_digit(decoding.grey(image))
    strength = found[1].strength if found else 0.0
    if image.ndim == 3 and strength < FAINT:
        coloured = _find_digit(_along_colour(image))
        if coloured and coloured[1].strength > 1.5 * strength:
            found, strength = coloured, coloured[1].strength
    if found is None or strength < FAINTEST:
        raise InputError(
            f"the image shows no ink: it differs from its background by {strength:.0f} grey levels "
            f"of 255; expected at least {FAINTEST}"
        )
    return _cut_out(*found)


def _along_colour(image: UInt8Array) -> UInt8Array:
    """Grey levels along the direction in which the colours differ most."""
    small = np.asarray(_reduced(image, BACKGROUND_SIDE)).reshape(-1, 3).astype(np.float32)
    middle = np.median(small, axis=0)
    direction = np.linalg.eigh(np.cov((small - middle).T))[1][:, -1].astype(np.float32)
    levels = 128 + (image.astype(np.float32) - middle) @ direction
    return np.clip(levels, 0, 255).astype(np.uint8)


def _find_digit(grey: UInt8Array, sheets: int = 2) -> tuple[UInt8Array, Reading] | None:
    """The part of a picture that has the digit, and its reading; None if there is no ink.

    Parameters
    ----------
    grey : uint8 (height, width)
    sheets : how many may lie on each other
    """
    small = np.asarray(_reduced(grey, SIDE), np.float32)
    readings = [r for r in (_read(small, is_light=False), _read(small, is_light=True)) if r]
    if not readings:
        return None
    best = _by_edge(small, readings) or _choose(readings)
    sheet = next((r for r in ([best, *readings] if best.is_cut else [best]) if _is_sheet(r)), None)
    if sheet and sheets and not _has_hole(best, readings):
        part = _sheet_alone(grey, sheet)
        found = _find_digit(part, sheets - 1) if part.size else None
        if found and _is_written_on(found[1]):
            return found
    return _closer(grey, best)


def _has_hole(outer: Reading, readings: Sequence[Reading]) -> bool:
    """Whether the other reading is a hole, as that of a zero, rather than a digit on a sheet."""
    return any(
        r is not outer and not r.is_cut and r.slimness > 0.3 and _is_inside(r.box, outer.box)
        for r in readings
    )


def _read(small: Float32Array, *, is_light: bool) -> Reading | None:
    """Read a picture as dark or light ink; None if nothing differs from the background."""
    picture = 255 - small if is_light else small
    background = _background(picture)
    contrast = np.maximum(background - picture, 0)
    inside = contrast[2:-2, 2:-2] if min(contrast.shape) > 8 else contrast
    strength = float(np.quantile(inside, 0.998))
    for _ in range(3):  # what is not the digit may be stronger than its ink
        least = INK * strength
        mask = contrast > least
        rules = _find_rules(mask) | _find_rules(mask.T).T
        pieces, count = scipy.ndimage.label(mask & ~rules, EIGHT)
        if strength < 4 or count == 0:
            return None
        boxes = scipy.ndimage.find_objects(pieces)
        lengths = np.array([0] + [max(_shape(box)) for box in boxes])
        is_inner = _find_inner(pieces, boxes, lengths)
        inner = contrast[is_inner[pieces]]
        previous, strength = strength, float(np.quantile(inner, 0.95)) if len(inner) else strength
        if strength > 0.8 * previous:
            break
    is_cut = not (is_inner & (lengths >= SHORT * max(picture.shape))).any()
    is_kept = np.ones_like(is_inner) if is_cut else is_inner
    sizes = np.where(is_kept, np.bincount(pieces.ravel(), minlength=count + 1), 0)
    sizes[0] = 0
    largest = int(sizes.argmax())
    written = (sizes >= max(1, SPECK * sizes[largest]))[pieces]
    pieces[rules] = count + 1
    return Reading(
        picture,
        is_light,
        background,
        least,
        pieces,
        written,
        float(np.quantile(contrast[written], 0.9)),
        _slimness(pieces[boxes[largest - 1]] == largest),
        is_cut,
    )


def _find_rules(mask: BoolArray) -> BoolArray:
    """The lines of lined paper, from the left edge to the right, without the strokes across."""
    height, width = mask.shape
    if not (mask[:, 0].any() and mask[:, -1].any()):
        return np.zeros_like(mask)
    long = _opened(mask, 1 + width // 4, axis=1) & ~_opened(mask, 2 + height // 20, axis=0)
    lines, _ = scipy.ndimage.label(long, EIGHT)
    boxes = scipy.ndimage.find_objects(lines)
    spans = np.array([0] + [columns.stop - columns.start for _, columns in boxes])
    rules: BoolArray = (spans > 0.8 * width)[lines]
    return rules


def _opened(mask: BoolArray, length: int, axis: int) -> BoolArray:
    """The pixels that lie in a run of at least so many along an axis."""
    eroded = scipy.ndimage.minimum_filter1d(mask, length, axis, mode="nearest")
    shift = 0 if length % 2 else -1
    opened: BoolArray = scipy.ndimage.maximum_filter1d(
        eroded, length, axis, mode="nearest", origin=shift
    )
    return opened


def _find_inner(pieces: np.ndarray, boxes: list[Box], lengths: np.ndarray) -> BoolArray:
    """Which pieces may be the digit's, by their number: not along the edge, and no rule."""
    edge = edge_mask(pieces.shape)
    contacts = np.bincount(pieces[edge], minlength=len(boxes) + 1)
    is_inner: BoolArray = contacts <= 0.4 * lengths
    is_inner[0] = False
    for i in np.flatnonzero(~is_inner[1:]) + 1:
        is_inner[i] = contacts[i] < 0.5 * edge.sum() and _fills_picture(
            pieces[boxes[i - 1]] == i, pieces.shape
        )
    long = [i for i in np.flatnonzero(is_inner) if lengths[i] >= SHORT * max(pieces.shape)]
    for i in sorted(long, key=lambda i: -lengths[i]):
        others = [
            boxes[j - 1] for j in long if j != i and is_inner[j] and lengths[j] >= 0.15 * lengths[i]
        ]
        if others and _is_rule(pieces, int(i), boxes[i - 1], others):
            is_inner[i] = False
    return is_inner


def _background(picture: Float32Array) -> Float32Array:
    """The light background without its dark strokes."""
    height, width = picture.shape
    small = np.asarray(_reduced(picture, BACKGROUND_SIDE))
    window = 1 + int(STROKE * min(small.shape))
    closed = scipy.ndimage.grey_closing(small, (window, window), mode="nearest")
    return np.asarray(Image.fromarray(closed).resize((width, height), Resampling.BILINEAR))


def _fills_picture(piece: BoolArray, shape: tuple[int, ...]) -> bool:
    """Whether a piece at the edge is a digit that was cut out to its ink."""
    return (
        min(side / whole for side, whole in zip(piece.shape, shape, strict=True)) > 0.8
        and _along_sides(piece) < 0.75
        and _slimness(piece) < PLUMP - 0.1
    )


def _is_rule(pieces: np.ndarray, number: int, box: Box, others: Sequence[Box]) -> bool:
    """Whether a piece is a ruled line, an underline or a frame around the others."""
    piece = pieces[box] == number
    height, width = piece.shape
    length = max(piece.shape)
    y, x = np.nonzero(piece)
    if length < 8 or len(y) > 0.12 * length**2 + 2 * length:
        return False
    thickness, extent = np.sqrt(12 * np.maximum(np.linalg.eigvalsh(np.cov(y, x)), 1 / 12))
    lowest = max(other[0].stop for other in others)
    tallest = max(_shape(other)[0] for other in others)
    is_below = box[0].start >= lowest - 0.15 * tallest
    if is_below and width > 3 * height and extent > 4 * thickness:
        return True
    if extent < 10 * thickness:
        return _along_sides(piece) > 0.9 and any(_is_inside(other, box) for other in others)
    ends = zip(box, pieces.shape, strict=True)
    at_edge = any(side.start == 0 or side.stop == n for side, n in ends)
    return at_edge or length > 0.85 * max(pieces.shape)


def _by_edge(small: Float32Array, readings: Sequence[Reading]) -> Reading | None:
    """The reading whose background is the picture's edge; None if the edge is not plain."""
    edge = edge_mask(small.shape)
    background = np.median(small[edge])
    is_light = small.max() - background > background - small.min()
    best = next((r for r in readings if r.is_light == is_light and not r.is_cut), None)
    if best is None or (best.pieces[edge] > 0).mean() > 0.05:
        return None
    for other in readings:
        is_smaller = all(
            inner < 0.9 * outer
            for inner, outer in zip(_shape(other.box), _shape(best.box), strict=True)
        )
        is_written_on = is_smaller and other.strength > 0.2 * best.strength
        if is_written_on and other.slimness < 0.17 and _is_sheet(best):
            return None
    return best


def _choose(readings: Sequence[Reading]) -> Reading:
    """The reading whose ink looks most like strokes.

    The hole of a zero is ink to the other reading, and so is the sheet under a digit. Of a piece in
    another one, the outer one is the digit, unless it is a sheet.
    """
    best = max(readings, key=_likeness)
    if len(readings) == 2 and min(r.strength for r in readings) >= FAINTEST / 2:
        for inner, outer in (readings, readings[::-1]):
            if not _is_inside(inner.box, outer.box):
                continue
            if inner.slimness < 0.3 and inner.strength > 0.2 * outer.strength and _is_sheet(outer):
                best = inner
            elif (
                outer.slimness < min(0.3, inner.slimness)
                and not outer.is_cut
                and outer.strength > 0.4 * inner.strength
            ):
                best = outer
    return best


def _likeness(reading: Reading) -> float:
    length = max(_shape(reading.box)) / (0.1 * max(reading.picture.shape))
    cut = 0.3 if reading.is_cut else 1
    return float(reading.strength * np.exp(-5 * reading.slimness) * cut * min(1, length))


def _is_sheet(reading: Reading) -> bool:
    """Whether a digit may be written on what was read as ink."""
    shortest, longest = sorted(_shape(reading.box))
    if shortest < max(SMALLEST_SHEET, 0.65 * longest):  # a one by a broad pen
        return False
    if not _is_solid(reading) or (reading.is_cut and reading.slimness < 0.2):
        return False
    height, width = (n / m for n, m in zip(_shape(reading.box), reading.picture.shape, strict=True))
    is_large = min(height, width) > 0.85 and reading.slimness > 0.12
    return is_large or reading.slimness > 0.26 or _along_sides(reading.written[reading.box]) > 0.9


def _is_solid(reading: Reading) -> bool:
    """Whether the pieces, with their holes filled, are one convex area."""
    filled = scipy.ndimage.binary_fill_holes(reading.pieces[reading.box] > 0)
    y, x = np.nonzero(filled)
    if len(y) < max(9, 0.6 * filled.size):
        return False
    # A rectangle has the area 12 * sqrt(det), an ellipse 4 * pi * sqrt(det); others have less.
    return bool(len(y) > 0.88 * 12 * np.sqrt(max(np.linalg.det(np.cov(y, x)), 1e-9)))


def _is_written_on(sheet: Reading) -> bool:
    """Whether a sheet alone shows a digit rather than the shades of a thick stroke."""
    at_edge = sheet.written[edge_mask(sheet.written.shape)].mean()
    return not sheet.is_cut and sheet.slimness < PLUMP - 0.1 and bool(at_edge < 0.1)


def _sheet_alone(grey: UInt8Array, sheet: Reading) -> UInt8Array:
    """Cut out a sheet, and paint over what is around it."""
    filled = scipy.ndimage.binary_fill_holes(sheet.written)
    margin = 1 + round(0.03 * max(_shape(sheet.box)))
    inner = scipy.ndimage.binary_erosion(filled, EIGHT, margin)
    if not inner.any():
        return grey[:0]
    level = np.median(sheet.picture[inner])
    box = _box(inner)
    part = grey[_scaled(box, inner.shape, grey.shape)]
    if not part.size:
        return part
    mask = np.asarray(Image.fromarray(inner[box]).resize(part.shape[::-1]))
    paper = np.uint8(255 - level if sheet.is_light else level)
    alone: UInt8Array = np.where(mask, part, paper)
    return alone


def _closer(grey: UInt8Array, reading: Reading) -> tuple[UInt8Array, Reading]:
    """Read a small digit again, on the part of the picture that has it."""
    shape = reading.picture.shape
    length = max(_shape(reading.box))
    if max(grey.shape) > max(shape) and length < 0.6 * max(shape):
        margin = round(0.4 * length) + 2
        part = grey[_scaled(_widened(reading.box, margin, shape), shape, grey.shape)]
        small = np.asarray(_reduced(part, SIDE), np.float32)
        again = _read(small, is_light=reading.is_light)
        if again and not again.is_cut and again.strength > 0.5 * reading.strength:
            return part, again
    return grey, reading


def _cut_out(grey: UInt8Array, reading: Reading) -> Float32Array:
    """Crop a picture to its ink, at full size; raises `InputError` if it cannot be one digit."""
    shape = reading.picture.shape
    around = _widened(reading.box, 2, shape)
    part = grey[_scaled(around, shape, grey.shape)].astype(np.float32)
    size = part.shape[::-1]

    def enlarged(array: np.ndarray) -> Float32Array:
        image = Image.fromarray(array[around].astype(np.float32))
        return np.asarray(image.resize(size, Resampling.BILINEAR))

    picture = 255 - part if reading.is_light else part
    contrast = np.maximum(enlarged(reading.background) - picture, 0)
    near = scipy.ndimage.binary_dilation(reading.written, EIGHT, REACH)
    left_out = (reading.pieces > 0) & ~reading.written
    if left_out.any():
        touched = scipy.ndimage.binary_dilation(reading.written, EIGHT)
        near &= ~scipy.ndimage.binary_dilation(left_out, EIGHT) | touched
    contrast = np.where(enlarged(near) > 0.3, contrast, 0)
    pieces, count = scipy.ndimage.label(contrast > reading.least, EIGHT)
    if not count:
        raise InputError("the image shows no ink")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    is_large = sizes >= SPECK * sizes.max()
    written = is_large[pieces]
    box = _box(written)
    _check_single(written[box], int(is_large.sum()), reading)
    ink = np.clip(contrast / np.quantile(contrast[written], 0.97), 0, 1)
    cropped: Float32Array = np.where((pieces > 0) & ~written, 0, ink)[box].astype(np.float32)
    return cropped


def _check_single(written: BoolArray, pieces: int, reading: Reading) -> None:
    """Refuse ink that cannot be one digit; `written` is the box of the ink, at full size."""
    _check_plain(reading)
    if pieces > MAX_PIECES:
        raise InputError(f"the image shows {pieces} separate marks; expected one digit")
    inked = np.flatnonzero(np.diff(written.any(axis=0), prepend=False, append=False))
    columns = [written[:, left:right] for left, right in zip(inked[::2], inked[1::2], strict=True)]
    digits = [
        part
        for part in columns
        if part.sum() > 0.15 * written.sum() and part.any(axis=1).sum() > 0.5 * len(written)
    ]
    if len(digits) > 1:
        raise InputError(f"the image shows {len(digits)} digits side by side; expected one")


def _check_plain(reading: Reading) -> None:
    """Refuse a picture of a scene: its marks are many, or thick, or their edges are not a pen's."""
    written, picture = reading.written, reading.picture
    marks = len(np.unique(reading.pieces[written]))
    others = len(np.unique(reading.pieces)) - 1 - marks
    contrast = (reading.background - picture)[written] / reading.strength
    rim = scipy.ndimage.binary_dilation(written, EIGHT, 2) & ~written
    slope = scipy.ndimage.gaussian_gradient_magnitude(picture, 1)[rim] / reading.strength
    at_edge = written[edge_mask(written.shape)].mean()
    if (
        marks > MAX_PIECES
        or others > MAX_OTHERS
        or (at_edge > 0.12 and others > 4)
        or float(np.std(contrast)) > MAX_UNEVEN
        or not (slope.size and SLOPE[0] < float(slope.mean()) < SLOPE[1])
        or (reading.slimness > PLUMP and min(_shape(reading.box)) > 0.3 * max(_shape(reading.box)))
    ):
        raise InputError(
            "the ink can't be told from its background. Crop the image to the digit, on plain paper"
        )


def _slimness(piece: BoolArray) -> float:
    """The thickness of a piece where it is thickest, as a share of its length."""
    distance = scipy.ndimage.distance_transform_cdt(np.pad(piece, 1), "chessboard")
    return (2.0 * float(distance.max()) - 1) / float(max(piece.shape))


def _along_sides(piece: BoolArray) -> float:
    """The share of a piece's pixels that lie along the sides of its box."""
    margin = max(2, round(0.08 * max(piece.shape)))
    return 1 - float(piece[margin:-margin, margin:-margin].sum() / piece.sum())


def _is_inside(inner: Box, outer: Box) -> bool:
    return all(
        o.start - 1 <= i.start and i.stop <= o.stop + 1 for i, o in zip(inner, outer, strict=True)
    )


def _box(mask: BoolArray) -> Box:
    """The smallest box that holds all pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _shape(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def edge_mask(shape: tuple[int, ...]) -> BoolArray:
    """A mask of the outermost pixels."""
    mask = np.ones(shape, bool)
    mask[1:-1, 1:-1] = False
    return mask


def _widened(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """A box with a margin, inside of a picture."""
    rows, columns = (
        slice(max(side.start - margin, 0), min(side.stop + margin, n))
        for side, n in zip(box, shape, strict=True)
    )
    return rows, columns


def _scaled(box: Box, shape: tuple[int, ...], larger: tuple[int, ...]) -> Box:
    """A box of a reduced picture, in the pixels of the larger one."""
    rows, columns = (
        slice(int(side.start * n / m), round(side.stop * n / m))
        for side, n, m in zip(box, larger, shape, strict=True)
    )
    return rows, columns


def _reduced(picture: np.ndarray, side: int) -> Image.Image:
    """A picture whose longer side has at most so many pixels."""
    image = Image.fromarray(picture)
    scale = min(1, side / max(image.size))
    width, height = (max(1, round(scale * pixels)) for pixels in image.size)
    return image.resize((width, height), Resampling.BOX)
