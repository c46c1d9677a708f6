"""Evaluate a model on the test images: figures, errors, and tables for plots."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from digits.core.arrays import Float32Array, Float64Array, Int64Array, UInt8Array
from digits.data.dataset import Labelled
from digits.evaluation import drift, metrics
from digits.evaluation.corruptions import CORRUPTIONS, corrupt
from digits.model.classifier import Classifier

Row = dict[str, Any]

LOGIT_DECIMALS = 3


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to the test images, clean and corrupted."""

    classes: tuple[str, ...]
    labels: UInt8Array
    probabilities: Float64Array
    robustness: dict[str, float]

    @cached_property
    def predicted(self) -> Int64Array:
        predicted: Int64Array = self.probabilities.argmax(axis=1)
        return predicted

    @cached_property
    def confidence(self) -> Float64Array:
        confidence: Float64Array = self.probabilities.max(axis=1)
        return confidence

    @cached_property
    def wrong(self) -> Int64Array:
        """Positions of the misclassified images, ascending."""
        return np.flatnonzero(self.predicted != self.labels)

    @cached_property
    def confusion(self) -> Int64Array:
        """Counts of images: one row for each true class, one column for each predicted class."""
        return metrics.confusion(self.predicted, self.labels, len(self.classes))

    @cached_property
    def reliability(self) -> list[metrics.Bin]:
        return metrics.reliability(self.probabilities, self.labels)


def evaluate(classifier: Classifier, test: Labelled, workers: int) -> Evaluation:
    """Run a model on the test images, and on each corruption of them, with so many threads."""
    robustness = {}
    with ThreadPoolExecutor(workers) as pool:
        corrupted = pool.map(lambda name: corrupt(test.images, name), CORRUPTIONS)
        for name, images in zip(CORRUPTIONS, corrupted, strict=True):
            logits = rounded(classifier.logits(images, workers))
            robustness[name] = metrics.accuracy(logits.argmax(axis=1), test.labels)
    probabilities = metrics.softmax(rounded(classifier.logits(test.images, workers)))
    return Evaluation(classifier.classes, test.labels, probabilities, robustness)


def rounded(logits: Float32Array) -> Float32Array:
    """Logits to `LOGIT_DECIMALS`, from which all metrics are computed.

    ONNX Runtime's kernels depend on the processor: the logits of one with AVX-512 differ from those
    of one without by up to 4e-6. Rounded, all but 3 in 10,000 are the same.
    """
    return np.round(logits, LOGIT_DECIMALS)


def summary(evaluation: Evaluation) -> Row:
    """The figures: counts, fractions in [0, 1], and nll in nats; rounded to six decimals."""
    e = evaluation
    support = e.confusion.sum(axis=1)
    by_class = list(zip(e.classes, np.diag(e.confusion), support, strict=True))
    return {
        "images": len(e.labels),
        "errors": len(e.wrong),
        "accuracy": round(metrics.accuracy(e.predicted, e.labels), 6),
        "nll": round(metrics.nll(e.probabilities, e.labels), 6),
        "ece": round(metrics.expected_calibration_error(e.reliability), 6),
        "recall": {name: round(int(hits) / int(n), 6) for name, hits, n in by_class},
        "support": {name: int(n) for name, _, n in by_class},
        "robustness": {
            **{name: round(value, 6) for name, value in e.robustness.items()},
            "mean": round(sum(e.robustness.values()) / len(e.robustness), 6),
        },
        # To compare with the answers in production. Lists, since DVC shows no columns for these.
        "answers": {
            "predicted": e.confusion.sum(axis=0).tolist(),
            "confidence": np.bincount(
                drift.bins(e.confidence.tolist()), minlength=len(drift.EDGES)
            ).tolist(),
        },
    }


def error_rows(evaluation: Evaluation) -> list[Row]:
    """One row for each misclassified test image, in order."""
    e = evaluation
    return [
        {
            "index": i,
            "label": e.classes[e.labels[i]],
            "predicted": e.classes[e.predicted[i]],
            "confidence": f"{e.confidence[i]:.4f}",
        }
        for i in e.wrong.tolist()
    ]


def plot_tables(evaluation: Evaluation, figures: Row) -> Mapping[str, list[Row]]:
    """The tables that DVC plots, by name; of an evaluation and its `summary`."""
    e = evaluation
    return {
        "confusion": [
            {"actual": actual, "predicted": predicted, "images": int(e.confusion[i, j])}
            for i, actual in enumerate(e.classes)
            for j, predicted in enumerate(e.classes)
        ],
        "reliability": [asdict(bar) for bar in e.reliability],
        "recall": [{"class": name, "recall": r} for name, r in figures["recall"].items()],
        "robustness": [
            {"corruption": name, "accuracy": value}
            for name, value in figures["robustness"].items()
            if name != "mean"
        ],
    }
