"""A data set of one's own: twelve classes of drawn shapes, in colour, taller than wide.

Example:

    write_shapes(tmp_path / "own")           # own/train/<class>/*.png, own/test/<class>/*.png
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 32, 24
Draw = Callable[[ImageDraw.ImageDraw, int, int, int, str], object]


def _lines(step_x: int, step_y: int) -> Draw:
    def draw(d: ImageDraw.ImageDraw, x: int, y: int, r: int, ink: str) -> None:
        for at in range(0, HEIGHT + WIDTH, 6):
            if step_x:
                d.line([(at + x % 6, 0), (at + x % 6 + step_x - 1, HEIGHT)], ink, 2)
            if step_y:
                d.line([(0, at + y % 6), (WIDTH, at + y % 6 + step_y - 1)], ink, 2)

    return draw


SHAPES: dict[str, Draw] = {
    "bar": lambda d, x, y, r, ink: d.rectangle([x - r, y - 2, x + r, y + 2], ink),
    "box": lambda d, x, y, r, ink: d.rectangle([x - r, y - r, x + r, y + r], ink),
    "cross": lambda d, x, y, r, ink: (
        d.line([(x - r, y - r), (x + r, y + r)], ink, 2),
        d.line([(x - r, y + r), (x + r, y - r)], ink, 2),
    ),
    "disc": lambda d, x, y, r, ink: d.ellipse([x - r, y - r, x + r, y + r], ink),
    "empty frame": lambda d, x, y, r, ink: d.rectangle([x - r, y - r, x + r, y + r], None, ink, 2),
    "horizontal stripes": _lines(0, 1),
    "lattice": _lines(1, 1),
    "pole": lambda d, x, y, r, ink: d.rectangle([x - 2, y - r, x + 2, y + r], ink),
    "ring": lambda d, x, y, r, ink: d.ellipse([x - r, y - r, x + r, y + r], None, ink, 2),
    "triangle, upright": lambda d, x, y, r, ink: d.polygon(
        [(x - r, y + r), (x + r, y + r), (x, y - r)], ink
    ),
    "triangle, upside down": lambda d, x, y, r, ink: d.polygon(
        [(x - r, y - r), (x + r, y - r), (x, y + r)], ink
    ),
    "vertical stripes": _lines(1, 0),
}


def draw(name: str, seed: int, scale: int = 1, paper: str = "black") -> Image.Image:
    """One image of a class; the same seed gives the same one, at any scale much the same."""
    rng = np.random.default_rng([list(SHAPES).index(name), seed])
    image = Image.new("RGB", (WIDTH, HEIGHT), paper)
    x, y, r = (int(rng.integers(*span)) for span in ((10, 14), (13, 19), (6, 9)))
    light = paper == "black"
    channels = rng.integers(170, 256, 3) if light else rng.integers(0, 60, 3)
    SHAPES[name](ImageDraw.Draw(image), x, y, r, "rgb({},{},{})".format(*channels))
    noisy = np.asarray(image) + rng.normal(0, 8, (HEIGHT, WIDTH, 3))
    found = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return found.resize((scale * WIDTH, scale * HEIGHT))


def write_shapes(folder: Path, train: int = 30, test: int = 12) -> None:
    """`train/<class>/` and `test/<class>/` with so many images in each; every third is a WebP."""
    for part, count, first in (("train", train, 0), ("test", test, 10_000)):
        for name in SHAPES:
            (folder / part / name).mkdir(parents=True)
            for i in range(first, first + count):
                suffix = "webp" if i % 3 == 2 else "png"
                draw(name, i).save(folder / part / name / f"{i:05}.{suffix}")
