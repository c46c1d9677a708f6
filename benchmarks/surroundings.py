"""What lies around a digit on a photo, or on it: ways to make an image harder to read.

Each way takes a picture with colours of dark ink on plain paper, and a random generator.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from digits.core.arrays import Float32Array

Random = np.random.Generator
Surrounding = Callable[[Image.Image, Random], Image.Image]
Colour = tuple[int, int, int]


def table(picture: Image.Image, rng: Random) -> Image.Image:
    """The paper lies on a darker table, turned by up to 12 degrees."""
    shade = rng.uniform(0.15, 0.6)
    top = _times(paper(picture), shade)
    margin = round(rng.uniform(0.1, 0.3) * max(picture.size))
    return _framed(picture, margin, top).rotate(rng.uniform(-12, 12), fillcolor=top)


def turned(picture: Image.Image, rng: Random) -> Image.Image:
    """Turned by 9 to 15 degrees, with black corners."""
    angle = rng.uniform(9, 15) * rng.choice([-1, 1])
    return picture.rotate(angle, Image.Resampling.BICUBIC, expand=bool(rng.integers(2)))


def strip_of_table(picture: Image.Image, rng: Random) -> Image.Image:
    """A strip of a darker table at one side."""
    width, height = picture.size
    side = round(rng.uniform(0.08, 0.35) * width)
    shade = _times(paper(picture), rng.uniform(0.15, 0.6))
    if rng.integers(2):  # at the left, or below
        whole = Image.new("RGB", (width + side, height), shade)
        whole.paste(picture, (side, 0))
    else:
        whole = Image.new("RGB", (width, height + side), shade)
        whole.paste(picture, (0, 0))
    return whole


def frame(picture: Image.Image, rng: Random) -> Image.Image:
    """A part of a form's box at the image's edge."""
    return _with_lines(picture, rng, _box(picture, rng, 0.0, 0.02)[: int(rng.integers(1, 5))])


def box(picture: Image.Image, rng: Random) -> Image.Image:
    """A form's box around the digit."""
    wide = _framed(picture, round(0.2 * max(picture.size)), paper(picture))
    return _with_lines(wide, rng, _box(wide, rng, 0.05, 0.12))


def underline(picture: Image.Image, rng: Random) -> Image.Image:
    """A line below the digit."""
    wide = _framed(picture, round(0.15 * max(picture.size)), paper(picture))
    left, _, right, bottom = ink_box(wide)
    y, slope = bottom + 0.05 * wide.height, rng.normal(0, 0.02) * wide.width
    return _with_lines(wide, rng, [(left - 5, y, right + 5, y + slope)])


def two_underlines(picture: Image.Image, rng: Random) -> Image.Image:
    """Two lines below the digit."""
    wide = _framed(picture, round(0.2 * max(picture.size)), paper(picture))
    left, _, right, bottom = ink_box(wide)
    over = 0.1 * wide.width
    lines = [
        (left - over, y, right + over, y)
        for y in (bottom + 0.05 * wide.height, bottom + 0.1 * wide.height)
    ]
    return _with_lines(wide, rng, lines)


def comb(picture: Image.Image, rng: Random) -> Image.Image:
    """A form's box without its upper half."""
    wide = _framed(picture, round(0.2 * max(picture.size)), paper(picture))
    left, right = 0.08 * wide.width, 0.92 * wide.width
    top, bottom = 0.6 * wide.height, 0.9 * wide.height
    sides = [(left, top, left, bottom), (left, bottom, right, bottom), (right, bottom, right, top)]
    return _with_lines(wide, rng, sides)


def dashed_box(picture: Image.Image, rng: Random) -> Image.Image:
    """A box of dashes around the digit."""
    wide = _framed(picture, round(0.2 * max(picture.size)), paper(picture))
    width, height = wide.size
    dashes = []
    for start in np.arange(0.08, 0.92, 0.06).tolist():
        for line in (0.08, 0.92):
            end = start + 0.03
            dashes += [
                (start * width, line * height, end * width, line * height),
                (line * width, start * height, line * width, end * height),
            ]
    return _with_lines(wide, rng, dashes)


def punched_holes(picture: Image.Image, rng: Random) -> Image.Image:
    """Two holes at the left, to file the paper."""
    wide = _framed(picture, round(0.15 * max(picture.size)), paper(picture))
    x, radius = 0.08 * wide.width, 0.05 * min(wide.size)
    return _with_discs(wide, [(x, share * wide.height, radius) for share in (0.25, 0.75)])


def dirt(picture: Image.Image, rng: Random) -> Image.Image:
    """25 specks."""
    places = rng.uniform(0, 1, (25, 2)) * picture.size
    radii = rng.uniform(0.002, 0.012, 25) * max(picture.size)
    return _with_discs(picture, [(x, y, r) for (x, y), r in zip(places, radii, strict=True)])


def lined(picture: Image.Image, rng: Random) -> Image.Image:
    """Lined paper."""
    lines = _ruled(picture, rng)
    return _with_lines(picture, rng, lines, strength=rng.uniform(0.25, 0.6), thickness=0.008)


def crossed(picture: Image.Image, rng: Random) -> Image.Image:
    """Black lines, from one edge to the other, across the digit."""
    return _with_lines(picture, rng, _ruled(picture, rng))


def red_on_green(picture: Image.Image, rng: Random) -> Image.Image:
    """Red ink on green paper of the same brightness."""
    grey = np.asarray(picture.convert("L"), np.float32)
    distance = np.abs(np.median(grey) - grey)
    ink = (distance / max(1.0, float(distance.max())))[..., None]
    luma = np.array([0.299, 0.587, 0.114])
    green, red = np.array([110.0, 180.0, 110.0]), np.array([230.0, 118.0, 118.0])
    return _image(green * (1 - ink) + red * (green @ luma) / (red @ luma) * ink)


def cut_tight(picture: Image.Image, rng: Random) -> Image.Image:
    """Cut to the ink."""
    left, top, right, bottom = ink_box(picture)
    return picture.crop((left, top, right + 1, bottom + 1))


def hard_shadow(picture: Image.Image, rng: Random) -> Image.Image:
    """The edge of a shadow, across the image."""
    return _darkened(picture, rng.uniform(0.3, 0.55) * _half(picture, rng, 0.004))


def soft_shadow(picture: Image.Image, rng: Random) -> Image.Image:
    """A shadow with a soft edge."""
    return _darkened(picture, rng.uniform(0.3, 0.6) * _half(picture, rng, 0.05))


def light_from_one_side(picture: Image.Image, rng: Random) -> Image.Image:
    """40 to 70 % darker at one side."""
    return _darkened(picture, rng.uniform(0.4, 0.7) * _half(picture, rng, 0.25))


def dark_corners(picture: Image.Image, rng: Random) -> Image.Image:
    """Corners that are 40 to 75 % darker, by a lens."""
    width, height = picture.size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot(x / width - 0.5, y / height - 0.5) / math.sqrt(0.5)
    return _darkened(picture, rng.uniform(0.4, 0.75) * radius**3)


def tiny(picture: Image.Image, rng: Random) -> Image.Image:
    """The digit is 12 pixels high."""
    _, top, _, bottom = ink_box(picture)
    scale = 12 / (bottom - top + 1)
    width, height = (max(4, round(scale * side)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


SURROUNDINGS: dict[str, Surrounding] = {
    way.__name__: way
    for way in (
        *(table, turned, strip_of_table, frame, box, comb, dashed_box),
        *(underline, two_underlines, lined, crossed, punched_holes, dirt),
        *(red_on_green, cut_tight),
        *(hard_shadow, soft_shadow, light_from_one_side, dark_corners, tiny),
    )
}


def paper(picture: Image.Image) -> Colour:
    """The most common colour of the picture's edge."""
    pixels = np.asarray(picture)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in np.median(edge, axis=0))
    return red, green, blue


def ink_box(picture: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the ink."""
    distance = np.abs(np.asarray(picture, np.float32) - paper(picture)).sum(axis=2)
    y, x = np.nonzero(distance > 0.4 * np.quantile(distance, 0.998))
    ends = (
        np.quantile(x, 0.002),
        np.quantile(y, 0.002),
        np.quantile(x, 0.998),
        np.quantile(y, 0.998),
    )
    left, top, right, bottom = (int(end) for end in ends)
    return left, top, right, bottom


def _times(colour: Colour, share: float) -> Colour:
    red, green, blue = (int(share * value) for value in colour)
    return red, green, blue


def _framed(picture: Image.Image, margin: int, colour: Colour) -> Image.Image:
    whole = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), colour)
    whole.paste(picture, (margin, margin))
    return whole


def _box(
    picture: Image.Image, rng: Random, low: float, high: float
) -> list[tuple[float, float, float, float]]:
    """The four sides of a box, by hand; `low` and `high` are its margins, shares of the picture."""
    width, height = picture.size
    left, top, right, bottom = rng.uniform(low, high, 4)
    corners = np.array([(left, top), (1 - right, top), (1 - right, 1 - bottom), (left, 1 - bottom)])
    x, y = ((corners + rng.normal(0, 0.005, (4, 2))) * (width - 1, height - 1)).T
    return [(x[i - 1], y[i - 1], x[i], y[i]) for i in range(4)]


def _ruled(picture: Image.Image, rng: Random) -> list[tuple[float, float, float, float]]:
    """Lines from the left edge to the right, that slope a little."""
    gap = rng.uniform(0.12, 0.3) * picture.height
    slope = rng.normal(0, 0.01) * picture.width
    rows = np.arange(rng.uniform(0, gap), picture.height, gap)
    return [(0.0, float(y), float(picture.width), float(y + slope)) for y in rows]


def _with_lines(
    picture: Image.Image,
    rng: Random,
    lines: list[tuple[float, float, float, float]],
    strength: float = 0.9,
    thickness: float = 0.015,
) -> Image.Image:
    """Draw lines in the colour of the ink; thickness is a share of the picture's shorter side."""
    mask = Image.new("L", picture.size)
    width = max(1, round(rng.uniform(0.6, 1.4) * thickness * min(picture.size)))
    for line in lines:
        ImageDraw.Draw(mask).line(line, 255, width)
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.7)), np.float32)[..., None] / 255
    return _image(np.asarray(picture) * (1 - strength * soft))


def _with_discs(picture: Image.Image, discs: list[tuple[float, float, float]]) -> Image.Image:
    """Draw dark discs: x, y and radius of each."""
    drawn = picture.copy()
    for x, y, radius in discs:
        ImageDraw.Draw(drawn).ellipse(
            (x - radius, y - radius, x + radius, y + radius), (35, 35, 35)
        )
    return drawn


def _half(picture: Image.Image, rng: Random, width: float) -> Float32Array:
    """From 0 on one side of a line to 1 on the other; `width` is that of the slope between them."""
    angle, offset = rng.uniform(0, 2 * math.pi), rng.uniform(-0.25, 0.25)
    y, x = np.mgrid[: picture.height, : picture.width].astype(np.float32)
    side = (x / picture.width - 0.5) * math.cos(angle) + (y / picture.height - 0.5) * math.sin(
        angle
    )
    half: Float32Array = 1 / (1 + np.exp(np.clip((offset - side) / width, -50, 50)))
    return half


def _darkened(picture: Image.Image, share: Float32Array) -> Image.Image:
    return _image(np.asarray(picture) * (1 - share[..., None]))


def _image(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.round(levels), 0, 255).astype(np.uint8))
