"""Files of many images, as bytes: NumPy's, IDX, CSV, Parquet, ZIP.

Example:

    path.write_bytes(csv_file(IMAGES, LABELS))    # a CSV file, as Kaggle has it
"""

import csv
import io
import struct
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

IMAGES = np.random.default_rng(0).integers(0, 256, (25, 8, 8), dtype=np.uint8)
IMAGES[0, 0, :2] = 0, 255
LABELS = (np.arange(25) % 5).astype(np.uint8)

TYPES = {"|u1": 8, "|i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, TYPES[array.dtype.str], array.ndim))
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def parquet(options: dict[str, Any] | None = None, **columns: Any) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content, **(options or {"row_group_size": 7}))
    return content.getvalue()


def csv_file(
    images: np.ndarray = IMAGES,
    labels: Sequence[Any] | np.ndarray | None = LABELS,
    names: str | None = "pixel{}",
    delimiter: str = ",",
) -> bytes:
    """A CSV file; `names` are those of the pixels' columns, None: without a header."""
    content = io.StringIO()
    writer = csv.writer(content, delimiter=delimiter, lineterminator="\n")
    if names:
        header = [names.format(i) for i in range(images[0].size)]
        writer.writerow(header if labels is None else ["label", *header])
    for i, image in enumerate(images.reshape(len(images), -1).tolist()):
        writer.writerow(image if labels is None else [labels[i], *image])
    return content.getvalue().encode()


def archive(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as opened:
        for name, file in files.items():
            opened.writestr(name, file)
    return content.getvalue()
