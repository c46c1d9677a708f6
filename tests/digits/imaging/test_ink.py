"""The ink of one digit is found, whatever lies around it. benchmarks/photos.py has the figures."""

import numpy as np
import pytest

from benchmarks.photos import on_paper
from benchmarks.surroundings import SURROUNDINGS
from digits.core.errors import InputError
from digits.data.dataset import Raw
from digits.imaging import decoding, model_form
from digits.imaging.ink import find_ink
from tests.digits.imaging.test_model_form import DIGITS
from tests.helpers.pictures import correlation

# The share of these broad digits that must be found. Lines that cross a digit often stay.
LEAST = {"lined": 0.45, "hard_shadow": 0.6, "cut_tight": 0.8}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_lies_around_a_digit_is_left_out(name: str, uci: Raw) -> None:
    found = []
    for i, image in enumerate(uci.test.images[:25]):
        picture = on_paper(image, i)
        alone = model_form.convert(np.asarray(picture), DIGITS)
        harder = SURROUNDINGS[name](picture, np.random.default_rng(i))
        try:
            seen = model_form.convert(np.asarray(harder), DIGITS)
        except InputError:
            found.append(False)
        else:
            turned = name in ("table", "turned")
            found.append(correlation(seen, alone) > (0.4 if turned else 0.7))
    assert np.mean(found) >= LEAST.get(name, 0.9)


def test_ink_of_the_papers_brightness_is_told_by_its_colour() -> None:
    paper = np.full((120, 120, 3), (110, 180, 110), np.uint8)
    paper[20:100, 55:65] = (230, 117, 117)
    assert np.ptp(decoding.grey(paper)) < 4
    assert find_ink(paper).shape == (80, 10)


def test_light_ink_is_found_as_well_as_dark_ink() -> None:
    dark = np.full((120, 120), 220, np.uint8)
    dark[20:100, 55:65] = 30
    np.testing.assert_array_equal(find_ink(dark), find_ink(255 - dark))
