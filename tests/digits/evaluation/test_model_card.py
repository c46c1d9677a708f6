"""The model card says what the evaluation found, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy

from digits.data.dataset import Source
from digits.evaluation import evaluate, model_card
from digits.evaluation.evaluate import Evaluation
from digits.evaluation.model_card import Subject
from tests.digits.evaluation.test_evaluate import FOUND

FIGURES = {"parameters": 1234, "model_bytes": 5678, "model": "a" * 64, "test_set": "b" * 64}


def text_of(found: Evaluation, source: str = "uci", members: int = 1) -> str:
    subject = Subject(
        evaluate.summary(found) | FIGURES,
        found.confusion,
        SimpleNamespace(  # type: ignore[arg-type]
            architecture={"channels": [4, 8, 8], "members": members},
            classes=found.classes,
            preprocessing=SimpleNamespace(size=(28, 28)),
        ),
        Source(source, found.classes, {"file": "abc"}, "ink-box"),
        {"train": 20, "val": 4, "test": 5},
    )
    return model_card.write(subject, "plots")


def test_the_figures_and_what_they_are_of() -> None:
    text = text_of(FOUND)
    assert (
        "**50.00%** of the test images are read correctly (3 errors in 6; 18.76% to 81.24% at"
        in text
    )
    assert "| Learnt from | uci: 20 images, and 4 more to choose the best epoch |" in text
    assert "| Data files | file `abc` |" in text
    assert "`" + "a" * 64 + "`" in text
    assert "5 of them, averaged; 1,234 weights" in text_of(FOUND, members=5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (7, 10), (9969, 10_000)])
def test_the_interval_is_scipys(successes: int, trials: int) -> None:
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    found = model_card.wilson_interval(successes, trials)
    assert found == pytest.approx(tuple(expected), abs=1e-12)


def test_classes_and_confusions_by_hand() -> None:
    text = text_of(FOUND)
    assert "| a | 3 | 33.33% | 50.00% |" in text
    assert "| b | 3 | 66.67% | 50.00% |" in text
    assert "Most often it reads a as b (2), b as a (1)." in text


def test_what_breaks_it_is_named_worst_first() -> None:
    text = text_of(FOUND)
    assert text.index("| noise | 50.00% |") < text.index("| blur | 80.00% |")
    assert "*Keep away*: blur, noise" in text


def test_a_perfect_model() -> None:
    text = text_of(Evaluation(("a", "b"), np.array([0, 1], np.uint8), np.eye(2), {"blur": 1.0}))
    assert "No test image is misread." in text
    assert "Keep away" not in text
    assert "to 100.00% at 95 % confidence" in text


def test_names_of_classes_break_no_table() -> None:
    odd = Evaluation(("|", "b"), FOUND.labels, FOUND.probabilities, FOUND.robustness)
    assert "| &#124; | 3 | 33.33% |" in text_of(odd)


def test_the_licence_of_the_data_is_told() -> None:
    assert "CC BY 4.0" in text_of(FOUND, "uci")
    assert "LeCun" in text_of(FOUND, "mnist")
    assert text_of(FOUND, "icons").rstrip().endswith("*Licence*: MIT.")
