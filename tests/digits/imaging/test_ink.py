"""The ink of one digit is found, whatever lies around it. benchmarks/photos.py has the figures."""

import numpy as np
import pytest
import scipy
from PIL import Image, ImageDraw

from benchmarks.photos import on_paper
from benchmarks.surroundings import SURROUNDINGS
from digits.core.errors import InputError
from digits.data.dataset import Raw
from digits.imaging import decoding, model_form
from digits.imaging.ink.finding import find_ink
from digits.imaging.ink.geometry import closed, quantile, slopes
from digits.imaging.ink.ruling import without_rules
from tests.digits.imaging.test_model_form import DIGITS
from tests.helpers.pictures import correlation, seven

# The share of these broad digits that must be found.
LEAST = {"hard_shadow": 0.8, "cut_tight": 0.8}


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


def test_a_circle_around_the_digit_is_left_out() -> None:
    picture = Image.new("L", (300, 300), 230)
    picture.paste(seven(120), (90, 90))
    alone = find_ink(np.asarray(picture))
    ImageDraw.Draw(picture).ellipse((20, 20, 280, 280), outline=20, width=6)
    assert find_ink(np.asarray(picture)).shape == alone.shape


def test_a_bent_line_at_the_edge_that_may_be_a_stroke_is_refused() -> None:
    picture = Image.new("L", (300, 300), 230)
    picture.paste(seven(240), (55, 30))
    ImageDraw.Draw(picture).line([(3, 60), (3, 140), (50, 200)], 20, 8)
    with pytest.raises(InputError, match="Leave a margin of plain paper around the digit"):
        find_ink(np.asarray(picture))


@pytest.mark.parametrize("ink", [20, 120])
def test_rules_are_painted_over_and_strokes_stay(ink: int) -> None:
    paper = np.asarray(seven(240))
    ruled = paper.copy()
    for x in range(240):
        for y in (90, 130, 180):
            ruled[y + x // 60 : y + x // 60 + 3, x] = np.minimum(ink, paper[y + x // 60, x])
    for picture, plain in ((ruled, paper), (ruled.T, paper.T), (255 - ruled, 255 - paper)):
        assert correlation(without_rules(picture), plain) > 0.97


def test_a_picture_without_rules_stays_as_it_is() -> None:
    paper = np.asarray(seven(240))
    np.testing.assert_array_equal(without_rules(paper), paper)


def test_a_lattice_is_refused() -> None:
    lattice = np.full((240, 240), 230, np.uint8)
    lattice[40:200, 40:200] = 20
    for start in range(50, 200, 30):
        for left in range(50, 200, 30):
            lattice[start : start + 20, left : left + 20] = 230
    with pytest.raises(InputError, match="Crop the image to the digit"):
        find_ink(lattice)


@pytest.mark.parametrize("ground", [0, 90, 255])
def test_plain_pictures_are_read_as_the_digit_itself(ground: int, uci: Raw) -> None:
    ink = 255 - ground if ground != 90 else 240
    for image in uci.test.images[:20]:
        large = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
        levels = ground + (ink - ground) * (large / 255.0)
        seen = model_form.convert(np.round(levels).astype(np.uint8), DIGITS)
        on_black = model_form.convert(large, DIGITS)
        assert correlation(seen, on_black) > 0.99


def test_a_thin_line_just_outside_of_a_digits_box_is_no_part_of_its_inside() -> None:
    picture = np.full((110, 110), 230, np.uint8)
    picture[20, 20:81] = 20
    for y in range(20, 91):
        picture[y, 80 - (y - 20) * 60 // 70] = 20
    picture[40:80, 81] = 20
    assert find_ink(picture).shape == (71, 62)


def test_a_small_image_of_a_sheet_on_a_table_is_read_as_a_large_one() -> None:
    picture = Image.new("L", (300, 300), 60)
    sheet = Image.new("L", (200, 200), 230)
    sheet.paste(seven(120), (40, 40))
    picture.paste(sheet, (50, 50))
    large = model_form.convert(np.asarray(picture), DIGITS)
    small = np.asarray(picture.resize((40, 40), Image.Resampling.BOX))
    assert correlation(model_form.convert(small, DIGITS), large) > 0.8


def test_a_line_that_a_digit_stands_on_is_cut_off() -> None:
    picture = Image.new("L", (300, 300), 230)
    picture.paste(seven(120), (90, 90))
    alone = find_ink(np.asarray(picture))
    ImageDraw.Draw(picture).line((60, 191, 240, 191), 20, 6)
    height, width = find_ink(np.asarray(picture)).shape
    assert width < 1.1 * alone.shape[1]
    assert height > 0.85 * alone.shape[0]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("share", [0.9, 0.95, 0.998])
def test_a_quantile_is_that_of_numpy(n: int, share: float) -> None:
    values = np.random.default_rng(n).uniform(0, 255, (n, 3)).astype(np.float32)
    assert quantile(values, share) == float(np.quantile(values, share))
    assert quantile(values[:1, :1], share) == values[0, 0]


@pytest.mark.parametrize("window", [(1, 1), (2, 3), (7, 4), (16, 1), (50, 60)])
def test_a_closing_is_that_of_scipy(window: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (40, 30)).astype(np.float32)
    expected = scipy.ndimage.grey_closing(picture, window, mode="nearest")
    assert closed(picture, *window).tobytes() == expected.tobytes()


def test_slopes_are_those_of_scipy() -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (40, 30)).astype(np.float32)
    expected = scipy.ndimage.gaussian_gradient_magnitude(picture, 1)
    assert slopes(picture).tobytes() == expected.tobytes()
