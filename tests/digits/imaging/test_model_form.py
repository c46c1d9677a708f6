"""Every way to store a digit gives the same input; an image that is no digit gives a reason.

benchmarks/photos.py measures the accuracy on photos of all of MNIST's test images.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import photos
from benchmarks.photos import Photo
from digits.core.errors import InputError
from digits.data.dataset import Raw
from digits.imaging import model_form
from digits.imaging.preprocessing import Preprocessing
from tests.helpers.pictures import correlation, encode

DIGITS = Preprocessing.parse(
    {
        "size": [28, 28],
        "method": "ink-box",
        "background": 0,
        "normalisation": {"mean": 33.0, "std": 79.0, "where": "in the graph"},
    }
)
WHOLE = DIGITS.model_copy(update={"method": "resize"})


def test_an_image_in_the_models_form_is_unchanged(uci: Raw) -> None:
    assert model_form.in_form(uci.test.images, DIGITS).all()
    for image in uci.test.images[:50]:
        assert model_form.convert(image, DIGITS).tobytes() == image.tobytes()
        assert model_form.read(encode(Image.fromarray(image)), DIGITS).tobytes() == image.tobytes()


@pytest.mark.parametrize("way", [*photos.WAYS.values(), photos.all_together])
def test_however_a_digit_is_stored_the_model_sees_the_same(way: photos.Way, uci: Raw) -> None:
    likeness = []
    for i, image in enumerate(uci.test.images[:100]):
        digit = model_form.convert(np.pad(image, 10), DIGITS)
        photo = way(Photo(digit.astype(np.float32) / 255), np.random.default_rng(i))
        likeness.append(correlation(model_form.read(photo.file(), DIGITS), digit))
    assert min(likeness) > 0.7
    assert np.mean(likeness) > 0.97


def test_ink_fills_its_box_and_is_centred_by_its_mass(uci: Raw) -> None:
    for image in uci.test.images[:50]:
        formed = model_form.convert(np.pad(image, 30), DIGITS)
        rows, columns = (np.flatnonzero(formed.max(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        mass = [formed.sum(axis) @ np.arange(28) / formed.sum() for axis in (1, 0)]
        assert np.abs(np.array(mass) - 14).max() < 0.6


def test_a_thin_pen_is_as_good_as_a_thick_one() -> None:
    thin = np.full((400, 400), 255, np.uint8)
    thin[50:350, 199:201] = thin[50:52, 150:201] = 0
    formed = model_form.convert(thin, DIGITS)
    assert 1.5 < (formed[8:20].astype(float).sum(axis=1) / 255).mean() < 3  # pixels of ink a row


@pytest.mark.parametrize(
    "content",
    [
        encode(Image.new("L", (1, 1))),
        encode(Image.new("RGB", (1, 1))),
        encode(Image.new("RGBA", (80, 80))),
        encode(Image.new("I;16", (80, 80), 3000)),
    ],
)
def test_an_image_without_ink_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="the image shows no ink"):
        model_form.read(content, DIGITS)


@pytest.mark.parametrize("way", [photos.blank, photos.two_digits, photos.noise])
def test_an_image_of_anything_but_one_digit_is_refused(way: photos.Other, uci: Raw) -> None:
    for i in range(20):
        content = way(uci.test.images, np.random.default_rng(i))
        with pytest.raises(InputError, match=r"no ink|digit"):
            model_form.read(content, DIGITS)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_any_array_is_an_image_or_a_reason(h: int, w: int, seed: int, two: bool) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 2, (h, w)) * 255 if two else random.integers(0, 256, (h, w))
    for form in (DIGITS, WHOLE):
        try:
            formed = model_form.convert(values.astype(np.uint8), form)
        except InputError:
            continue
        assert formed.shape == (28, 28)
        assert formed.dtype == np.uint8


def test_resize_keeps_the_whole_image_on_a_dark_background() -> None:
    grey = np.full((100, 50), 240, np.uint8)
    grey[10:90, 20:40] = 40
    formed = model_form.convert(grey, WHOLE)
    assert formed.shape == (28, 28)
    assert (formed[:, :6] == 0).all()
    assert formed[14, 15] > 200
    assert formed[0, 14] < 30
