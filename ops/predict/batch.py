"""Classify a chunk of images into a table with one row per image.

The columns are `path, predicted, confidence, p0, p1, ... (one per class), review, error`. A row
with an error has no prediction. The same images always give the same bytes, on any machine and in
any order of the chunks.
"""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from digits.evaluation import metrics
from digits.model.classifier import Classifier
from ops.tools import inputs
from ops.tools.inputs import Chunk, Input


def schema(model: Classifier) -> pa.Schema:
    """The table's columns; its metadata has the model's id."""
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


Files = tuple[tuple[str, bytes], ...]  # a model's: their names and contents


def run_on_node(files: Files, source: Input, chunk: Chunk, threshold: float) -> bytes:
    """Classify a chunk on another machine, which has only the content of the model's files."""
    return to_bytes(predict(_unpacked(files), source, chunk, threshold))


@lru_cache(maxsize=1)
def _unpacked(files: Files) -> Classifier:
    with TemporaryDirectory() as folder:
        for name, content in files:
            Path(folder, name).write_bytes(content)
        return Classifier.load(folder)


def to_bytes(table: pa.Table) -> bytes:
    """A table as the content of an Arrow file."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    content: bytes = stream.getvalue().to_pybytes()
    return content


def from_bytes(content: bytes) -> pa.Table:
    with pa.ipc.open_file(content) as reader:
        return reader.read_all()


def predict(model: Classifier, source: Input, chunk: Chunk, threshold: float) -> pa.Table:
    """Read a chunk of an input and classify it: a row for each image, in the chunk's order.

    Rows with a confidence below the threshold are marked for review. Raises `Unreachable` if a
    bucket can't be read.
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
