import io

import numpy as np
import pytest
from PIL import Image

from digits.core import files
from digits.evaluation import evaluate, plots
from digits.evaluation.evaluate import Evaluation

FOUND = Evaluation(
    classes=("a", "b"),
    labels=np.array([0, 0, 1, 1, 1], np.uint8),
    probabilities=np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]]),
    robustness={"blur": 0.8, "noise": 0.5},
)


def test_the_figures() -> None:
    found = evaluate.summary(FOUND)
    assert found["images"] == 5
    assert found["errors"] == 2
    assert found["accuracy"] == 0.6
    assert found["recall"] == {"a": 0.5, "b": 0.666667}
    assert found["support"] == {"a": 2, "b": 3}
    assert found["robustness"] == {"blur": 0.8, "noise": 0.5, "mean": 0.65}
    assert found["answers"] == {
        "predicted": [2, 3],
        "confidence": [0, 1, 1, 1, 2, 0, 0, 0, 0, 0],
    }
    assert found["nll"] == pytest.approx(0.510826, abs=1e-6)  # -(ln .9 .3 .8 .4 .9) / 5


def test_each_error_is_a_row_in_order() -> None:
    text = files.csv_table(
        evaluate.error_rows(FOUND), ["index", "label", "predicted", "confidence"]
    )
    assert text == "index,label,predicted,confidence\n1,a,b,0.7000\n3,b,a,0.6000\n"


def test_no_errors_is_a_header_alone() -> None:
    assert files.csv_table([], ["index", "label"]) == "index,label\n"


def test_the_tables_that_dvc_plots() -> None:
    found = evaluate.plot_tables(FOUND)
    assert found["confusion"][1] == {"actual": "a", "predicted": "b", "images": 1}
    assert [row["images"] for row in found["confusion"]] == [1, 1, 1, 2]
    assert sum(row["images"] for row in found["reliability"]) == 5
    assert found["robustness"] == [
        {"corruption": "blur", "accuracy": 0.8},
        {"corruption": "noise", "accuracy": 0.5},
    ]


def test_pictures_are_pngs_of_stable_bytes() -> None:
    images = np.zeros((5, 28, 28), np.uint8)
    for draw in (
        lambda: plots.overview(FOUND),
        lambda: plots.worst_errors(FOUND, images),
    ):
        png = draw()
        assert png == draw()
        picture = Image.open(io.BytesIO(png))
        assert picture.format == "PNG"
        assert "Software" not in picture.info


def test_a_perfect_model_has_a_picture_too() -> None:
    perfect = Evaluation(FOUND.classes, FOUND.labels, np.eye(2)[FOUND.labels], FOUND.robustness)
    assert plots.worst_errors(perfect, np.zeros((5, 28, 28), np.uint8)).startswith(b"\x89PNG")
    assert plots.overview(perfect).startswith(b"\x89PNG")
