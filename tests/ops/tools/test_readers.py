"""Each format of many images: how many a file has, some of them, and what is refused."""

import gzip
import io
from typing import Any

import numpy as np
import pytest

from digits.core.errors import InputError
from ops.tools import readers
from ops.tools.readers import Reader
from tests.digits.data.test_idx import encode as to_idx
from tests.ops.tools.test_inputs import IMAGES, npy, parquet, png

FILES = [png(image) for image in IMAGES]
CELLS = [{"bytes": file, "path": "x.png"} for file in FILES]
ARRAYS: dict[str, tuple[bytes, Any]] = {  # name: content, and the images that a reader returns
    "some.npy": (npy(IMAGES), IMAGES),
    "colour.npy": (npy(IMAGES[..., None]), IMAGES[..., None]),
    "t10k-images-idx3-ubyte": (to_idx(IMAGES), IMAGES),
    "t10k-images-idx3-ubyte.gz": (gzip.compress(to_idx(IMAGES), mtime=0), IMAGES),
    "some.idx": (to_idx(IMAGES), IMAGES),
    "files.parquet": (parquet(image=FILES, label=range(25)), FILES),
    "hugging-face.parquet": (parquet(image=CELLS), CELLS),
    "pixels.parquet": (parquet(image=IMAGES.tolist()), IMAGES.tolist()),
}


def reader_for(name: str) -> Reader:
    reader = readers.find_reader(name)
    assert reader is not None
    return reader


@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
@pytest.mark.parametrize("name", ARRAYS)
def test_any_range_is_read_in_order_in_pieces_of_any_size(
    name: str, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PIECE_BYTES", piece_bytes)
    content, images = ARRAYS[name]
    reader = reader_for(name)
    assert reader.count(io.BytesIO(content)) == 25
    for start, end in ((0, 25), (3, 17), (6, 8), (24, 25)):
        pieces = list(reader.read(io.BytesIO(content), start, end))
        assert len(pieces) > 1 or piece_bytes > 1 or end - start == 1
        read = [image for piece in pieces for image in piece]
        np.testing.assert_array_equal(read, images[start:end])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "npy", "a.npy.png", "a.csv"])
def test_other_files_have_no_reader(name: str) -> None:
    assert readers.find_reader(name) is None


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.npy", npy(IMAGES)[:-1], "truncated: 1,727 bytes; its header states 1,728"),
        ("long.npy", npy(IMAGES) + b"x", "too long: 1,729 bytes; its header states 1,728"),
        ("text.npy", b"hello", "not a NumPy array"),
        ("open.npy", npy(IMAGES).replace(b"}", b" "), "not a NumPy array"),
        ("floats.npy", npy(IMAGES / 255), r"float64 \(25, 8, 8\); expected uint8 \(n, height"),
        ("one.npy", npy(IMAGES[0]), r"uint8 \(8, 8\); expected"),
        ("labels-idx1-ubyte", to_idx(np.zeros(9, np.uint8)), "magic number is 0x00000801"),
        ("cut.idx", to_idx(IMAGES)[:-1], "truncated"),
        ("cut.idx.gz", gzip.compress(to_idx(IMAGES), mtime=0)[:20], "gzip"),
        ("text.parquet", b"hello", "not a Parquet file"),
        ("columns.parquet", parquet(picture=[b""]), "columns are picture; expected one named im"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        reader_for(name).count(io.BytesIO(content))
