import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from digits.core.errors import InputError
from digits.data import idx

TWO_LABELS = bytes((0, 0, 8, 1, 0, 0, 0, 2, 7, 3))


def encode(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim))
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def test_reads_labels() -> None:
    assert idx.parse(TWO_LABELS).tolist() == [7, 3]


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3)))
def test_reads_back_every_array(array: np.ndarray) -> None:
    read = idx.parse(encode(array))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@given(st.binary(max_size=64))
def test_any_header_is_read_or_refused(content: bytes) -> None:
    file = io.BytesIO(content)
    try:
        _, shape = idx.read_header(file)
    except InputError:
        return
    assert file.tell() == 4 + 4 * len(shape)


def test_a_file_without_dimensions_is_refused() -> None:
    with pytest.raises(InputError, match="the magic number is 0x00000800, not that of an IDX file"):
        idx.read_header(io.BytesIO(bytes((0, 0, 8, 0, 7))))


@pytest.mark.parametrize("length", range(8))
def test_a_truncated_header_is_refused(length: int) -> None:
    with pytest.raises(InputError, match=r"magic number|truncated"):
        idx.read_header(io.BytesIO(TWO_LABELS[:length]))
