"""Metrics of predictions: accuracy, confusion, likelihood and calibration."""

from dataclasses import dataclass

import numpy as np

from digits.core.arrays import Float64Array, FloatArray, Int64Array, IntArray


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram; `confidence` and `accuracy` are means over its images."""

    lower: float
    upper: float
    images: int
    confidence: float
    accuracy: float


def softmax(logits: FloatArray) -> Float64Array:
    """Probabilities from logits: (n, classes) -> float64 (n, classes), rows sum to 1."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: Float64Array = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def accuracy(predicted: IntArray, labels: IntArray) -> float:
    """Share of correct predictions: integers (n,) and (n,) -> fraction."""
    return int((predicted == labels).sum()) / len(labels)


def confusion(predicted: IntArray, labels: IntArray, classes: int) -> Int64Array:
    """Counts of images: integers (n,) and (n,) -> int64 (true classes, predicted classes)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def nll(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean negative log-likelihood of the labels, in nats.

    Parameters
    ----------
    probabilities : float (n, classes), rows sum to 1
    labels : integers (n,)
    """
    likelihood = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(likelihood, np.finfo(np.float64).tiny)).mean())


def reliability(probabilities: FloatArray, labels: IntArray, bins: int = 15) -> list[Bin]:
    """Confidence against accuracy in bins of equal width on (0, 1]; empty bins are left out.

    Parameters
    ----------
    probabilities : float (n, classes), rows sum to 1
    labels : integers (n,)
    bins : their number

    Raises
    ------
    ValueError
        If the lengths differ or a probability is not finite.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, figure 1.
    """
    if len(probabilities) != len(labels):
        raise ValueError(f"{len(probabilities)} rows of probabilities, but {len(labels)} labels")
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        Bin(
            k / bins,
            (k + 1) / bins,
            int((number == k).sum()),
            float(confidence[number == k].mean()),
            float(correct[number == k].mean()),
        )
        for k in np.unique(number).tolist()
    ]


def expected_calibration_error(diagram: list[Bin]) -> float:
    """Mean gap between confidence and accuracy over the images of a reliability diagram.

    Parameters
    ----------
    diagram : from `reliability`

    Returns
    -------
    float in [0, 1]; 0 is perfectly calibrated

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
    """
    images = sum(b.images for b in diagram)
    return sum(b.images * abs(b.confidence - b.accuracy) for b in diagram) / images
