"""Accuracy on the test images as people's image files: python -m benchmarks.photos [--photos DIR]

Each MNIST test image becomes an image file, in several ways, one at a time and all together. Then
digits.imaging reads the file, and models/digit-classifier classifies it. Images that show no single
digit: how many are refused, and how many are classified with a high confidence.

The first 1,000 test images, as ink on paper, are also made harder in the ways in which photos are
hard (benchmarks/surroundings.py). With --photos, so are your own: DIR/<class>/*, one digit each.
"""

import io
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from benchmarks import measure
from benchmarks.surroundings import SURROUNDINGS, Surrounding
from digits.core import command_line, errors
from digits.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array, UInt8Array
from digits.core.errors import InputError
from digits.core.workers import count_workers
from digits.data import dataset
from digits.evaluation import metrics
from digits.imaging import decoding, model_form
from digits.imaging.preprocessing import Preprocessing
from digits.model.classifier import Classifier

Random = np.random.Generator
Way = Callable[["Photo", Random], "Photo"]
Other = Callable[[UInt8Array, Random], bytes]

MODEL = measure.ROOT / "models" / "digit-classifier"
CHUNK = 100  # images that a process takes at once
N_OTHERS = 1000
SURE = 0.9  # confidence


@dataclass(frozen=True)
class Photo:
    """A picture, float32 (height, width) in [0, 1], 0 is the background; and how it is stored."""

    ink: Float32Array
    light: float = 1.0  # grey value of the ink
    ground: float = 0.0  # grey value of the background
    shade: float = 0.0  # share of the light that is missing at the right
    noise: float = 0.0  # standard deviation
    format: str = "PNG"
    alpha: bool = False
    orientation: int = 1

    def file(self) -> bytes:
        content = io.BytesIO()
        picture = self.picture()
        turn = decoding.TRANSPOSE.get(self.orientation)
        if turn is not None:
            picture = picture.transpose(UNDONE.get(turn, turn))
        exif = Image.Exif()
        exif[decoding.ORIENTATION] = self.orientation
        picture.save(content, self.format, exif=exif, quality=75)
        return content.getvalue()

    def picture(self) -> Image.Image:
        if self.alpha:
            colour = np.full_like(self.ink, self.light)
            layers = np.stack([colour, colour, colour, self.ink], axis=-1)
            return Image.fromarray(np.round(255 * layers).astype(np.uint8))
        grey = self.ground + (self.light - self.ground) * self.ink
        grey = grey * (1 - self.shade * np.linspace(0, 1, grey.shape[1], dtype=np.float32))
        grey += self.noise * np.random.default_rng(0).standard_normal(grey.shape, np.float32)
        return Image.fromarray(np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8))


UNDONE = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}


def as_it_is(photo: Photo, rng: Random) -> Photo:
    """A PNG of 28 x 28."""
    return photo


def inverted(photo: Photo, rng: Random) -> Photo:
    """Dark ink on a light background."""
    return replace(photo, light=0.0, ground=1.0)


def larger(photo: Photo, rng: Random) -> Photo:
    """3 to 20 times as large."""
    return replace(photo, ink=scaled(photo.ink, rng.uniform(3, 20)))


def scaled(ink: Float32Array, factor: float) -> Float32Array:
    height, width = (round(factor * side) for side in ink.shape)
    picture = Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC)
    result: Float32Array = np.clip(np.asarray(picture), 0, 1)
    return result


def off_centre(photo: Photo, rng: Random) -> Photo:
    """Anywhere on a sheet of 1.2 to 2 times the height and the width."""
    sides = [round(side * rng.uniform(1.2, 2)) for side in photo.ink.shape]
    sheet = np.zeros(sides, np.float32)
    top, left = (rng.integers(s - t + 1) for s, t in zip(sides, photo.ink.shape, strict=True))
    sheet[top : top + photo.ink.shape[0], left : left + photo.ink.shape[1]] = photo.ink
    return replace(photo, ink=sheet)


def grey_ground(photo: Photo, rng: Random) -> Photo:
    """Ink and background differ by 0.3 to 0.7 of the whole range; either may be the lighter."""
    ground = rng.uniform(0.25, 0.75)
    contrast = rng.uniform(0.3, 0.7) * (1 if ground < 0.5 else -1)
    return replace(photo, ground=ground, light=min(max(ground + contrast, 0), 1))


def jpeg(photo: Photo, rng: Random) -> Photo:
    """A JPEG file of quality 75."""
    return replace(photo, format="JPEG")


def alpha(photo: Photo, rng: Random) -> Photo:
    """Black or white ink on a transparent background."""
    return replace(photo, format="PNG", alpha=True, light=float(rng.integers(2)))


def turned(photo: Photo, rng: Random) -> Photo:
    """Stored turned or mirrored; EXIF says how."""
    return replace(photo, orientation=int(rng.integers(2, 9)))


def badly_lit(photo: Photo, rng: Random) -> Photo:
    """Dark ink on grey paper, 40 % darker at the right, with the noise of a sensor."""
    return replace(photo, ground=0.7, light=0.15, shade=0.4, noise=0.02)


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (as_it_is, inverted, larger, off_centre, grey_ground, jpeg, alpha, turned, badly_lit)
}


def all_together(photo: Photo, rng: Random) -> Photo:
    """Larger, off-centre and turned; then grey and JPEG, or transparent (which JPEG cannot be)."""
    for way in (larger, off_centre, turned):
        photo = way(photo, rng)
    if rng.integers(2):
        return alpha(photo, rng)
    return jpeg(grey_ground(photo, rng), rng)


# Images that show no single digit.


def blank(clean: UInt8Array, rng: Random) -> bytes:
    """Grey paper, with the noise of a sensor."""
    nothing = Photo(np.zeros((200, 200), np.float32), ground=rng.uniform(0.3, 1), noise=0.02)
    return replace(nothing, format="JPEG").file()


def two_digits(clean: UInt8Array, rng: Random) -> bytes:
    """Two test images next to each other, dark on light."""
    pair = [
        larger(Photo(clean[i].astype(np.float32) / 255), np.random.default_rng(0))
        for i in rng.integers(len(clean), size=2)
    ]
    return replace(pair[0], ink=np.hstack([photo.ink for photo in pair]), light=0, ground=1).file()


def noise(clean: UInt8Array, rng: Random) -> bytes:
    """Random pixels."""
    return Photo(rng.random((200, 200), np.float32)).file()


def crop_of_a_photo(clean: UInt8Array, rng: Random) -> bytes:
    """A square part of one of scikit-learn's two photos, a temple and a flower."""
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image(("china.jpg", "flower.jpg")[rng.integers(2)]))
    side = int(rng.integers(100, 400))
    left, top = (int(rng.integers(length - side)) for length in photo.size)
    return encoded(photo.crop((left, top, left + side, top + side)), "JPEG")


def half(clean: UInt8Array, rng: Random) -> bytes:
    """One side of a test image, dark on light. To a person, too, many of these are digits."""
    image = np.rot90(clean[rng.integers(len(clean))], side := int(rng.integers(4)))
    part = Photo(np.rot90(image[:14], -side).astype(np.float32) / 255, light=0, ground=1)
    return replace(part, ink=np.pad(scaled(part.ink, 8), 20)).file()


def letter(clean: UInt8Array, rng: Random) -> bytes:
    """A letter that no digit looks like, dark on light, turned a little; in Pillow's own font."""
    picture = Image.new("L", (200, 200), 255)
    text, font = str(rng.choice(list(LETTERS))), ImageFont.load_default(rng.uniform(70, 150))
    ImageDraw.Draw(picture).text((100, 100), text, 0, font, "mm")
    return encoded(picture.rotate(rng.uniform(-10, 10), fillcolor=255), "PNG")


def scribble(clean: UInt8Array, rng: Random) -> bytes:
    """A dark line through 6 to 13 random points."""
    picture = Image.new("L", (200, 200), 255)
    points = [(x, y) for x, y in rng.integers(20, 180, (rng.integers(6, 14), 2)).tolist()]
    ImageDraw.Draw(picture).line(points, 0, 6, "curve")
    return encoded(picture, "PNG")


def encoded(picture: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()


LETTERS = "ACEFGHJKLMNPQRTUVWXYadefhkmnrtuvwxy"
OTHERS = {
    way.__name__: way for way in (blank, two_digits, noise, crop_of_a_photo, half, letter, scribble)
}


def main() -> None:
    parser = command_line.parser("benchmarks.photos", __doc__)
    parser.add_argument("--photos", metavar="DIR", type=Path, help="your own: DIR/<class>/*")
    args = parser.parse_args()
    model = Classifier.load(MODEL)
    if args.photos:
        photos = read_folder(args.photos)
        print(f"{len(photos):,} photos of {args.photos}")
        rows = measure_surroundings(model, photos)
        measure.save("own_photos", {"surroundings": rows, "surely": SURE, "model": model.id})
        return
    test = dataset.load(measure.PREPARED, "test")
    clean = model.logits(test.images, count_workers()).argmax(axis=1) == test.labels
    print(f"{'arrays':<16} {clean.mean():.2%} of {len(test):,} correct")
    ways = {}
    for name, way in {**WAYS, "all_together": all_together}.items():
        predicted, _ = answers(model, partial(from_digit, way, test.images), len(test))
        ways[name] = compared(clean, predicted == test.labels)
        ways[name]["refused"] = int((predicted < 0).sum())
        print(
            "{:<16} {accuracy:.2%} correct, {change:+.2%} ± {error:.2%}".format(name, **ways[name])
        )
    others = {}
    for name, other in OTHERS.items():
        predicted, confidence = answers(model, partial(from_other, other, test.images), N_OTHERS)
        others[name] = {
            "images": N_OTHERS,
            "refused": float((predicted < 0).mean()),
            "sure": float((confidence >= SURE).mean()),
        }
        print(
            "{:<16} {refused:.1%} refused, {sure:.1%} with confidence".format(name, **others[name])
        )
    papers = [(on_paper(test.images[i], i), str(test.labels[i])) for i in range(N_OTHERS)]
    results = {
        "images": len(test),
        "arrays": float(clean.mean()),
        "ways": ways,
        "others": others,
        "surroundings": measure_surroundings(model, papers),
    }
    measure.save("photos", results | {"surely": SURE, "model": model.id})


def on_paper(image: UInt8Array, seed: int) -> Image.Image:
    """A test image as dark ink on paper, 200 pixels high, with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(np.pad(image, 4)).resize((200, 200), Image.Resampling.BICUBIC)
    ink = np.asarray(picture, np.float32)[..., None] / 255
    colours = rng.uniform(190, 245, 3) * (1 - ink) + rng.uniform(10, 90, 3) * ink
    return Image.fromarray(
        np.clip(colours + rng.normal(0, 3, colours.shape), 0, 255).astype(np.uint8)
    )


def read_folder(folder: Path) -> list[tuple[Image.Image, str]]:
    """The images of a folder, upright, their longer side 200 to 600 pixels, with their classes."""
    photos = []
    for path in sorted(folder.glob("*/*")):
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGBA")
        opaque = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        longer = max(opaque.size)
        scale = min(max(longer, 200), 600) / longer
        width, height = (max(1, round(scale * side)) for side in opaque.size)
        photos.append((opaque.resize((width, height)).convert("RGB"), path.parent.name))
    if not photos:
        raise InputError(f"{folder} has no images; expected {folder}/<class>/*")
    return photos


def measure_surroundings(
    model: Classifier, photos: list[tuple[Image.Image, str]]
) -> dict[str, dict[str, float]]:
    """As they are and made harder in each way: the shares that are right, refused, and wrong."""
    labels = np.array([model.classes.index(label) for _, label in photos])
    rows = {}
    for name, way in {"as_they_are": None, **SURROUNDINGS}.items():
        make = partial(from_photo, way, [picture for picture, _ in photos])
        predicted, confidence = answers(model, make, len(photos))
        is_wrong = (predicted >= 0) & (predicted != labels)
        rows[name] = {
            "images": len(photos),
            "right": float((predicted == labels).mean()),
            "refused": float((predicted < 0).mean()),
            "sure_and_wrong": float((is_wrong & (confidence >= SURE)).mean()),
        }
        print(
            "{:<20} {right:.1%} right, {refused:.1%} refused, {sure_and_wrong:.1%} wrong with "
            "confidence".format(name, **rows[name])
        )
    return rows


def from_photo(
    way: Surrounding | None, photos: list[Image.Image], form: Preprocessing, i: int
) -> UInt8Array | None:
    content = io.BytesIO()
    picture = way(photos[i], np.random.default_rng(i)) if way else photos[i]
    picture.save(content, "JPEG", quality=90)
    return read(content.getvalue(), form)


def compared(clean: BoolArray, correct: BoolArray) -> dict[str, float]:
    """Accuracy, and its difference from `clean` on the same images, with the standard error."""
    change = correct.astype(float) - clean
    return {
        "accuracy": float(correct.mean()),
        "change": float(change.mean()),
        "error": float(change.std() / math.sqrt(len(change))),
    }


def answers(
    model: Classifier, make: Callable[[Preprocessing, int], UInt8Array | None], n: int
) -> tuple[Int64Array, Float64Array]:
    """Classes and confidences of n images; -1 and 0 for those that are refused."""
    with ProcessPoolExecutor(count_workers()) as pool:
        images = list(pool.map(partial(make, model.preprocessing), range(n), chunksize=CHUNK))
    predicted, confidence = np.full(n, -1), np.zeros(n)
    kept = [i for i, image in enumerate(images) if image is not None]
    if kept:
        arrays = np.stack([image for image in images if image is not None])
        probabilities = metrics.softmax(model.logits(arrays))
        predicted[kept], confidence[kept] = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return predicted, confidence


def from_digit(way: Way, clean: UInt8Array, form: Preprocessing, i: int) -> UInt8Array | None:
    photo = way(Photo(clean[i].astype(np.float32) / 255), np.random.default_rng(i))
    return read(photo.file(), form)


def from_other(other: Other, clean: UInt8Array, form: Preprocessing, i: int) -> UInt8Array | None:
    return read(other(clean, np.random.default_rng(i)), form)


def read(content: bytes, form: Preprocessing) -> UInt8Array | None:
    try:
        return model_form.read(content, form)
    except InputError:
        return None


if __name__ == "__main__":
    errors.run(main)
