import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import log_loss

from digits.evaluation import metrics

LABELS = np.array([0, 1, 2, 2])
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]])


def test_accuracy_and_confusion() -> None:
    predicted = PROBABILITIES.argmax(axis=1)
    assert metrics.accuracy(predicted, LABELS) == 0.75
    assert metrics.confusion(predicted, LABELS, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_nll_is_that_of_scikit_learn() -> None:
    assert metrics.nll(PROBABILITIES, LABELS) == pytest.approx(log_loss(LABELS, PROBABILITIES))


def test_an_impossible_label_gives_a_finite_nll() -> None:
    assert np.isfinite(metrics.nll(np.array([[1.0, 0.0]]), np.array([1])))


def test_calibration_by_hand() -> None:
    """Confidences .8 .6 .7 1, right but for the third, in five bins: (0.6 | .8 .7), .6, 1."""
    diagram = metrics.reliability(PROBABILITIES, LABELS, bins=5)
    assert [b.images for b in diagram] == [1, 2, 1]
    assert metrics.expected_calibration_error(diagram) == pytest.approx((0.4 + 2 * 0.25 + 0) / 4)


@given(arrays(np.float32, (5, 4), elements=st.floats(-50, 50, width=32)))
def test_softmax_rows_sum_to_one_and_every_image_is_in_a_bin(logits: np.ndarray) -> None:
    probabilities = metrics.softmax(logits)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    diagram = metrics.reliability(probabilities, np.zeros(5, int))
    assert sum(b.images for b in diagram) == 5
    assert all(b.lower - 1e-9 <= b.confidence <= b.upper + 1e-9 for b in diagram)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="4 rows of probabilities, but 3 labels"):
        metrics.reliability(PROBABILITIES, LABELS[:3])
    with pytest.raises(ValueError, match="not finite"):
        metrics.reliability(np.array([[np.nan, 1.0]]), LABELS[:1])
