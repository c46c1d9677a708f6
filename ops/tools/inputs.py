"""What a batch reads: image files, and files of many images, in a folder or a bucket.

Image files are what `digits.imaging` reads. Files of many images are NumPy's (.npy), MNIST's IDX
(-ubyte, .idx, compressed or not) and Parquet with a column `image` of image files or pixels, as
Hugging Face's data sets have it. All are read in chunks, so that memory does not grow with them.
"""

import gzip
import json
import logging
import math
import os
import re
import tokenize
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.utils import glob_translate

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError, UserError
from digits.data import idx
from digits.imaging import decoding, model_form
from digits.imaging.preprocessing import Preprocessing
from digits.storage import filesystem
from digits.storage.filesystem import Place

Converted = tuple[UInt8Array, list[str | None]]  # in the model's form, and what is wrong, if so
Pieces = Iterator[UInt8Array | list[Any]]  # rows, in order

FILES = 500  # image files in a chunk
ROWS = 10_000  # rows of one file in a chunk
PARQUET_ROWS = 500  # that are decoded at once
READ_BYTES = 1 << 16  # of Parquet at once; else, all of a row group
PIECE_BYTES = 32 << 20  # of a file of many images, that are in memory at once
CONNECTIONS = 16  # to a bucket, of one chunk
CHANGED = "the file was another one when it was listed"
WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Source:
    """Where a batch is read from: files of a place, all, or those that match, or one.

    url : the place
    shown : how the user named it; paths of rows begin with it
    pattern : a regular expression for names
    file : the name of the one file
    """

    url: str
    shown: str
    pattern: str = ""
    file: str | None = None

    def path(self, name: str) -> str:
        return f"{self.shown}/{name}" if self.shown else name


@dataclass(frozen=True)
class Chunk:
    """What is classified at once: image files, or so many rows of one file.

    states : of the files when they were listed, as `places.state` tells them
    """

    files: tuple[str, ...]
    start: int = 0
    rows: int | None = None
    states: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files) if self.rows is None else self.rows

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Chunk":
        found = json.loads(text)
        return cls(tuple(found["files"]), found["start"], found["rows"], tuple(found["states"]))


@dataclass(frozen=True)
class Loaded:
    """A chunk's images in the model's form; for each its path, and what is wrong with it, if so.

    images : uint8 (n, height, width), nothing but background where there is an error
    """

    paths: list[str]
    images: UInt8Array
    errors: list[str | None]


def find(text: str) -> Source:
    """The source that a user names.

    Parameters
    ----------
    text : a file, a folder, a glob (`**` for any depth), or such under s3://bucket

    Raises
    ------
    InputError
        If it does not exist. Whether a bucket's prefix does, shows when it is listed.
    """
    parts = text.rstrip("/").split("/")
    plain = next((i for i, part in enumerate(parts) if WILDCARD.search(part)), len(parts))
    if plain < len(parts) and not os.path.exists(text):
        base = "/".join(parts[:plain]) or ("/" if text.startswith("/") else "")
        place = filesystem.find(base or ".")
        if not place.is_bucket and not os.path.isdir(place.root):
            raise InputError(f"{base} is no folder; expected one that {text} may match files in")
        return Source(place.url, base, glob_translate("/".join(parts[plain:])))
    place = filesystem.find(text)
    if filesystem.is_file(place):
        folder, name = filesystem.find_file(text)
        return Source(folder.url, text.rpartition("/")[0], file=name)
    if not place.is_bucket and not os.path.isdir(text):
        raise InputError(f"{text} does not exist; expected a file, a folder, a glob, or s3://...")
    return Source(place.url, text.rstrip("/"))


def chunks(source: Source, day: date | None = None) -> Iterator[Chunk]:
    """Divide what a source holds; the same files always give the same chunks.

    Parameters
    ----------
    source : by `find`
    day : in UTC; only files that were written on it

    Raises
    ------
    Unreachable
        If the place can't be read.
    """
    place = filesystem.find(source.url)
    loose: list[tuple[str, str]] = []
    for name, state in _files(place, source, day):
        try:
            rows = _count(place, name)
        except _errors_of_a_file(place):
            rows = None  # as an image file, it gets one row, which says what is wrong
        if rows is None:
            loose.append((name, state))
        if loose and (rows is not None or len(loose) == FILES):
            yield _of_files(loose)
            loose = []
        for start in range(0, rows or 0, ROWS):
            yield Chunk((name,), start, min(ROWS, (rows or 0) - start), (state,))
    if loose:
        yield _of_files(loose)


def load(source: Source, chunk: Chunk, form: Preprocessing) -> Loaded:
    """Read a chunk. What is wrong with an image is told in its row.

    Raises
    ------
    Unreachable
        If a bucket can't be read.
    """
    place = filesystem.find(source.url)
    if chunk.rows is None:
        paths = [source.path(name) for name in chunk.files]
        with ThreadPoolExecutor(CONNECTIONS if place.is_bucket else 1) as pool:
            found = list(pool.map(partial(_image, place, form), chunk.files))
        return _loaded(paths, found, form)
    name, end = chunk.files[0], chunk.start + chunk.rows
    paths = [f"{source.path(name)}#{i}" for i in range(chunk.start, end)]
    try:
        pieces = [_piece(piece, form) for piece in _take(place, name, chunk.start, end)]
    except _errors_of_a_file(place) as error:
        return _loaded(paths, [str(error)] * len(paths), form)
    if sum(len(found) for found, _ in pieces) != len(paths):
        return _loaded(paths, [CHANGED] * len(paths), form)
    arrays, errors = zip(*pieces, strict=True)
    return Loaded(paths, np.concatenate(arrays), list(chain(*errors)))


def image(path: str, form: Preprocessing) -> UInt8Array:
    """The image of one row, by the path that stands in it: a file, or a file of many and `#number`.

    Returns
    -------
    uint8 (height, width), in the model's form

    Raises
    ------
    InputError
        If there is no such image, or something is wrong with it.
    """
    file, _, number = path.rpartition("#")
    if _kind(file) and number.isdecimal():
        source = find(file)
        chunk = Chunk((str(source.file),), int(number), 1)
    else:
        source = find(path)
        chunk = Chunk((str(source.file),))
    if source.file is None:
        raise InputError(f"{path} is no image file; expected a path as digits predict writes it")
    loaded = load(source, chunk, form)
    if loaded.errors[0]:
        raise InputError(f"{path}: {loaded.errors[0]}")
    found: UInt8Array = loaded.images[0]
    return found


def readable(text: str) -> str:
    """A path as UTF-8 can hold it: bytes of a file's name that are none are escaped."""
    return text.encode(errors="backslashreplace").decode()


def _files(place: Place, source: Source, day: date | None) -> Iterator[tuple[str, str]]:
    """Names and states."""
    if source.file is not None:
        yield source.file, filesystem.state(place, source.file)
        return
    for name, written, state in filesystem.walk(place):
        if re.match(source.pattern, name) and (day is None or _day(written) == day):
            yield name, state


def _errors_of_a_file(place: Place) -> tuple[type[Exception], ...]:
    """What one file's row tells; a bucket that is out of reach ends the batch."""
    told = InputError if place.is_bucket else UserError
    return (told, FileNotFoundError)


def _of_files(found: list[tuple[str, str]]) -> Chunk:
    names, states = zip(*found, strict=True)
    return Chunk(names, states=states)


def _day(written: float) -> date:
    return datetime.fromtimestamp(written, UTC).date()


# One piece of a file of many images, and one row


def _piece(taken: UInt8Array | list[Any], form: Preprocessing) -> Converted:
    ready = np.zeros(len(taken), bool)
    if isinstance(taken, np.ndarray) and taken.ndim == 3:
        ready = model_form.in_form(taken, form)
        if ready.all():
            return taken, [None] * len(taken)
    return _converted([e if ready[i] else _row(form, e) for i, e in enumerate(taken)], form)


def _image(place: Place, form: Preprocessing, name: str) -> UInt8Array | str:
    """An image file in the model's form, or what is wrong with it."""
    try:
        if _count(place, name) is not None:
            return CHANGED
        if place.is_bucket:
            content = filesystem.read(place, name)
        else:
            with filesystem.opened(place, name) as file:
                content = file.read(decoding.MAX_BYTES + 1)  # and no more, whatever it is
    except FileNotFoundError:
        content = None
    except _errors_of_a_file(place) as error:
        return str(error)
    return "the file is gone" if content is None else _row(form, content)


def _row(form: Preprocessing, image: Any) -> UInt8Array | str:
    """An image in the model's form, or what is wrong with it.

    image : an image file; {bytes, path}, as Hugging Face has it; or pixels
    """
    try:
        if isinstance(image, dict):
            image = image.get("bytes")
        if isinstance(image, bytes):
            return model_form.read(image, form)
        if isinstance(image, list):
            image = _pixels(image, form)
        if not isinstance(image, np.ndarray):
            raise InputError("there is no image")
        return model_form.convert(image, form)
    except InputError as error:
        return str(error)
    except Exception as error:  # the edge of a row: one image must not end a batch
        logging.exception("an image could not be read")
        return f"a fault of the program: {error!r}"


def _pixels(values: list[Any], form: Preprocessing) -> UInt8Array:
    """Rows of pixels, or the pixels of an image of the model's size one after another."""
    try:
        found = np.array(values)
    except ValueError as error:
        raise InputError(f"the pixels are no array of 0 to 255: {error}") from None
    if found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 255:
        shown = f"{found.min()} to {found.max()}" if found.dtype.kind in "iu" else found.dtype.name
        raise InputError(f"the pixels are {shown}; expected integers of 0 to 255")
    found = found.astype(np.uint8)
    return found.reshape(form.size) if found.shape == (math.prod(form.size),) else found


def _loaded(paths: list[str], found: Sequence[UInt8Array | str], form: Preprocessing) -> Loaded:
    return Loaded(paths, *_converted(found, form))


def _converted(found: Sequence[UInt8Array | str], form: Preprocessing) -> Converted:
    arrays = np.full((len(found), *form.size), form.background, np.uint8)
    errors: list[str | None] = []
    for i, each in enumerate(found):
        if isinstance(each, str):
            errors.append(" ".join(each.split()))
        else:
            arrays[i] = each
            errors.append(None)
    return arrays, errors


# Files of many images


@dataclass(frozen=True)
class Kind:
    """A format: names of its files, how many rows a file has, and some of them, piece by piece.

    `count` and `take` raise `InputError` if the file is damaged or holds something else.
    """

    names: str
    count: Callable[[IO[bytes]], int]
    take: Callable[[IO[bytes], int, int], Pieces]


def _kind(name: str) -> Kind | None:
    return next((kind for kind in KINDS if re.search(kind.names, name)), None)


def _count(place: Place, name: str) -> int | None:
    """Rows of a file of many images; None for an image file."""
    kind = _kind(name)
    if kind is None:
        return None
    with filesystem.opened(place, name) as file:
        return kind.count(file)


def _take(place: Place, name: str, start: int, end: int) -> Pieces:
    kind = _kind(name)
    assert kind is not None  # only such a file has rows
    with filesystem.opened(place, name) as file:
        yield from kind.take(file, start, end)


def _npy_shape(file: IO[bytes]) -> tuple[int, ...]:
    try:
        version = np.lib.format.read_magic(file)
        read = NPY_HEADERS[version]
        shape, fortran_order, dtype = read(file)
    except (ValueError, TypeError, KeyError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"this is no NumPy array: {error}") from None
    if dtype != np.uint8 or fortran_order or len(shape) not in (3, 4):
        raise InputError(
            f"the array is {dtype} {shape}{' in Fortran order' * fortran_order}; expected uint8 "
            f"(n, height, width), or (n, height, width, channels), in C order"
        )
    _check_length(file, file.tell() + math.prod(shape))
    return tuple(shape)


def _npy_take(file: IO[bytes], start: int, end: int) -> Pieces:
    return _elements(file, _npy_shape(file), start, end)


def _idx_shape(file: IO[bytes]) -> tuple[int, ...]:
    return idx.shape(file.read(idx.header_size(3)), 3, "the file")


def _idx_count(file: IO[bytes]) -> int:
    with _uncompressed(file) as plain:
        shape = _idx_shape(plain)
        if plain is file:
            _check_length(file, file.tell() + math.prod(shape))
        return shape[0]


def _idx_take(file: IO[bytes], start: int, end: int) -> Pieces:
    with _uncompressed(file) as plain:
        yield from _elements(plain, _idx_shape(plain), start, end)


@contextmanager
def _uncompressed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not compressed:
        yield file
        return
    try:
        with gzip.open(file) as plain:
            yield plain  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"truncated or damaged gzip file: {error}") from None


def _check_length(file: IO[bytes], expected: int) -> None:
    here = file.tell()
    found = file.seek(0, os.SEEK_END)
    file.seek(here)
    if found != expected:
        what = "truncated" if found < expected else "too long"
        raise InputError(f"{what}: {found:,} bytes; expected {expected:,}, as its header states")


def _elements(
    file: IO[bytes], shape: tuple[int, ...], start: int, end: int
) -> Iterator[UInt8Array]:
    """Rows of an array that begins where the file stands."""
    each = math.prod(shape[1:])
    file.seek(file.tell() + start * each)
    while start < end:
        rows = min(end - start, _rows_a_piece(each))
        content = file.read(rows * each)
        if len(content) != rows * each:
            raise InputError("truncated: the file ends before the rows that its header states")
        yield np.frombuffer(content, np.uint8).reshape(rows, *shape[1:])
        start += rows


def _rows_a_piece(row_bytes: float) -> int:
    return max(1, int(PIECE_BYTES / max(row_bytes, 1)))


def _parquet(file: IO[bytes]) -> pq.ParquetFile:
    try:
        found = pq.ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"this is no Parquet file: {error}") from None
    if "image" not in found.schema_arrow.names:
        raise InputError(
            f"the columns are {', '.join(found.schema_arrow.names)}; expected one named image"
        )
    return found


def _parquet_count(file: IO[bytes]) -> int:
    count: int = _parquet(file).metadata.num_rows
    return count


def _parquet_take(file: IO[bytes], start: int, end: int) -> Pieces:
    table = _parquet(file)
    first = 0
    try:
        for group in range(table.num_row_groups):
            last = first + table.metadata.row_group(group).num_rows
            if first < end and start < last:
                position = first
                size = min(PARQUET_ROWS, _rows_a_piece(_parquet_row_bytes(table, group)))
                for batch in table.iter_batches(size, [group], ["image"]):
                    rows = batch.slice(max(0, start - position), max(0, end - max(position, start)))
                    yield rows.column(0).to_pylist()
                    position += len(batch)
            first = last
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the Parquet file is damaged: {error}") from None


def _parquet_row_bytes(table: pq.ParquetFile, group: int) -> float:
    """Mean size of an image, decompressed."""
    found = table.metadata.row_group(group)
    columns = [found.column(i) for i in range(found.num_columns)]
    image = [each for each in columns if each.path_in_schema.split(".")[0] == "image"]
    size = sum(each.total_uncompressed_size for each in image)
    return float(size / max(found.num_rows, 1))


NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
KINDS = (
    Kind(r"\.npy$", lambda file: _npy_shape(file)[0], _npy_take),
    Kind(r"(-ubyte|\.idx)(\.gz)?$", _idx_count, _idx_take),
    Kind(r"\.parquet$", _parquet_count, _parquet_take),
)
