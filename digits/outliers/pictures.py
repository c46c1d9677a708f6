"""Pictures that show none of the classes: strokes, letters, textures, parts of images, turned ones.

All are uint8 (CANVAS, CANVAS), and the same on every processor, as `digits.drawing.canvas` says.
"""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling, Transform, Transpose

from digits.core.arrays import BoolArray, Float64Array, UInt8Array
from digits.drawing.canvas import CANVAS, Random, enlarged, smooth

# Letters and signs that no handwritten digit looks like (so not O, I, l, S, Z and their like).
LATIN = "ACEFGHJKLMNPQRTUVWXYabdefhijkmnrptuvwxy&?#%@+*=<>{}[]~$"
GREEK = "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθκλμξπρσφχψω"
CYRILLIC = "БДЖИЙКЛПФЦЧШЩЪЫЬЭЮЯбвджзийклмнптфцчшщъыьэюя"
SIGNS = "¿§¶@€£¥ßæœþð∂∇∑∏√∞∫≈≠≤≥♠♣♥♦★☆←→↑↓"
# Fonts that Matplotlib brings along.
DEJAVU = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono")
STIX = ("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta")
COMPUTER_MODERN = ("cmr10", "cmss10", "cmtt10", "cmti10", "cmb10")
SCRIPTS = (  # each as often as it stands here
    *2 * ((LATIN, COMPUTER_MODERN + STIX + DEJAVU),),
    (GREEK + CYRILLIC, STIX + DEJAVU),
    (SIGNS, DEJAVU[:2]),
)


# From one or two images of a class.


def cut(rng: Random, one: UInt8Array, other: UInt8Array) -> UInt8Array:
    """An image on one side of one or two lines; beyond them nothing, or a part of another image."""
    side = _side(rng)
    if rng.integers(4) == 0:
        side &= _side(rng)
    return np.where(side, enlarged(one), 0 if rng.integers(5) else enlarged(other)).astype(np.uint8)


def turned(rng: Random, one: UInt8Array, _: UInt8Array) -> UInt8Array:
    """Turned by about a quarter to either side, or mirrored."""
    ways = (Transpose.FLIP_LEFT_RIGHT, Transpose.FLIP_TOP_BOTTOM)
    way = (*ways, Transpose.ROTATE_90, Transpose.ROTATE_270)[rng.integers(4)]
    picture = Image.fromarray(enlarged(one)).transpose(way)
    return np.asarray(picture.rotate(rng.uniform(-20, 20), Resampling.BILINEAR))


# From nothing.


def strokes(rng: Random, *_images: UInt8Array) -> UInt8Array:
    """One to four strokes, straight or bent, now and then closed or filled.

    They are between the points of a grid, as in most scripts, or anywhere, as in a scribble.
    """
    picture = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(picture)
    is_scribble = rng.integers(3) == 0
    pen = int(rng.integers(2, 9))
    cells = rng.integers(2, 5, 2)
    for _ in range(1 if is_scribble else rng.integers(1, 5)):
        if is_scribble:
            path = rng.uniform(0.1, 0.9, (rng.integers(4, 14), 2))
        else:
            path = 0.1 + 0.8 * rng.integers(0, cells + 1, (rng.integers(2, 6), 2)) / cells
        if is_closed := len(path) > 2 and rng.integers(3) == 0:
            path = np.concatenate([path, path[:1]])
        if len(path) > 2 and rng.integers(2):
            path = smooth(path)
        points = [(x, y) for x, y in (CANVAS * path).tolist()]
        if is_closed and rng.integers(4) == 0:
            draw.polygon(points, 255)
        draw.line(points, 255, pen, "curve")
    return np.asarray(picture)


def letter(rng: Random, *_images: UInt8Array) -> UInt8Array:
    """A letter or a sign in some font, bold or not, slanted, wide or narrow."""
    picture = Image.new("L", (CANVAS, CANVAS))
    letters, fonts = SCRIPTS[rng.integers(len(SCRIPTS))]
    font = _font(fonts[rng.integers(len(fonts))], int(rng.integers(26, 44)))
    text = letters[rng.integers(len(letters))]
    middle = CANVAS / 2
    bold = max(0, int(rng.integers(-2, 3)))
    ImageDraw.Draw(picture).text((middle, middle), text, 255, font, "mm", stroke_width=bold)
    (a, b), (c, d) = np.eye(2) + rng.uniform(-0.2, 0.2, (2, 2))
    shift = middle - middle * (a + b), middle - middle * (c + d)
    matrix = a, b, shift[0], c, d, shift[1]
    return np.asarray(
        picture.transform(picture.size, Transform.AFFINE, matrix, Resampling.BILINEAR)
    )


def texture(rng: Random, *_images: UInt8Array) -> UInt8Array:
    """Noise of some scales, with soft or hard edges."""
    noise = np.zeros((CANVAS, CANVAS))
    for cells in rng.choice([2, 3, 5, 8, 14, 28, CANVAS], int(rng.integers(1, 4)), replace=False):
        grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        how = Resampling.BICUBIC if rng.integers(3) else Resampling.NEAREST
        noise += rng.uniform(0.3, 1) * np.asarray(grid.resize((CANVAS, CANVAS), how))
    grey: Float64Array = rng.choice([100, 200, 400, 2000]) * (noise - rng.uniform(-0.6, 0.8))
    return grey.clip(0, 255).astype(np.uint8)


def _side(rng: Random) -> BoolArray:
    """One side of a line near the middle, often level or upright."""
    across, along = rng.uniform(-1, 1), rng.choice([-1, 1])
    if rng.integers(3):
        across *= 0.2
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, CANVAS)])
    if rng.integers(2):
        x, y = y, x
    side: BoolArray = along * x + across * y > rng.uniform(-0.5, 0.5)
    return side


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf"), size)
