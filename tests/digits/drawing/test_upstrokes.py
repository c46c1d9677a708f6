"""1s with an upstroke: which are drawn, where the stroke is, the same on every processor."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from digits.core import kernels
from digits.data.dataset import Labelled, Raw
from digits.drawing import upstrokes

# As in tests/digits/outliers/test_making.py.
DIGEST = "77be6f48901338a8a7b677e53131c51785ed742b066dba21e3b60914c4970c58"


def test_a_share_of_the_ones_is_drawn_and_nothing_else_changes(uci: Raw) -> None:
    ones = int((uci.train.labels == 1).sum())
    added = [upstrokes.add(uci.train, uci.source, 0.25, seed) for seed in (0, 0, 1)]
    assert len(added[0]) == len(uci.train) + round(0.25 * ones)
    assert added[0].images[: len(uci.train)].tobytes() == uci.train.images.tobytes()
    assert (added[0].labels[len(uci.train) :] == 1).all()
    assert added[0].images.tobytes() == added[1].images.tobytes() != added[2].images.tobytes()


def test_the_ones_are_those_of_the_class_1_wherever_it_is_in_the_list(uci: Raw) -> None:
    source = replace(uci.source, classes=("7", "3", "1"))
    labels = np.arange(len(uci.train), dtype=np.uint8) % 3
    added = upstrokes.add(Labelled(uci.train.images, labels), source, 0.01, 0)
    assert added.labels[len(labels) :].tolist() == [2] * 4


@pytest.mark.parametrize("classes", [tuple("023456789x"), tuple("abcdefghi1")])
def test_none_are_drawn_where_no_class_is_a_one_or_classes_are_no_digits(
    uci: Raw, classes: tuple[str, ...]
) -> None:
    source = replace(uci.source, classes=classes)
    assert upstrokes.add(uci.train, source, 1.0, 0) is uci.train


def test_a_share_of_zero_draws_none(uci: Raw) -> None:
    assert upstrokes.add(uci.train, uci.source, 0.0, 0) is uci.train


def test_the_stroke_falls_to_the_left_of_an_upright_one() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 13:15] = 255
    for seed in range(20):
        ink = upstrokes.with_upstroke(image, np.random.default_rng(seed)) > 128
        above = ink[:42]  # what it may stand on
        assert not above[:, 32:].any()
        rows, columns = np.nonzero(above[:, :24])
        assert np.corrcoef(rows, columns)[0, 1] < -0.5  # the further to the left, the lower


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 50)])
@pytest.mark.parametrize("method", ["ink-box", "resize"])
def test_any_image_will_do(uci: Raw, size: tuple[int, int], method: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, *size), dtype=np.uint8)
    images[0] = 0
    images[1] = 0
    images[1, 0] = 255  # ink in the first row alone
    data = Labelled(images, np.ones(6, np.uint8))
    added = upstrokes.add(data, replace(uci.source, method=method), 1.0, 0)
    assert added.images.shape == (12, *size)


@pytest.mark.skipif(not kernels.are_portable(), reason="no x86-64 processor with AVX2")
def test_they_are_the_same_on_every_processor(uci: Raw) -> None:
    made = upstrokes.add(uci.train, uci.source, 1.0, 0)
    assert hashlib.sha256(made.images.tobytes()).hexdigest() == DIGEST
