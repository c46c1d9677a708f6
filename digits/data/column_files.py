"""Read images from tables: CSV with a column for each pixel, and Parquet with that or a column of
images.

CSV may be compressed by gzip, and have a header or not. Parquet's column of images holds image
files, {bytes, path} as data sets of Hugging Face have it, or lists of pixels.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from digits.core import files
from digits.core.arrays import Float32Array
from digits.core.errors import InputError, first
from digits.data import pixels
from digits.data.array_files import damage, images_per_piece, uncompressed
from digits.data.pixels import Array, Contents, Images, Kind, Label, Labels, Layout

IMAGE_COLUMNS = ("image", "img", "image_bytes")
LABEL_COLUMNS = ("label", "labels", "class", "target", "y", "digit")
INDEX_COLUMNS = ("", "id", "index", "imageid", "image_id", "__index_level_0__")
FILE_NAME = "file_name"  # the column of a metadata.csv of Hugging Face

MAX_LINE_BYTES = 4 << 20  # of a CSV: an image's pixels
CSV_ROWS = 2000  # parsed at a time
PARQUET_ROWS = 500  # decoded at a time
PARQUET_READ_BYTES = 1 << 16  # at a time; by default, Parquet reads a whole row group
SHOWN_COLUMNS = 8


class NoPixels(InputError):
    """A table has no columns of images."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are pixels, by number and in order, and which is the label."""

    pixels: tuple[int, ...]
    label: int | None
    side: int
    words: str

    @property
    def layout(self) -> Layout:
        return Layout((-1, self.side, self.side))


@dataclass(frozen=True)
class Csv:
    """A CSV file: its columns' names, None if they have none, and how it separates values."""

    file: IO[bytes]
    has_header: bool
    names: tuple[str, ...] | None
    width: int
    delimiter: str

    def lines(self) -> Iterator[bytes]:
        """The rows, without the header and empty lines."""
        return islice(_lines(self.file), int(self.has_header), None)


def open_csv(file: IO[bytes], stack: ExitStack) -> Contents:
    with damage():
        table = _open_csv(uncompressed(file, stack))
        if FILE_NAME in map(str.lower, table.names or ()):
            return Contents()  # says what images of its folder show
        columns = _find_columns(table.names or table.width)
        count = sum(1 for _ in table.lines())
    read = partial(_read_csv, table, columns)
    labels = None
    if columns.label is not None:
        read_labels = partial(_read_csv_labels, table, columns.label)
        labels = Labels("label", count, read_labels)
    kind: Kind = "integers" if _is_whole(table, columns) else "floats"
    return Contents((Images("", count, kind, read, columns.words, labels=labels),))


def read_metadata(file: IO[bytes]) -> list[tuple[str, Label | None]]:
    """The file names and labels of a metadata.csv; raises `InputError` if it has none."""
    table = _open_csv(file)
    names = [name.lower() for name in table.names or ()]
    labels = [i for i, name in enumerate(names) if name in LABEL_COLUMNS]
    if FILE_NAME not in names or len(labels) != 1:
        raise InputError(f"the columns are {_list(names)}; expected {FILE_NAME} and label")
    paths = _texts(table, names.index(FILE_NAME))
    return list(zip(paths, _read_csv_labels(table, labels[0]), strict=True))


def open_parquet(file: IO[bytes], stack: ExitStack) -> Contents:
    try:
        table = pq.ParquetFile(file, buffer_size=PARQUET_READ_BYTES, pre_buffer=False)
        schema: pa.Schema = table.schema_arrow
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file is not a Parquet file: {error}") from None
    count: int = table.metadata.num_rows
    name = _image_column(schema)
    if name is None:
        columns = _find_columns(schema.names)
        names = [schema.names[i] for i in columns.pixels]
        dtypes = {_dtype(schema.field(i).type, schema.names[i]) for i in columns.pixels}
        kind = pixels.kind_of(np.result_type(*dtypes), "the table")
        label, words = columns.label, columns.words
        read: Callable[[int, int], Iterator[Any]] = partial(_read_pixels, table, names, columns)
        values = None
    else:
        kind, words = _kind_of_cells(schema.field(name)), f"the column {name}"
        label = _label_column(schema.names)
        read = partial(_read_cells, table, name)
        values = None if kind == "files" else partial(_values_of_cells, table, name)
    labels = None
    if label is not None:
        read_labels = partial(_read_parquet_labels, table, schema.names[label])
        labels = Labels("label", count, read_labels)
    return Contents((Images("", count, kind, read, words, labels=labels, values=values),))


def _find_columns(names: Sequence[str] | int) -> Columns:
    """Tell the pixels from the label, by the columns' names or, without a header, their number."""
    if isinstance(names, int):
        if side := pixels.square_side(names):
            text = f"columns without names; {_pixels(side)}"
            return Columns(tuple(range(names)), None, side, text)
        if side := pixels.square_side(names - 1):
            text = f"columns without names; the first one is the label; {_pixels(side)}"
            return Columns(tuple(range(1, names)), 0, side, text)
        raise InputError(
            f"the rows have {names:,} values; expected the pixels of a square, for example 784, "
            f"or a label before them"
        )
    lower = [name.lower().strip() for name in names]
    label = _label_column(names)
    others = [i for i in range(len(names)) if i != label and not _is_index(lower[i])]
    side = pixels.square_side(len(others))
    if side is None:
        found = f"{len(others):,} without label and index" if others else "no pixels"
        fault = InputError if len(others) >= pixels.MIN_PIXELS else NoPixels
        raise fault(
            f"the columns are {_list(names)} ({found}); expected a column of images "
            f"({', '.join(IMAGE_COLUMNS)}), or a column for each pixel of a square, for example 784"
        )
    words = [f"the column {names[label]} is the label" if label is not None else "no labels"]
    left_out = [names[i] or "without a name" for i in range(len(names)) if _is_index(lower[i])]
    words += [f"the column {name} is left out" for name in left_out]
    numbers = [tuple(map(int, re.findall(r"[0-9]+", lower[i]))) for i in others]
    if len({len(n) for n in numbers}) == 1 and numbers[0] and numbers != sorted(numbers):
        others = [i for _, i in sorted(zip(numbers, others, strict=True))]
        words.append("the columns sorted by their numbers")
    return Columns(tuple(others), label, side, "; ".join([*words, _pixels(side)]))


def _pixels(side: int) -> str:
    return f"{side * side:,} columns as {side} x {side}"


def _label_column(names: Sequence[str]) -> int | None:
    """Number of the column of labels; raises `InputError` if several may be it."""
    found = [i for i, name in enumerate(names) if name.lower().strip() in LABEL_COLUMNS]
    if len(found) > 1:
        raise InputError(f"the columns {_list([names[i] for i in found])} may all be the label")
    return found[0] if found else None


def _is_index(name: str) -> bool:
    return name in INDEX_COLUMNS or name.startswith("unnamed:")


def _list(names: Sequence[str]) -> str:
    return first(names, SHOWN_COLUMNS) or "not named"


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES:
            raise InputError(f"a line has {MAX_LINE_BYTES:,} bytes or more, so this is not a table")
        if line.strip():
            yield line


def _open_csv(file: IO[bytes]) -> Csv:
    line = next(_lines(file), b"")
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise InputError("the file is not text in UTF-8; expected CSV") from None
    delimiter = files.csv_delimiter(text)
    try:
        cells = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise InputError(f"the first line is not CSV: {error}. Lines must end with \\n") from None
    if len(cells) < 2:
        raise InputError(f"the first line is {text[:60]!r}; expected CSV with a column per pixel")
    numbers = [str(i) for i in range(len(cells) + 1)]
    is_numbered = cells in (numbers[:-1], numbers[1:])  # from 0, as pandas without names, or from 1
    has_names = not all(map(_is_number, cells))
    names = tuple(name.strip() for name in cells) if has_names else None
    return Csv(file, has_names or is_numbered, names, len(cells), delimiter)


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    """As `float`, which takes 1_0 for 10; raises `ValueError`."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _parse_csv(
    table: Csv, columns: Sequence[int], kind: Any, start: int, end: int | None
) -> Iterator[pa.Table]:
    """Some columns of the rows from one number up to, but without, another, in parts."""
    names = [str(i) for i in columns]
    options = (
        pa.csv.ReadOptions(column_names=[str(i) for i in range(table.width)]),
        pa.csv.ParseOptions(delimiter=table.delimiter),
        pa.csv.ConvertOptions(column_types=dict.fromkeys(names, kind), include_columns=names),
    )
    with damage():
        lines = islice(table.lines(), start, end)
        while block := list(islice(lines, CSV_ROWS)):
            if block[-1][-1:] != b"\n":
                block[-1] += b"\n"
            try:
                yield pa.csv.read_csv(io.BytesIO(b"".join(block)), *options)
            except pa.ArrowException as error:
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"rows {start + 1:,} to {start + len(block):,}: {reason}"
                ) from None
            start += len(block)


def _is_whole(table: Csv, columns: Columns) -> bool:
    """Whether the first rows hold whole numbers."""
    values = next(_read_csv(table, columns, 0, CSV_ROWS), np.zeros(0, np.float32))
    return bool(np.all(values == np.rint(values)))


def _read_csv(table: Csv, columns: Columns, start: int, end: int) -> Iterator[Float32Array]:
    for rows in _parse_csv(table, columns.pixels, pa.float32(), start, end):
        yield columns.layout.arrange(_matrix(rows))


def _read_csv_labels(table: Csv, column: int) -> list[Label | None]:
    return _whole_numbers([text.strip() for text in _texts(table, column)])


def _texts(table: Csv, column: int) -> list[str]:
    parts = _parse_csv(table, [column], pa.string(), 0, None)
    return [text for rows in parts for text in rows.column(0).to_pylist()]


def _whole_numbers(labels: list[str]) -> list[Label | None]:
    """Labels as numbers if all of them are, integers where they are whole; else as they are."""
    try:
        numbers = [_number(label) for label in labels]
    except ValueError:
        return [*labels]
    return [int(n) if n.is_integer() else n for n in numbers]  # type: ignore[misc]


def _matrix(rows: Any) -> Array:
    """The columns of a table or a batch as an array (rows, columns); a missing value is NaN."""
    return np.column_stack([column.to_numpy(zero_copy_only=False) for column in rows.columns])


def _image_column(schema: pa.Schema) -> str | None:
    for name in IMAGE_COLUMNS:
        if name in schema.names:
            return name
    holds_files = [field.name for field in schema if _is_file(field.type)]
    return holds_files[0] if len(holds_files) == 1 else None


def _is_file(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_file(field.type) for field in kind)
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )


def _kind_of_cells(field: Any) -> Kind:
    if _is_file(field.type):
        return "files"
    kind = getattr(field.type, "storage_type", field.type)
    if not pa.types.is_nested(kind) or pa.types.is_struct(kind):
        raise InputError(
            f"the column {field.name} is {field.type}; expected image files, "
            f"{{bytes, path}}, or lists of pixels"
        )
    while pa.types.is_nested(kind) and not pa.types.is_struct(kind):
        kind = kind.value_type
    return pixels.kind_of(_dtype(kind, field.name), field.name)


def _dtype(kind: Any, name: str) -> np.dtype[Any]:
    """The NumPy type of a column's numbers; raises `InputError` if it holds something else."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    raise InputError(f"the column {name} is {kind}; expected numbers")


def _batches(
    table: pq.ParquetFile, columns: list[str], start: int, end: int
) -> Iterator[pa.RecordBatch]:
    """The rows from one number up to, but without, another, in parts of bounded size."""
    begin = 0
    try:
        for group in range(table.num_row_groups):
            end_of_group = begin + table.metadata.row_group(group).num_rows
            if begin < end and start < end_of_group:
                position = begin
                size = min(PARQUET_ROWS, images_per_piece(_mean_bytes(table, group, columns)))
                for batch in table.iter_batches(size, [group], columns):
                    rows = batch.slice(max(0, start - position), max(0, end - max(position, start)))
                    if len(rows):
                        yield rows
                    position += len(batch)
            begin = end_of_group
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the Parquet file is damaged: {error}") from None


def _mean_bytes(table: pq.ParquetFile, group: int, columns: list[str]) -> float:
    """Uncompressed size of some columns of a row group, by row."""
    metadata = table.metadata.row_group(group)
    chunks = [metadata.column(i) for i in range(metadata.num_columns)]
    wanted = set(columns)
    size = sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema.split(".")[0] in wanted
    )
    return float(size / max(metadata.num_rows, 1))


def _read_pixels(
    table: pq.ParquetFile, names: list[str], columns: Columns, start: int, end: int
) -> Iterator[Array]:
    for batch in _batches(table, names, start, end):
        yield columns.layout.arrange(_matrix(batch.select(names)))


def _read_cells(table: pq.ParquetFile, name: str, start: int, end: int) -> Iterator[list[Any]]:
    for batch in _batches(table, [name], start, end):
        yield batch.column(0).to_pylist()


def _values_of_cells(table: pq.ParquetFile, name: str) -> Iterator[Array]:
    for batch in _batches(table, [name], 0, table.metadata.num_rows):
        column = batch.column(0)
        column = getattr(column, "storage", column)
        while pa.types.is_nested(column.type):
            column = column.flatten()
        yield column.to_numpy(zero_copy_only=False)


def _read_parquet_labels(table: pq.ParquetFile, name: str) -> list[Label | None]:
    batches = _batches(table, [name], 0, table.metadata.num_rows)
    labels: list[Any] = [label for batch in batches for label in batch.column(0).to_pylist()]
    names = _class_names(table.schema_arrow, name)
    if names and all(isinstance(i, int) and 0 <= i < len(names) for i in labels):
        return [names[i] for i in labels]
    return labels


def _class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """The names of a ClassLabel's classes, as `datasets` writes them into the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return names if isinstance(names, list) and all(isinstance(n, str) for n in names) else None
