"""The IDX format of the MNIST files (LeCun et al., yann.lecun.com/exdb/mnist).

Layout: two zero bytes, the type, the number of dimensions, each dimension as a big-endian uint32,
then the elements in C order.
"""

import io
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from digits.core.errors import InputError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read the type and the shape, up to where the elements begin.

    Raises `InputError` if the magic number is no IDX file's, or the header is truncated.
    """
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise InputError(f"the magic number is 0x{magic.hex()}, not that of an IDX file")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise InputError("truncated: the file ends in its header")
    return np.dtype(TYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())


def parse(content: bytes) -> npt.NDArray[Any]:
    """Read the array of a whole file whose digest was checked."""
    file = io.BytesIO(content)
    dtype, shape = read_header(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape)
