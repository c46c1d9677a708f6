"""Label the images that a batch marked for review; each label is in a file as soon as it is given.

`digits predict` writes scans/out.csv; the labels go to scans/out.labels.csv (of out.parquet: to
out.parquet.labels.csv), which `digits correct` takes: the columns path and label, in the order of
labelling. A row without a label is an image that was skipped.
"""

import json
import os
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from digits.core import files
from digits.core.errors import InputError, UserError
from digits.data import corrections
from digits.imaging.preprocessing import Preprocessing
from digits.storage import model_store
from ops.tools import inputs
from ops.tools.drawing import pictures

MANIFEST = ".manifest.json"  # `digits predict` writes it next to its output
LABELS_FILE = ".labels.csv"
COLUMNS = {"path": pa.string(), "predicted": pa.string(), "confidence": pa.float64()}
REVIEW = "review"
LABELS = ("path", "label")
SKIPPED = ""
DEPTH = 4  # folders below the project's in which outputs are looked for
PASSED_OVER = {"data", "models", "metrics", "node_modules"}
MOST_OUTPUTS = 50
MOST_ROWS = 100_000  # for review
BATCH_ROWS = 10_000  # of a Parquet file, in memory at a time

_writing = threading.Lock()


@dataclass(frozen=True)
class Row:
    """An image that was marked for review, and the model's answer."""

    path: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Output:
    """An output of `digits predict`: its rows for review, the least confident first."""

    path: Path
    rows: tuple[Row, ...]

    @property
    def labels_file(self) -> Path:
        return self.path.with_name(f"{self.path.name.removesuffix('.csv')}{LABELS_FILE}")


@dataclass(frozen=True)
class Progress:
    """How far the labelling of an output is.

    position : of the next image in `Output.rows`; None if none is left
    last : the path and the label that undo takes back; None if there is none
    """

    total: int
    labelled: int
    skipped: int
    position: int | None
    last: tuple[str, str] | None


def find_outputs() -> list[Output]:
    """The outputs in the project's folder that have rows for review."""
    found = []
    for path in _files_named(MANIFEST):
        try:
            output = read_output(path.removesuffix(MANIFEST))
        except InputError:
            continue  # it is gone, or was changed
        if output.rows:
            found.append(output)
        if len(found) == MOST_OUTPUTS:
            break
    return found


def find_labels() -> list[str]:
    """The files of labels in the project's folder."""
    return list(_files_named(LABELS_FILE))


def _files_named(ending: str) -> Iterator[str]:
    """The paths of the project's files with names of this ending, without links to folders."""
    for folder, folders, names in os.walk("."):
        relative = os.path.relpath(folder)
        depth = 0 if relative == "." else relative.count("/") + 1
        folders[:] = sorted(
            name
            for name in folders
            if depth < DEPTH and not files.is_system_file(name) and name not in PASSED_OVER
        )
        for name in sorted(names):
            if name.endswith(ending):
                yield os.path.normpath(os.path.join(relative, name))


def read_output(text: str) -> Output:
    """Read an output of `digits predict` in the project's folder.

    Parameters
    ----------
    text : its path, from the project's folder

    Raises
    ------
    InputError
        If it is outside of the folder, also by a symbolic link, or no output of `digits predict`.
    """
    root = Path.cwd().resolve()
    try:
        path = (root / text).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise InputError(f"{text} does not exist in this folder") from None
    if not path.is_relative_to(root) or not path.is_file():
        raise InputError(f"{text} is not a file in this folder")
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{text} is no output of digits predict: expected .csv or .parquet")
    status = path.stat()
    rows = _read_rows(path, status.st_mtime_ns, status.st_size)
    return Output(path.relative_to(root), rows)


@lru_cache(maxsize=8)
def _read_rows(path: Path, *_: int) -> tuple[Row, ...]:
    schema = pa.schema([*COLUMNS.items(), (REVIEW, pa.bool_())])
    chosen = schema.empty_table()
    try:
        for batch in _batches(path):
            part = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
            if found := part.filter(pc.field(REVIEW)):
                chosen = pa.concat_tables([chosen, found])
            if len(chosen) > MOST_ROWS:  # a small file can stand for endlessly many
                raise InputError(f"{path.name} has more than {MOST_ROWS:,} rows for review")
        chosen = chosen.sort_by("confidence")
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path.name} is no output of digits predict: {reason}") from None
    rows = chosen.to_pylist()
    return tuple(
        Row(row["path"], row["predicted"] or "", row["confidence"] or 0.0)
        for row in rows
        if row["path"]
    )


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of an output, a part at a time; raises an error of Arrow if it is none."""
    names = [*COLUMNS, REVIEW]
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=names)
        return
    types = {**COLUMNS, REVIEW: pa.bool_()}
    options = pa.csv.ConvertOptions(column_types=types, include_columns=names)
    with pa.csv.open_csv(path, convert_options=options) as file:
        yield from file


def classes(output: Output) -> tuple[str, ...]:
    """The classes to choose from: those of the model that made the output."""
    try:
        manifest = json.loads(Path(f"{output.path}{MANIFEST}").read_bytes())
        names = manifest["classes"]
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # without its manifest, the model here decides
    return tuple(_model()["classes"])


def form() -> Preprocessing:
    """The form of the images of the model here, for which `digits correct` stores them."""
    return Preprocessing.parse(_model()["preprocessing"], "model.json")


def _model() -> dict[str, Any]:
    path = Path(model_store.locate().url, "model.json")
    model: dict[str, Any] = json.loads(path.read_bytes())
    return model


def progress(output: Output) -> Progress:
    """How far the labelling is, by the file of the labels."""
    labels = _read_labels(output)
    known = [labels[row.path] for row in output.rows if row.path in labels]
    return Progress(
        total=len(output.rows),
        labelled=sum(label != SKIPPED for label in known),
        skipped=sum(label == SKIPPED for label in known),
        position=next((i for i, row in enumerate(output.rows) if row.path not in labels), None),
        last=next(reversed(labels.items()), None),
    )


def give(output: Output, path: str, label: str) -> None:
    """Give an image a label, or skip it with an empty one.

    Raises
    ------
    InputError
        If the output has no such image for review, or the label is no class.
    """
    if path not in {row.path for row in output.rows}:
        raise InputError(f"{output.path} has no row for review with the path {path!r}")
    if label not in (SKIPPED, *classes(output)):
        raise InputError(f"{label!r} is not one of the classes {', '.join(classes(output))}")
    with _writing:
        labels = _read_labels(output)
        labels.pop(path, None)
        _write_labels(output, {**labels, path: label})


def undo(output: Output) -> None:
    """Take back the last label, or the last skip."""
    with _writing:
        labels = _read_labels(output)
        if labels:
            labels.popitem()
        _write_labels(output, labels)


def revisit(output: Output) -> None:
    """Have the skipped images come again."""
    with _writing:
        labels = _read_labels(output)
        _write_labels(output, {path: label for path, label in labels.items() if label})


def picture(output: Output, position: int) -> dict[str, str]:
    """The pictures of a row's image: as it is, and as the model sees it if that differs.

    Raises
    ------
    InputError
        If the image can't be read.
    """
    path = output.rows[position].path
    original, seen = inputs.original(path, form()), inputs.image(path, form())
    if original.shape == seen.shape and (original == seen).all():
        return {"seen": pictures.data_uri(seen)}
    return {"original": pictures.photo_uri(original), "seen": pictures.data_uri(seen)}


def state(output: Output) -> dict[str, Any]:
    """What the page shows: the progress and the next image."""
    now = progress(output)
    values: dict[str, Any] = {
        "output": str(output.path),
        "labels_file": str(output.labels_file),
        "command": shlex.join(["digits", "correct", str(output.labels_file)]),
        "classes": classes(output),
        "total": now.total,
        "labelled": now.labelled,
        "skipped": now.skipped,
        "last": now.last,
        "image": None,
    }
    if now.position is not None:
        row = output.rows[now.position]
        image = {"path": row.path, "predicted": row.predicted, "confidence": row.confidence}
        try:
            image |= picture(output, now.position)
        except (UserError, OSError, ValueError) as error:  # a path may be anything
            image["error"] = str(error)
        values["image"] = image
    return values


def _read_labels(output: Output) -> dict[str, str]:
    """The labels by path, in the order of labelling.

    Raises `InputError` if the file has what would be lost when it is written again.
    """
    file = output.labels_file
    if not file.exists():
        return {}
    labels: dict[str, str] = {}
    for number, row in enumerate(corrections.rows(file, LABELS), start=2):
        if others := [column for column in row if column not in LABELS]:
            raise InputError(
                f"{file} has the column {others[0]!r}, and this page keeps only path and label. "
                f"Move the file, or remove the column. To add its labels: digits correct {file}"
            )
        if row["path"] in labels:
            raise InputError(
                f"{file}, line {number}: {row['path']} is there twice, and this page keeps one "
                f"label of an image. Remove one of the two lines"
            )
        labels[row["path"]] = row["label"]
    return labels


def _write_labels(output: Output, labels: dict[str, str]) -> None:
    rows = [{"path": path, "label": label} for path, label in labels.items()]
    files.write(output.labels_file, files.csv_table(rows, LABELS))
