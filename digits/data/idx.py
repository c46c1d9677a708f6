"""The IDX format of the MNIST files (LeCun et al., yann.lecun.com/exdb/mnist)."""

import math
from typing import IO, Any

import numpy as np

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError

UNSIGNED_BYTE = 0x08
TYPES = {UNSIGNED_BYTE: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def shape(content: bytes, dimensions: int, name: str) -> tuple[int, ...]:
    """Read an array's shape from the header of an IDX file of unsigned bytes.

    Layout: two zero bytes, the type (0x08), the number of dimensions, each dimension as a
    big-endian uint32, then the elements in C order.

    Parameters
    ----------
    content : the uncompressed file, or its first `header_size(dimensions)` bytes
    dimensions : the expected number: 3 for images, 1 for labels
    name : the file's, for the error

    Raises
    ------
    InputError
        If the magic number is wrong, or the header is truncated.
    """
    expected = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    if len(content) < 4:
        raise InputError(f"{name}: truncated: {len(content)} bytes, less than a magic number")
    if content[:4] != expected:
        raise InputError(
            f"{name}: the magic number is 0x{content[:4].hex()}; expected 0x{expected.hex()} "
            f"(unsigned bytes in {dimensions} dimension{'s' * (dimensions > 1)})"
        )
    if len(content) < header_size(dimensions):
        raise InputError(
            f"{name}: truncated: {len(content)} bytes, less than its header of "
            f"{header_size(dimensions)}"
        )
    return tuple(np.frombuffer(content, ">u4", dimensions, offset=4).tolist())


def read_header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read type and shape of any IDX file, up to where the elements begin.

    Raises `InputError` if the magic number is no IDX file's, or the header is truncated.
    """
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise InputError(f"the magic number is 0x{magic.hex()}, not that of an IDX file")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise InputError("truncated: the file ends in its header")
    return np.dtype(TYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())


def header_size(dimensions: int) -> int:
    """Number of bytes before the elements."""
    return 4 + 4 * dimensions


def parse(content: bytes, dimensions: int, name: str) -> UInt8Array:
    """Read the array of a whole, uncompressed IDX file: uint8, read-only, of the header's shape.

    Takes and raises the same as `shape`; also raises `InputError` if the file has another length.
    """
    stated, start = shape(content, dimensions, name), header_size(dimensions)
    length = start + math.prod(stated)
    if len(content) != length:
        fault = "truncated" if len(content) < length else "too long"
        raise InputError(
            f"{name}: {fault}: {len(content)} bytes; expected {length} for the shape {stated} "
            f"in its header"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(stated)
