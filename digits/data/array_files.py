"""Read images from files of arrays: NumPy's .npy and .npz, and IDX. Nothing is unpickled.

Elements are read a few images at a time, so memory does not grow with the number of images. An
array in Fortran order is read as a whole.
"""

import gzip
import math
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, cast

import numpy as np

from digits.core.errors import InputError
from digits.data import idx, pixels
from digits.data.pixels import Array, Contents, Images, Label, Labels, Layout

PIECE_BYTES = 32 << 20  # of images, in memory at a time
MAX_WHOLE_BYTES = 1 << 30  # of an array in Fortran order
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
PART = re.compile(
    r"(?<![a-z])[xy]?(train|test|t10k|val|valid|validation)"
    r"(?=ing|set|data|image|label|[^a-z]|[xy]|$)",
    re.I,
)
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")  # in mnistTrain, where the second word begins


@dataclass(frozen=True)
class StoredArray:
    """An array in a file whose elements begin at a position.

    open : returns the file, open at its start; the elements begin at `position`
    """

    name: str
    open: Callable[[], IO[bytes]]
    position: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool = False


def open_npy(file: IO[bytes], stack: ExitStack) -> Contents:
    return _contents([_npy("", partial(_again, file), _length(file))])


def open_npz(file: IO[bytes], stack: ExitStack) -> Contents:
    """All arrays of an archive; its images and labels are told by their shapes and names."""
    archive = open_zip(file, stack)
    with damage():
        arrays = []
        for member in archive.infolist():
            key, dot, ending = member.filename.rpartition(".")
            if ending != "npy" or not dot:
                raise InputError(f"{member.filename} in the file is not an array (.npy)")
            opened = partial(cast(Callable[..., IO[bytes]], archive.open), member)
            arrays.append(_npy(key, opened, member.file_size))
    contents = _contents(arrays)
    keys = [images.key for images in contents.images]
    parts = [part_of(key) for key in keys]
    if not arrays:
        raise InputError("the file holds no arrays; expected one of images")
    if len(keys) > 1 and (None in parts or len(set(parts)) < len(parts)):
        raise InputError(
            f"{', '.join(keys)} may all be images: {_all_shown(arrays)}. Save one of them alone, "
            f"or name them x_train and x_test. {pixels.ONE_HOT}"
        )
    return contents


def open_idx(file: IO[bytes], stack: ExitStack) -> Contents:
    with damage():
        plain = uncompressed(file, stack)
        dtype, shape = idx.read_header(plain)
        array = StoredArray("", partial(_again, plain), plain.tell(), dtype, shape)
    if plain is file:
        _check_length(array, _length(file))
    return _contents([array])


def part_of(name: str) -> str | None:
    """train, test or val, if an array's or a file's name says so."""
    match = PART.search(CAMEL.sub("_", name))
    if match is None:
        return None
    part = match[1].lower()
    return {"t10k": "test"}.get(part, "val" if part.startswith("val") else part)


def uncompressed(file: IO[bytes], stack: ExitStack) -> IO[bytes]:
    """The file, or what it holds if it is compressed by gzip."""
    is_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(IO[bytes], stack.enter_context(gzip.open(file))) if is_gzip else file


def open_zip(file: IO[bytes], stack: ExitStack) -> zipfile.ZipFile:
    """Open a ZIP archive; raises `InputError` if it is damaged, or none."""
    with damage():
        archive = stack.enter_context(zipfile.ZipFile(file))
    if any(member.header_offset < 0 for member in archive.infolist()):
        raise InputError("damaged zip file: a part of it would lie before its start")
    return archive


@contextmanager
def damage() -> Iterator[None]:
    """Raises `InputError` where a compressed file turns out to be damaged."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"truncated or damaged gzip or zip file: {error}") from None
    except (zipfile.BadZipFile, RuntimeError) as error:  # also an unknown method, or a password
        raise InputError(f"the file is not a ZIP archive that can be read: {error}") from None


def images_per_piece(image_bytes: float) -> int:
    return max(1, int(PIECE_BYTES / max(image_bytes, 1)))


def _again(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file


def _length(file: IO[bytes]) -> int:
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    return length


def _npy(key: str, opened: Callable[[], IO[bytes]], length: int) -> StoredArray:
    """Read an array's header; the length is the whole file's."""
    file, name = opened(), key or "the array"
    start = file.read(6)
    if start[:1] == b"\x80":
        raise InputError(f"{name} is a pickle. {pixels.UNPICKLE}")
    file = opened()
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran_order, dtype = NPY_HEADERS[version](file)
    except (ValueError, TypeError, KeyError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"{key or 'the file'} is not a NumPy array: {error}") from None
    array = StoredArray(key, opened, file.tell(), dtype, tuple(shape), fortran_order)
    if not dtype.hasobject:
        _check_length(array, length)
    return array


def _check_length(array: StoredArray, length: int) -> None:
    expected = array.position + math.prod(array.shape) * array.dtype.itemsize
    if length != expected:
        problem = "truncated" if length < expected else "too long"
        where = f"{array.name} is " if array.name else ""
        raise InputError(
            f"{where}{problem}: {length:,} bytes; its header states {expected:,}, for "
            f"{array.dtype} of {pixels.shown(array.shape)}"
        )


def _contents(arrays: list[StoredArray]) -> Contents:
    images, labels = [], []
    for array in arrays:
        if _may_be_labels(array):
            labels.append(Labels(array.name, array.shape[0], partial(_read_labels, array)))
        else:
            images.append(_images(array))
    return Contents(tuple(images), tuple(labels))


def _may_be_labels(array: StoredArray) -> bool:
    is_column = len(array.shape) == 1 or (len(array.shape) == 2 and array.shape[1] == 1)
    return is_column and array.dtype.kind in "biufSU"


def _images(array: StoredArray) -> Images:
    name = array.name or "the array"
    kind = pixels.kind_of(array.dtype, name)
    layout = pixels.find_layout(array.shape, name)
    words = [layout.words] if layout.words else []
    words += ["in Fortran order"] * (array.fortran_order and array.shape[0] > 1)
    read = partial(_read, array, layout)
    return Images(array.name, layout.shape[0], kind, read, "; ".join(words))


def _read(array: StoredArray, layout: Layout, start: int, end: int) -> Iterator[Array]:
    """Read images, a few at a time."""
    per_image = math.prod(layout.shape[1:])
    size = per_image * array.dtype.itemsize
    count = images_per_piece(size)
    with damage():
        if array.fortran_order:
            whole = _whole(array)
            if layout.shape[0] == 1:
                whole = whole[None]
            for first in range(start, end, count):
                yield layout.arrange(np.ascontiguousarray(whole[first : min(first + count, end)]))
            return
        file = array.open()
        file.seek(array.position + start * size)
        for first in range(start, end, count):
            expected = (min(first + count, end) - first) * size
            content = file.read(expected)
            if len(content) != expected:
                raise InputError("truncated: the file has fewer images than its header states")
            yield layout.arrange(np.frombuffer(content, array.dtype))


def _whole(array: StoredArray) -> Array:
    """An array in Fortran order, whose images are not one after another."""
    size = math.prod(array.shape) * array.dtype.itemsize
    if size > MAX_WHOLE_BYTES:
        raise InputError(
            f"the array has {size:,} bytes in Fortran order, which are read at once; expected at "
            f"most {MAX_WHOLE_BYTES:,}. Save np.ascontiguousarray(array)"
        )
    file = array.open()
    file.seek(array.position)
    return np.frombuffer(file.read(size), array.dtype).reshape(array.shape, order="F")


def _read_labels(array: StoredArray) -> list[Label | None]:
    with damage():
        file = array.open()
        file.seek(array.position)
        content = file.read(array.shape[0] * array.dtype.itemsize)
    values = np.frombuffer(content, array.dtype).tolist()
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else value for value in values
    ]


def _all_shown(arrays: list[StoredArray]) -> str:
    return ", ".join(f"{a.name} ({a.dtype}, {pixels.shown(a.shape)})" for a in arrays)
