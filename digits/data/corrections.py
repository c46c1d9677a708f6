"""Corrections: images that people label later, for training in addition to the source's own.

A CSV file, small enough for Git, has one line for each image: the sha256 of its pixels, its label
and its origin. The images, in the model's form, are in the folder of the same name:
`corrections.csv`, `corrections/<sha256>.png`. So a change is a readable diff, and an image that is
added twice is stored once.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
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
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Correction:
    """A line of the file: the digest of an image's pixels, the label by a person, the origin."""

    sha256: str
    label: str
    origin: str


@dataclass(frozen=True)
class Added:
    """The training images with corrections added, and the number added and left out."""

    train: Labelled
    used: int
    known: int  # left out: already among the source's training images
    test: int  # left out: also test images


def read(path: Path) -> dict[str, Correction]:
    """Read the lines of the file: digest -> correction, sorted by digest.

    Raises `InputError` if the file is absent, has other columns, or has two labels for one image.
    """
    corrections: dict[str, Correction] = {}
    for number, row in enumerate(rows(path, COLUMNS), start=2):
        new = Correction(*(row[column] for column in COLUMNS))
        known = corrections.setdefault(new.sha256, new)
        _check_same_label(known, new, f"{path}, line {number}", "Remove one of the two lines")
    return dict(sorted(corrections.items()))


def rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a CSV file that has these columns; raises `InputError` if it is absent or has others."""
    try:
        text = path.read_text("utf-8-sig")
        delimiter = files.csv_delimiter(text.partition("\n")[0])
        lines = io.StringIO(text, newline="")
        reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        table = list(reader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not CSV: {error}") from None
    missing = [column for column in columns if column not in reader.fieldnames]
    if missing:
        raise InputError(
            f"{path}: the first line is {', '.join(reader.fieldnames) or 'empty'}; expected "
            f"columns {', '.join(columns)}"
        )
    for number, row in enumerate(table, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}, line {number}: expected {len(reader.fieldnames)} fields")
    return table


def find_class(label: str, classes: Sequence[str]) -> str | None:
    """The class that a label names, None if there is none.

    Blanks around the label do not count, and numbers are compared as numbers: pandas writes 7 as
    7.0 if the column has gaps, and 07 as 7.
    """
    label = label.strip()
    if label in classes:
        return label
    same = [name for name in classes if _is_same_label(name, label)]
    return same[0] if len(same) == 1 else None


def write(path: Path, labelled: Iterable[tuple[UInt8Array, str, str]]) -> tuple[int, int]:
    """Add images to the file and its folder.

    Parameters
    ----------
    path : the CSV file
    labelled : image uint8 (height, width), label, origin

    Returns
    -------
    number of images added, and of all images in the file

    Raises
    ------
    InputError
        If an image already has another label, in the file or in `labelled`. Then nothing is
        written.
    """
    corrections = read(path)
    added = {}
    for pixels, label, origin in labelled:
        new = Correction(image_digest(pixels), label, origin)
        if new.sha256 not in corrections:
            added[new.sha256] = pixels
        known = corrections.setdefault(new.sha256, new)
        _check_same_label(known, new, origin, f"Leave one out; earlier labels are in {path}")
    for sha256, pixels in added.items():
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        files.write(_image_file(path, sha256), content.getvalue())
    lines = [vars(corrections[sha256]) for sha256 in sorted(corrections)]
    files.write(path, files.csv_table(lines, COLUMNS))
    return len(added), len(corrections)


def load(path: Path, size: tuple[int, int]) -> dict[Correction, UInt8Array]:
    """Read the images, uint8 (height, width) of the given size.

    Raises `InputError` as `read`, and if an image is absent, has other pixels than were labelled,
    or another size.
    """
    images = {}
    for correction in read(path).values():
        file = _image_file(path, correction.sha256)
        _check_exists(file)
        try:
            pixels = decoding.grey(decoding.decode(file.read_bytes()))
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        if image_digest(pixels) != correction.sha256:
            raise InputError(f"{file} is not the image that was labelled. Restore it: dvc checkout")
        if pixels.shape != size:
            raise InputError(
                f"{file} has {pixels.shape[0]} x {pixels.shape[1]} pixels, but the images of "
                f"data.source have {size[0]} x {size[1]}: it was labelled for other data. Remove "
                f"its line from {path}"
            )
        images[correction] = pixels
    return images


def add(train: Labelled, corrections: dict[Correction, UInt8Array], raw: Raw) -> Added:
    """Append corrections to the training images.

    A correction with the same pixels as a test image is left out, and so is one with the same
    pixels as one of the source's training images, including those set apart for validation.

    Parameters
    ----------
    train : the training images without those for validation
    corrections : from `load`
    raw : the data set that `train` is a part of

    Raises
    ------
    InputError
        If a label is not a class, or a training image with the same pixels has another label.
    """
    classes = raw.source.classes
    if not corrections:
        return Added(train, 0, 0, 0)
    test_images = {image.tobytes() for image in raw.test.images}
    train_images = {image.tobytes(): i for i, image in enumerate(raw.train.images)}
    new: list[tuple[UInt8Array, int]] = []
    in_test = in_train = 0
    for correction, pixels in corrections.items():
        name = f"{correction.origin} ({correction.sha256}.png)"
        label = find_class(correction.label, classes)
        if label is None:
            raise InputError(
                f"{name} is labelled {correction.label!r}; expected one of: {', '.join(classes)}"
            )
        same = train_images.get(pixels.tobytes())
        if pixels.tobytes() in test_images:
            in_test += 1
        elif same is None:
            new.append((pixels, classes.index(label)))
        elif classes[raw.train.labels[same]] == label:
            in_train += 1
        else:
            raise InputError(
                f"{name} is labelled {correction.label!r}, but training image {same} has the same "
                f"pixels and is labelled {classes[raw.train.labels[same]]!r}"
            )
    if new:
        train = Labelled(
            np.concatenate([train.images, [pixels for pixels, _ in new]]),
            np.concatenate([train.labels, np.array([label for _, label in new], np.uint8)]),
        )
    return Added(train, len(new), in_train, in_test)


def image_digest(pixels: UInt8Array) -> str:
    """sha256 over an image's height, width and pixels, uint8 (height, width)."""
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def check_images_exist(path: Path) -> None:
    """Raises `InputError` if an image is absent: DVC would record it as removed."""
    for sha256 in read(path):
        _check_exists(_image_file(path, sha256))


def _check_exists(file: Path) -> None:
    if not file.is_file():
        raise InputError(f"{file} does not exist. Get it from DVC: dvc checkout, or dvc pull")


def _check_same_label(known: Correction, new: Correction, where: str, way_out: str) -> None:
    if not _is_same_label(known.label.strip(), new.label.strip()):
        raise InputError(
            f"{where} is labelled {new.label!r}, but the same image is already labelled "
            f"{known.label!r} ({known.origin}). {way_out}"
        )


def _is_same_label(one: str, two: str) -> bool:
    if NUMBER.fullmatch(one) and NUMBER.fullmatch(two):
        return float(one) == float(two)
    return one == two


def _image_file(path: Path, sha256: str) -> Path:
    return path.with_suffix("") / f"{sha256}.png"
