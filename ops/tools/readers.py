"""Read files that hold many images: how many images a file has, and some of them.

The formats are NumPy's (.npy), MNIST's IDX (-ubyte or .idx, compressed or not), and Parquet with a
column `image` of image files or pixels, as data sets of Hugging Face have it. Large images are read
a few at a time, so memory does not grow with the number of images.
"""

import gzip
import math
import os
import re
import tokenize
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.data import idx

PARQUET_ROWS = 500  # decoded at a time
PARQUET_READ_BYTES = 1 << 16  # at a time; by default, Parquet reads a whole row group
PIECE_BYTES = 32 << 20  # of images, in memory at a time

Pieces = Iterator[UInt8Array | list[Any]]  # some images each, in the file's order


@dataclass(frozen=True)
class Reader:
    """A format. Its functions raise `InputError` if the file is damaged or holds something else.

    file_names : a regular expression for the names of its files
    count : the number of images in a file
    read : the images from one number up to, but without, another
    """

    file_names: str
    count: Callable[[IO[bytes]], int]
    read: Callable[[IO[bytes], int, int], Pieces]


def find_reader(name: str) -> Reader | None:
    """The reader for a file of this name; None if the file holds a single image."""
    return next((reader for reader in READERS if re.search(reader.file_names, name)), None)


def _npy_shape(file: IO[bytes]) -> tuple[int, ...]:
    """Read a .npy file's header, up to where the elements begin."""
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran_order, dtype = NPY_HEADERS[version](file)
    except (ValueError, TypeError, KeyError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"the file is not a NumPy array: {error}") from None
    if dtype != np.uint8 or fortran_order or len(shape) not in (3, 4):
        raise InputError(
            f"the array is {dtype} {shape}{' in Fortran order' * fortran_order}; expected uint8 "
            f"(n, height, width), or (n, height, width, channels), in C order"
        )
    _check_length(file, file.tell() + math.prod(shape))
    return tuple(shape)


def _count_npy(file: IO[bytes]) -> int:
    return _npy_shape(file)[0]


def _read_npy(file: IO[bytes], start: int, end: int) -> Pieces:
    return _read_elements(file, _npy_shape(file), start, end)


def _idx_shape(file: IO[bytes]) -> tuple[int, ...]:
    return idx.shape(file.read(idx.header_size(3)), 3, "the file")


def _count_idx(file: IO[bytes]) -> int:
    with _uncompressed(file) as plain:
        shape = _idx_shape(plain)
        if plain is file:
            _check_length(file, file.tell() + math.prod(shape))
        return shape[0]


def _read_idx(file: IO[bytes], start: int, end: int) -> Pieces:
    with _uncompressed(file) as plain:
        yield from _read_elements(plain, _idx_shape(plain), start, end)


@contextmanager
def _uncompressed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    is_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not is_gzip:
        yield file
        return
    try:
        with gzip.open(file) as plain:
            yield plain  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"truncated or damaged gzip file: {error}") from None


def _check_length(file: IO[bytes], expected: int) -> None:
    position = file.tell()
    length = file.seek(0, os.SEEK_END)
    file.seek(position)
    if length != expected:
        problem = "truncated" if length < expected else "too long"
        raise InputError(f"{problem}: {length:,} bytes; its header states {expected:,}")


def _read_elements(
    file: IO[bytes], shape: tuple[int, ...], start: int, end: int
) -> Iterator[UInt8Array]:
    """Read images of an array whose elements begin at the file's position."""
    image_bytes = math.prod(shape[1:])
    file.seek(file.tell() + start * image_bytes)
    while start < end:
        count = min(end - start, _images_per_piece(image_bytes))
        content = file.read(count * image_bytes)
        if len(content) != count * image_bytes:
            raise InputError("truncated: the file has fewer images than its header states")
        yield np.frombuffer(content, np.uint8).reshape(count, *shape[1:])
        start += count


def _images_per_piece(image_bytes: float) -> int:
    return max(1, int(PIECE_BYTES / max(image_bytes, 1)))


def _open_parquet(file: IO[bytes]) -> pq.ParquetFile:
    try:
        table = pq.ParquetFile(file, buffer_size=PARQUET_READ_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the file is not a Parquet file: {error}") from None
    if "image" not in table.schema_arrow.names:
        raise InputError(
            f"the columns are {', '.join(table.schema_arrow.names)}; expected one named image"
        )
    return table


def _count_parquet(file: IO[bytes]) -> int:
    count: int = _open_parquet(file).metadata.num_rows
    return count


def _read_parquet(file: IO[bytes], start: int, end: int) -> Pieces:
    table = _open_parquet(file)
    first = 0
    try:
        for group in range(table.num_row_groups):
            last = first + table.metadata.row_group(group).num_rows
            if first < end and start < last:
                position = first
                size = min(PARQUET_ROWS, _images_per_piece(_mean_image_bytes(table, group)))
                for batch in table.iter_batches(size, [group], ["image"]):
                    rows = batch.slice(max(0, start - position), max(0, end - max(position, start)))
                    yield rows.column(0).to_pylist()
                    position += len(batch)
            first = last
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the Parquet file is damaged: {error}") from None


def _mean_image_bytes(table: pq.ParquetFile, group: int) -> float:
    """Uncompressed size of the row group's column `image`, by row."""
    metadata = table.metadata.row_group(group)
    columns = [metadata.column(i) for i in range(metadata.num_columns)]
    size = sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema.split(".")[0] == "image"
    )
    return float(size / max(metadata.num_rows, 1))


NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
READERS = (
    Reader(r"\.npy$", _count_npy, _read_npy),
    Reader(r"(-ubyte|\.idx)(\.gz)?$", _count_idx, _read_idx),
    Reader(r"\.parquet$", _count_parquet, _read_parquet),
)
