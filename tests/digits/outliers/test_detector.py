"""The training of the detector, on the bundled scans."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from digits.core.errors import InputError
from digits.data import dataset
from digits.data.dataset import Labelled, Raw
from digits.model.network import Network, initial_network
from digits.outliers import making
from digits.outliers.detector import (
    DetectorParams,
    architecture,
    train_detector,
    with_threshold,
)

PARAMS = DetectorParams(seed=0, outliers=800, cost=0.05)


@pytest.fixture(scope="module")
def parts(uci: Raw) -> tuple[Labelled, Labelled]:
    first, second = (uci.train.take(i) for i in dataset.split_indices(uci.train.labels, 0.1, 0))
    return first, second


@pytest.fixture(scope="module")
def trained(uci: Raw, parts: tuple[Labelled, Labelled]) -> Network:
    found = train_detector(PARAMS, *parts, uci.source, workers=2)
    assert found is not None
    return found


def doubt(detector: Network, images: np.ndarray) -> np.ndarray:
    """Of the most likely class."""
    with torch.inference_mode():
        logits = detector(torch.from_numpy(images).float())
    found: np.ndarray = (logits[:, -1] - logits[:, :-1].amax(1)).sigmoid().numpy()
    return found


def test_it_tells_unseen_digits_from_unseen_outliers(trained: Network, uci: Raw) -> None:
    others = making.make(uci.test, 300, uci.source, seed=7).images[:300]
    assert (doubt(trained, uci.test.images) > 0.1).mean() < 0.25
    assert (doubt(trained, others) > 0.1).mean() > 0.5


def test_the_cost_is_the_share_of_validation_images_that_become_doubtful(
    trained: Network, parts: tuple[Labelled, Labelled]
) -> None:
    val = parts[1]
    with torch.inference_mode():
        logits = trained(torch.from_numpy(val.images).float())
    own = logits[torch.arange(len(val)), torch.from_numpy(val.labels).long()]
    doubtful = (logits[:, -1] - own).sigmoid() > 0.1
    assert abs(doubtful.float().mean().item() - 0.05) <= 1 / len(val)


def test_a_detector_that_knows_nothing_doubts_few_images(
    uci: Raw, parts: tuple[Labelled, Labelled]
) -> None:
    images, val = parts[0].images, parts[1]
    classes = (*uci.source.classes, "none")
    untrained = initial_network(architecture((28, 28)), classes, images, seed=0)
    found = doubt(with_threshold(untrained, val, 0.05), val.images)
    assert np.median(found) < 0.01


@pytest.mark.parametrize("change", [{"seed": 1}, {"outliers": 51}, {"cost": 0.2}, {}], ids=str)
def test_each_parameter_changes_the_weights_and_workers_do_not(
    uci: Raw, parts: tuple[Labelled, Labelled], change: dict[str, float]
) -> None:
    short = PARAMS.model_copy(update={"outliers": 50})
    few = parts[0].take(np.arange(300)), parts[1]
    first = train_detector(short, *few, uci.source, workers=1)
    second = train_detector(short.model_copy(update=change), *few, uci.source, workers=3)
    assert first is not None
    assert second is not None
    same = map(torch.equal, first.state_dict().values(), second.state_dict().values())
    assert all(same) == (not change)


def test_there_are_no_more_outliers_than_images(uci: Raw, parts: tuple[Labelled, Labelled]) -> None:
    few = [part.take(np.arange(n)) for part, n in zip(parts, (30, 4), strict=True)]
    first, second = (
        train_detector(PARAMS.model_copy(update={"outliers": n}), *few, uci.source, workers=1)
        for n in (30, 800)
    )
    assert first is not None
    assert second is not None
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_no_outlier_is_no_detector(uci: Raw, parts: tuple[Labelled, Labelled]) -> None:
    none = PARAMS.model_copy(update={"outliers": 0})
    assert train_detector(none, *parts, uci.source, workers=1) is None


def test_classes_that_leave_no_label_for_none_are_refused(
    uci: Raw, parts: tuple[Labelled, Labelled]
) -> None:
    many = replace(uci.source, classes=tuple(map(str, range(256))))
    with pytest.raises(InputError, match=r"256 classes leave no label .* Set detector\.outliers=0"):
        train_detector(PARAMS, *parts, many, workers=1)


@pytest.mark.parametrize("side", range(8, 21))
def test_it_fits_images_of_each_size(side: int) -> None:
    images = np.zeros((2, side, side + 3), np.uint8)
    network = initial_network(architecture(images.shape[1:]), ("a", "b"), images, seed=0)
    assert network(torch.zeros(2, side, side + 3)).shape == (2, 2)
