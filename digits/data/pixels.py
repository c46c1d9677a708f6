"""How the values and the shape of an array are taken as images: nothing is guessed in silence.

A file that says neither whether 1 is white nor which axis holds the channels is read by these
rules. `describe` puts them into words, for the user.

- Booleans, and values of 0 to 1: multiplied by 255. Values of 0 to 255: grey levels, rounded.
  Anything else is refused: negative values, larger ones, NaN.
- (n, height, width), (n, height, width, channels), (n, channels, height, width) with 1, 3 or 4
  channels; (n, pixels) of a square; (height, width) and (height, width, channels): one image.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.imaging import decoding

CHANNELS = (1, 3, 4)
MIN_PIXELS = 64  # in a flat row: 8 x 8
WHITE = 255
SAMPLE = 100  # images; among so many, one has a grey level above 1, if there are grey levels
CHANGED = "the file was another one when it was listed"

Array = npt.NDArray[Any]
Piece = Array | list[Any]  # some images: an array, or an item for each
Label = int | str
Kind = Literal["files", "bytes", "booleans", "integers", "floats"]

UNDO = "Undo the normalisation (image * std + mean), or save bytes of 0 to 255"
UNPICKLE = (
    "Reading it would run code that it may contain. Save plain arrays: "
    "np.savez('images.npz', images=np.stack(images), labels=labels)"
)
ONE_HOT = "Labels are one value for each image: of one-hot ones, save labels.argmax(1)"


@dataclass(frozen=True)
class Layout:
    """How an array's elements, in C order, become images.

    shape : (n, height, width), with channels (n, height, width, channels), or with channels first
    channels_first : the array is (n, channels, height, width)
    words : how the shape was taken, for the user; empty for the usual shape
    """

    shape: tuple[int, ...]
    channels_first: bool = False
    words: str = ""

    def arrange(self, elements: Array) -> Array:
        """Shape the elements of some images: (k, height, width) or (k, height, width, channels)."""
        images = elements.reshape(-1, *self.shape[1:])
        return np.moveaxis(images, 1, -1) if self.channels_first else images


@dataclass(frozen=True)
class Labels:
    """The labels of an array or a column, in the order of its images."""

    key: str
    count: int
    read: Callable[[], Sequence[Label | None]]


@dataclass(frozen=True)
class Images:
    """The images of one array, one column or one archive, while its file is open.

    key : the array's name in its file; empty if the file holds one array
    count : images
    kind : of the values; files: each is an image file's content, or {bytes, path}
    read : the images from one number up to, but without, another, as they are stored
    words : how shape and columns were taken
    names : the images' own names, if they have some
    labels : if they are a column of the same table
    values : all values in parts, to find their range; None if `read` yields arrays
    """

    key: str
    count: int
    kind: Kind
    read: Callable[[int, int], Iterator[Piece]]
    words: str = ""
    names: tuple[str, ...] | None = None
    labels: Labels | None = None
    values: Callable[[], Iterator[Array]] | None = None

    def within(self, container: str) -> "Images":
        """The same, in an archive: its key begins with the file's name there."""
        return replace(self, key=f"{container}/{self.key}" if self.key else container)


@dataclass(frozen=True)
class Contents:
    """What a file holds: images, and labels that are arrays of their own."""

    images: tuple[Images, ...] = ()
    labels: tuple[Labels, ...] = ()

    def find(self, key: str) -> Images:
        """The images of a key; raises `InputError` if there are none."""
        for images in self.images:
            if images.key == key:
                return images
        raise InputError(CHANGED)


def kind_of(dtype: np.dtype[Any], name: str) -> Kind:
    """The kind of an array's values; raises `InputError` if they can't be pixels."""
    if dtype.hasobject:
        raise InputError(f"{name} is an array of Python objects, a pickle. {UNPICKLE}")
    if dtype == np.uint8:
        return "bytes"
    kinds: dict[str, Kind] = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats"}
    if dtype.kind not in kinds:
        raise InputError(f"{name} is {dtype}; expected numbers: booleans, integers or floats")
    return kinds[dtype.kind]


def find_layout(shape: tuple[int, ...], name: str) -> Layout:
    """How an array of this shape holds images; raises `InputError` if it can't."""
    height_width = len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS)
    if 0 not in shape[1:]:
        if len(shape) == 2 and shape[0] != shape[1] and (side := square_side(shape[1])):
            words = f"rows of {shape[1]:,} pixels as {side} x {side}"
            return Layout((shape[0], side, side), words=words)
        if height_width and shape[0]:
            return Layout((1, *shape), words=f"{shown(shape)} as one image")
        if len(shape) == 3:
            return Layout(shape)
        if len(shape) == 4:
            last, first = shape[3] in CHANNELS, shape[1] in CHANNELS
            if last != first:
                words = f"{shown(shape)} with the channels {'last' if last else 'first'}"
                return Layout(shape, first, words)
            if last and first:
                raise InputError(
                    f"{name} is {shown(shape)}: its channels may be first or last. Save it without "
                    f"channels, as (n, height, width)"
                )
    raise InputError(
        f"{name} is {shown(shape)}; expected (n, height, width), (n, height, width, channels), "
        f"(n, channels, height, width) with 1, 3 or 4 channels, or (n, pixels) of a square"
    )


def square_side(pixels: int) -> int | None:
    """The side of a square of so many pixels; None if they are no square, or too few."""
    side = math.isqrt(pixels)
    return side if side * side == pixels >= MIN_PIXELS else None


def measure(images: Images) -> int:
    """Find what the values are to be multiplied by, to be grey levels of 0 to 255: 1 or 255.

    Reads all values, unless they are bytes; of these, until one is above 1. Raises `InputError` if
    one can't be a pixel.
    """
    if images.kind == "files" or not images.count:
        return 1
    if images.kind == "booleans":
        return WHITE
    if images.kind == "bytes" and not images.values:
        first = images.read(0, min(images.count, SAMPLE))
        if any(np.max(some, initial=0) > 1 for some in first):
            return 1
    low, high = math.inf, -math.inf
    count = 0
    name = f"{images.key}: " * bool(images.key)
    for values in images.values() if images.values else images.read(0, images.count):
        if len(values):
            low, high = min(low, float(np.min(values))), max(high, float(np.max(values)))
            if not (math.isfinite(low) and math.isfinite(high)):
                where = (
                    "" if images.values else f" in image {count + _first_bad(np.asarray(values)):,}"
                )
                raise InputError(
                    f"{name}a value is missing, NaN or infinite{where}; "
                    f"expected 0 to 1 or 0 to 255. Replace it, or leave its image out"
                )
        count += len(values)
        if images.kind == "bytes" and high > 1:
            return 1
    if low < 0 or high > WHITE:
        way_out = UNDO if low < 0 else "Divide them by their largest value, to be 0 to 1"
        raise InputError(
            f"{name}the values are {low:g} to {high:g}; expected 0 to 1 or 0 to 255. {way_out}"
        )
    if images.kind == "floats" and 1 < high < 2:
        raise InputError(
            f"{name}the values are {low:g} to {high:g}; expected 0 to 1 or 0 to 255. Clip them to 1"
        )
    return WHITE if 0 < high <= 1 else 1


def _first_bad(images: Array) -> int:
    """Position of the first image with a value that is no number, or infinite."""
    return int(np.isfinite(images.reshape(len(images), -1)).all(axis=1).argmin())


def describe(images: Images, scale: int) -> str:
    """How the images were taken, in words."""
    values = {
        ("files", 1): "image files",
        ("bytes", 1): "bytes as grey levels",
        ("bytes", WHITE): "bytes of 0 and 1, multiplied by 255",
        ("booleans", WHITE): "booleans, multiplied by 255",
        ("integers", 1): "integers as grey levels of 0 to 255",
        ("integers", WHITE): "integers of 0 and 1, multiplied by 255",
        ("floats", 1): "floats as grey levels of 0 to 255, rounded",
        ("floats", WHITE): "floats in [0, 1], multiplied by 255",
    }[images.kind, scale]
    return "; ".join(part for part in (images.words, values) if part)


def to_levels(values: Array, scale: int) -> UInt8Array:
    """Turn values that `measure` has seen into grey levels, uint8 of the same shape."""
    if values.dtype == np.uint8 and scale == 1:
        return values
    levels = np.rint(values.astype(np.float32) * scale)
    if levels.size and not 0 <= levels.min() <= levels.max() <= WHITE:  # nor if one is NaN
        raise InputError(CHANGED)
    return levels.astype(np.uint8)


def decode(
    item: Any, scale: int, size: tuple[int, int] | None = None
) -> tuple[UInt8Array, tuple[int, int]]:
    """Decode one image: an image file's content, {bytes, path}, pixels as an array or nested lists.

    A large image is reduced, as `decoding` does it.

    Parameters
    ----------
    item : the image, as `Images.read` yields it
    scale : of pixels, as `measure` returns it
    size : height and width that a flat list of pixels may have; None: those of a square

    Returns
    -------
    uint8 (height, width), or (height, width, 3); and the image's own height and width

    Raises
    ------
    InputError
        If there is no image, or it can't be decoded.
    """
    if isinstance(item, InputError):
        raise item
    if isinstance(item, dict):
        item = item.get("bytes")
    if isinstance(item, bytes):
        return decoding.decode_with_size(item)
    if isinstance(item, list):
        levels = _from_lists(item, scale, size)
    elif isinstance(item, np.ndarray):
        levels = to_levels(item, scale)
    else:
        raise InputError("there is no image")
    height, width = levels.shape[:2]
    return decoding.from_array(levels), (height, width)


def _from_lists(values: list[Any], scale: int, size: tuple[int, int] | None) -> UInt8Array:
    try:
        array = np.array(values)
    except ValueError as error:
        raise InputError(f"the pixels are not an array: {error}") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"the pixels are {array.dtype.name}; expected numbers")
    if array.ndim == 1 and size and array.size == math.prod(size):
        array = array.reshape(size)
    elif array.ndim == 1 and (side := square_side(array.size)):
        array = array.reshape(side, side)
    elif array.ndim == 3:
        array = find_layout((1, *array.shape), "the image").arrange(array)[0]
    if array.ndim not in (2, 3):
        raise InputError(
            f"the pixels are {shown(array.shape)}; expected those of a square, or rows of pixels"
        )
    return to_levels(array, scale)


def shown(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{side:,}" for side in shape) or "a single value"
