import numpy as np
import pytest

from digits.data.dataset import Raw
from digits.evaluation.corruptions import CORRUPTIONS, corrupt


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_it_changes_images_the_same_way_every_time(uci: Raw, name: str) -> None:
    images = uci.test.images[:40]
    before = images.copy()
    found = corrupt(images, name)
    assert found.shape == images.shape
    assert found.dtype == np.uint8
    assert (found != images).mean() > 0.02
    np.testing.assert_array_equal(corrupt(images, name), found)
    np.testing.assert_array_equal(images, before)


def centre(image: np.ndarray) -> np.ndarray:
    return np.array([(image.sum(axis=1 - k) * np.arange(29)).sum() / image.sum() for k in (0, 1)])


def test_severities_are_as_stated() -> None:
    dot = np.zeros((64, 29, 29), np.uint8)
    dot[:, 13:16, 13:16] = 255
    shifts = {
        tuple(np.round(centre(i) - 14).astype(int).tolist()) for i in corrupt(dot, "translation")
    }
    assert shifts == {(3, 4), (-3, -4)}
    areas = corrupt(dot, "scale").sum(axis=(1, 2)) / dot[0].sum()
    assert set(np.round(areas, 1)) <= {0.4, 0.5, 1.7, 1.8, 1.9}
    assert corrupt(np.zeros((2, 28, 28), np.uint8), "brightness").max() == 102
    flipped = corrupt(np.zeros((400, 28, 28), np.uint8), "impulse_noise")
    assert 0.035 < (flipped == 255).mean() < 0.045
    flipped = corrupt(np.full((400, 28, 28), 255, np.uint8), "impulse_noise")
    assert 0.035 < (flipped == 0).mean() < 0.045
    noise = corrupt(np.full((400, 28, 28), 128, np.uint8), "gaussian_noise")
    assert 0.19 * 255 < noise.std() < 0.2 * 255 + 1
    stripes = corrupt(np.zeros((50, 28, 28), np.uint8), "stripe")
    assert set((stripes[:, 0] == 255).sum(axis=1).tolist()) == {4}


def test_rotation_turns_about_the_centre_by_25_degrees() -> None:
    image = np.zeros((64, 29, 29), np.uint8)
    image[:, 3:6, 13:16] = 255  # 10 pixels above the centre
    for found in corrupt(image, "rotation"):
        up, right = centre(found) - 14
        assert np.hypot(up, right) == pytest.approx(10, abs=0.2)
        assert abs(np.degrees(np.arctan2(right, -up))) == pytest.approx(25, abs=1)
