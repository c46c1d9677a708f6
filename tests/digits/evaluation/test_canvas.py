import io

import numpy as np
from PIL import Image

from digits.evaluation.canvas import GOOD, Canvas

BLUE = (0x25, 0x63, 0xEB)


def shown(canvas: Canvas) -> Image.Image:
    return Image.open(io.BytesIO(canvas.png()))


def is_inked(picture: Image.Image, left: int, top: int, right: int, bottom: int) -> bool:
    return bool((np.asarray(picture.crop((left, top, right, bottom))) < 255).any())


def test_a_bar_goes_from_value_to_value() -> None:
    canvas = Canvas(100, 100)
    chart = canvas.chart(20, 10, 50, 80, x=(0, 10), y=(0.5, 1))
    canvas.box(chart.x_of(2), chart.y_of(0.75), chart.x_of(4), chart.y_of(0.5), GOOD)
    picture = shown(canvas)
    assert picture.getpixel((30, 50)) == picture.getpixel((39, 89)) == BLUE
    assert not is_inked(picture, 0, 0, 100, 50)
    assert not is_inked(picture, 40, 0, 100, 100)
    assert not is_inked(picture, 0, 90, 100, 100)


def test_what_is_drawn_is_where_it_should_be() -> None:
    canvas = Canvas(300, 100)
    canvas.text(50, 50, "left", anchor="rm")
    canvas.upright_text(100, 50, "below", anchor="t")
    canvas.dot(150.5, 50, 20, GOOD)
    canvas.dashed_line(200, 90, 280, 10, GOOD)
    picture = shown(canvas)
    assert is_inked(picture, 20, 40, 50, 60)
    assert not is_inked(picture, 51, 0, 90, 100)
    assert is_inked(picture, 90, 51, 110, 100)
    assert not is_inked(picture, 90, 0, 110, 49)
    assert is_inked(picture, 141, 41, 160, 60)
    assert not is_inked(picture, 120, 0, 139, 100)
    assert not is_inked(picture, 162, 0, 195, 100)
    assert is_inked(picture, 200, 80, 215, 95)
    assert is_inked(picture, 265, 5, 285, 25)
    assert not is_inked(picture, 200, 0, 230, 45)


def test_an_image_is_dark_ink_enlarged_by_a_whole_number_or_reduced() -> None:
    digit = np.zeros((3, 2), np.uint8)
    digit[0, 0], digit[2, 1] = 255, 100
    canvas = Canvas(40, 40)
    canvas.image(20, 30, digit, 20)
    pixels = np.asarray(shown(canvas).convert("L"))
    assert (pixels[11:17, 14:20] == 0).all()
    assert (pixels[23:29, 20:26] == 155).all()
    assert (pixels < 255).sum() == 2 * 6 * 6

    large = Canvas(40, 40)
    large.image(20, 30, np.full((90, 60), 255, np.uint8), 18)
    found = np.argwhere(np.asarray(shown(large).convert("L")) == 0)
    assert found.min(0).tolist() == [12, 14]
    assert found.max(0).tolist() == [29, 25]
