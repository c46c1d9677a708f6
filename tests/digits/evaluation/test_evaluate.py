import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from digits.core import files
from digits.core.arrays import Float32Array, UInt8Array
from digits.data.dataset import Labelled
from digits.evaluation import evaluate, plots
from digits.evaluation.evaluate import Evaluation

FOUND = Evaluation(
    classes=("a", "b"),
    labels=np.array([0, 0, 1, 1, 1, 0], np.uint8),
    probabilities=np.array(
        [[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9], [0.45, 0.55]]
    ),
    robustness={"blur": 0.8, "noise": 0.5},
)


def test_the_figures() -> None:
    found = evaluate.summary(FOUND)
    assert found["images"] == 6
    assert found["errors"] == 3
    assert found["accuracy"] == 0.5
    assert found["recall"] == {"a": 0.333333, "b": 0.666667}
    assert found["support"] == {"a": 3, "b": 3}
    assert found["robustness"] == {"blur": 0.8, "noise": 0.5, "mean": 0.65}
    assert found["answers"] == {
        "predicted": [2, 4],
        "confidence": [0, 2, 1, 1, 2, 0, 0, 0, 0, 0],
    }
    assert found["nll"] == pytest.approx(0.558773, abs=1e-6)  # -(ln .9 .3 .8 .4 .9 .45) / 6


class OnAnotherProcessor:
    """A model whose logits differ in the sixth digit each time, as those of two processors do."""

    classes = FOUND.classes

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def logits(self, images: UInt8Array, workers: int) -> Float32Array:
        exact = np.round(images.mean((1, 2))[:, None] / 99 * [1, -1], 3)
        return (exact + self.rng.uniform(-4e-6, 4e-6, exact.shape)).astype(np.float32)


def test_the_figures_are_the_same_on_another_processor() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    images[:10] = 0  # equally likely to be either class
    test = Labelled(images, np.arange(20, dtype=np.uint8) % 2)
    one, other = (
        evaluate.evaluate(OnAnotherProcessor(seed), test, 2)  # type: ignore[arg-type]
        for seed in (0, 1)
    )
    assert evaluate.summary(one) == evaluate.summary(other)
    assert (one.probabilities == other.probabilities).all()


def test_each_error_is_a_row_in_order() -> None:
    text = files.csv_table(
        evaluate.error_rows(FOUND), ["index", "label", "predicted", "confidence"]
    )
    assert text == "index,label,predicted,confidence\n1,a,b,0.7000\n3,b,a,0.6000\n5,a,b,0.5500\n"


def test_no_errors_is_a_header_alone() -> None:
    assert files.csv_table([], ["index", "label"]) == "index,label\n"


def test_the_tables_that_dvc_plots() -> None:
    found = evaluate.plot_tables(FOUND, evaluate.summary(FOUND))
    assert found["confusion"][1] == {"actual": "a", "predicted": "b", "images": 2}
    assert [row["images"] for row in found["confusion"]] == [1, 2, 1, 2]
    assert sum(row["images"] for row in found["reliability"]) == 6
    assert found["robustness"] == [
        {"corruption": "blur", "accuracy": 0.8},
        {"corruption": "noise", "accuracy": 0.5},
    ]


def test_pictures_are_pngs_of_stable_bytes() -> None:
    images = np.zeros((6, 28, 28), np.uint8)
    for draw in (
        lambda: plots.overview(FOUND),
        lambda: plots.worst_errors(FOUND, images),
    ):
        png = draw()
        assert png == draw()
        picture = Image.open(io.BytesIO(png))
        assert picture.format == "PNG"
        assert "Software" not in picture.info


def test_the_name_of_a_class_is_no_formula() -> None:
    dollars = replace(FOUND, classes=("$", r"$\frac$"))
    assert plots.overview(dollars).startswith(b"\x89PNG")
    assert plots.worst_errors(dollars, np.zeros((6, 28, 28), np.uint8)).startswith(b"\x89PNG")


def test_a_perfect_model_has_a_picture_too() -> None:
    perfect = Evaluation(FOUND.classes, FOUND.labels, np.eye(2)[FOUND.labels], FOUND.robustness)
    assert plots.worst_errors(perfect, np.zeros((6, 28, 28), np.uint8)).startswith(b"\x89PNG")
    assert plots.overview(perfect).startswith(b"\x89PNG")
