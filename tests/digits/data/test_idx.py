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
    assert idx.parse(TWO_LABELS, 1, "labels").tolist() == [7, 3]


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3)))
def test_reads_back_every_array(array: np.ndarray) -> None:
    np.testing.assert_array_equal(idx.parse(encode(array), array.ndim, "file"), array)


@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3)), st.data())
def test_every_truncation_is_refused(array: np.ndarray, draw: st.DataObject) -> None:
    whole = encode(array)
    cut = draw.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(InputError, match="file: "):
        idx.parse(whole[:cut], 3, "file")


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        array = idx.parse(content, 1, "file")
    except InputError:
        return
    assert encode(array) == content


def test_a_wrong_magic_number_is_named() -> None:
    with pytest.raises(
        InputError, match=r"labels: the magic number is 0x00000801; expected 0x000008"
    ):
        idx.parse(TWO_LABELS, 3, "labels")


def test_truncation_names_both_lengths() -> None:
    with pytest.raises(InputError, match=r"labels: truncated: 9 bytes; expected 10 .*\(2,\)"):
        idx.parse(TWO_LABELS[:-1], 1, "labels")


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="too long: 11 bytes; expected 10"):
        idx.parse(TWO_LABELS + b"x", 1, "labels")
