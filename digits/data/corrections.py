"""Images that people have labelled since: what is learnt from beside a source's own.

A CSV file, small enough for Git, has a line an image: the sha256 of its pixels, its label, and
where it came from. The images, in the model's form, lie in the folder of the same name:
`corrections.csv`, `corrections/<sha256>.png`. So a change reads as a diff, and to add one twice
adds it once.
"""

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from digits.core import files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.data.dataset import Labelled, Raw
from digits.imaging import decoding

COLUMNS = ("sha256", "label", "origin")


@dataclass(frozen=True)
class Correction:
    """A line of the file: the digest of an image's pixels, what a person said it is, its origin."""

    sha256: str
    label: str
    origin: str


@dataclass(frozen=True)
class Added:
    """What came of adding corrections to the training images."""

    train: Labelled
    used: int
    known: int  # left out: among the source's training images already
    test: int  # left out: test images


def read(path: Path) -> dict[str, Correction]:
    """The lines of the file, by digest, in the digests' order.

    Raises
    ------
    InputError
        If the file is absent or no such table, or an image stands in it with two labels.
    """
    found: dict[str, Correction] = {}
    for number, row in enumerate(rows(path, COLUMNS), start=2):
        each = Correction(*(row[column] for column in COLUMNS))
        _agree(found.setdefault(each.sha256, each), each, f"{path}, line {number}")
    return dict(sorted(found.items()))


def rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that has these columns; raises `InputError` if it is no such file."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        found = list(reader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not CSV: {error}") from None
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{path}: its first line is {', '.join(reader.fieldnames or ()) or 'empty'}; expected "
            f"columns {', '.join(columns)}"
        )
    for number, row in enumerate(found, start=2):
        if None in row or None in row.values():
            raise InputError(
                f"{path}, line {number}: expected {len(reader.fieldnames or ())} fields"
            )
    return found


def write(path: Path, labelled: Iterable[tuple[UInt8Array, str, str]]) -> tuple[int, int]:
    """Add images with their labels and origins; how many are new, and how many there are.

    Raises
    ------
    InputError
        If one is there, or given, with another label. Then nothing is changed.
    """
    found = read(path)
    pictures = {}
    for pixels, label, origin in labelled:
        each = Correction(_digest(pixels), label, origin)
        if each.sha256 not in found:
            pictures[each.sha256] = pixels
        _agree(found.setdefault(each.sha256, each), each, origin)
    for sha256, pixels in pictures.items():
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        files.write(_picture(path, sha256), content.getvalue())
    lines = [vars(found[sha256]) for sha256 in sorted(found)]
    files.write(path, files.csv_table(lines, COLUMNS))
    return len(pictures), len(found)


def load(path: Path, size: tuple[int, int]) -> dict[Correction, UInt8Array]:
    """The images, uint8 (height, width) each.

    Raises
    ------
    InputError
        As `read`, and if an image is absent, not the one that was labelled, or of another size.
    """
    found = {}
    for each in read(path).values():
        file = _picture(path, each.sha256)
        if not file.is_file():
            raise InputError(f"{file} is not here. DVC has it: dvc checkout, or dvc pull")
        try:
            pixels = decoding.decode(file.read_bytes())
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        if _digest(pixels) != each.sha256:
            raise InputError(f"{file} is not the image that was labelled. Bring it: dvc checkout")
        if pixels.shape != size:
            raise InputError(
                f"{file} has {pixels.shape[0]} x {pixels.shape[1]} pixels, the images of "
                f"data.source {size[0]} x {size[1]}: it was labelled for other data. Take its line "
                f"out of {path}"
            )
        found[each] = pixels
    return found


def add(train: Labelled, corrections: dict[Correction, UInt8Array], raw: Raw) -> Added:
    """Put corrections behind the training images.

    One that is a test image, pixel for pixel, is left out, and so is one that is among the source's
    training images, the ones for validation included.

    Raises
    ------
    InputError
        If a label is no class, or a training image of the same pixels has another one.
    """
    classes = raw.source.classes
    tests = {image.tobytes() for image in raw.test.images}
    known = {image.tobytes(): i for i, image in enumerate(raw.train.images)} if corrections else {}
    new: list[tuple[UInt8Array, int]] = []
    in_test = in_train = 0
    for each, pixels in corrections.items():
        if each.label not in classes:
            raise InputError(
                f"{each.origin} ({each.sha256}.png) was labelled {each.label!r}; expected one of: "
                f"{', '.join(classes)}"
            )
        same = known.get(pixels.tobytes())
        if pixels.tobytes() in tests:
            in_test += 1
        elif same is None:
            new.append((pixels, classes.index(each.label)))
        elif classes[raw.train.labels[same]] == each.label:
            in_train += 1
        else:
            raise InputError(
                f"{each.origin} ({each.sha256}.png) was labelled {each.label!r}, but is, pixel for "
                f"pixel, training image {same}, which is {classes[raw.train.labels[same]]!r}"
            )
    if new:
        train = Labelled(
            np.concatenate([train.images, [pixels for pixels, _ in new]]),
            np.concatenate([train.labels, np.array([label for _, label in new], np.uint8)]),
        )
    return Added(train, len(new), in_train, in_test)


def require_pictures(path: Path) -> None:
    """Raises `InputError` unless all images are here: DVC would take the rest for removed."""
    for sha256 in read(path):
        if not _picture(path, sha256).is_file():
            raise InputError(f"{_picture(path, sha256)} is not here. Bring it first: dvc pull")


def _agree(before: Correction, now: Correction, where: str) -> None:
    if before.label != now.label:
        raise InputError(
            f"{where}: labelled {now.label!r}, but the same image is {before.label!r} as "
            f"{before.origin}"
        )


def _digest(pixels: UInt8Array) -> str:
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _picture(path: Path, sha256: str) -> Path:
    return path.with_suffix("") / f"{sha256}.png"
