"""A batch as a table: a row an image, what the model takes it for, and how sure it is of that.

`path, predicted, confidence, p0, p1, ... (a class each), review, error`. A row with an error has
no prediction. The same images give the same bytes wherever and in whatever order they are read.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from digits.evaluation import metrics
from digits.model.classifier import Classifier
from ops.tools import inputs
from ops.tools.inputs import Chunk, Source


def schema(model: Classifier) -> pa.Schema:
    """The columns, and in the metadata the model's id."""
    probabilities = [(f"p{i}", pa.float32()) for i in range(len(model.classes))]
    return pa.schema(
        [
            ("path", pa.string()),
            ("predicted", pa.string()),
            ("confidence", pa.float32()),
            *probabilities,
            ("review", pa.bool_()),
            ("error", pa.string()),
        ],
        {"model": model.id},
    )


class Worker:
    """Computes chunks wherever it is sent to: it brings its own model."""

    def __init__(self, files: Mapping[str, bytes], source: Source, threshold: float) -> None:
        with TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            self.model = Classifier.load(folder)
        self.source, self.threshold = source, threshold

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        chunk = Chunk.from_json(row["chunk"])
        table = predict(self.model, self.source, chunk, self.threshold)
        return {"number": row["number"], "rows": to_bytes(table)}


def to_bytes(table: pa.Table) -> bytes:
    """A table as an Arrow file."""
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, table.schema) as writer:
        writer.write_table(table)
    found: bytes = content.getvalue().to_pybytes()
    return found


def from_bytes(content: bytes) -> pa.Table:
    with pa.ipc.open_file(content) as reader:
        return reader.read_all()


def predict(model: Classifier, source: Source, chunk: Chunk, threshold: float) -> pa.Table:
    """Read a chunk and classify it.

    Parameters
    ----------
    model : what classifies
    source, chunk : what is read
    threshold : rows of a lower confidence are for review

    Returns
    -------
    a row an image, in the chunk's order, with the columns of `schema`

    Raises
    ------
    Unreachable
        If a bucket can't be read.
    """
    loaded = inputs.load(source, chunk, model.preprocessing)
    broken = np.array([error is not None for error in loaded.errors])
    probabilities = metrics.softmax(model.logits(loaded.images)).astype(np.float32)
    confidence = probabilities.max(axis=1)
    classes = pa.array(model.classes, pa.string())
    predicted = classes.take(pa.array(probabilities.argmax(axis=1), mask=broken))
    columns = [confidence, *probabilities.T]
    return pa.table(
        [
            pa.array([inputs.readable(path) for path in loaded.paths]),
            predicted,
            *(pa.array(np.ascontiguousarray(column), mask=broken) for column in columns),
            pa.array(~broken & (confidence < threshold)),
            pa.array([error and inputs.readable(error) for error in loaded.errors], pa.string()),
        ],
        schema(model),
    )
