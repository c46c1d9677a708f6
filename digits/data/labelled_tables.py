"""Read labelled images of a user from tables and arrays.

The innermost name that says so, of an array, its file or its folders, makes images train, test or
val. Images to validate on join those to train on: `prepare` chooses its own. If there are no
labelled images to test on, one of seven images of each class is set apart, chosen by its pixels.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from digits.core import files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError, first
from digits.data import column_files, dataset, image_folder, pixels, tables
from digits.data.array_files import part_of
from digits.data.column_files import NoPixels
from digits.data.dataset import Labelled, Raw, Source
from digits.data.image_reader import INK_BOX, Findings, Reader, find_method, image_files
from digits.data.pixels import Images, Label, Labels

GIVE_LABELS = "Give each image a label, or leave it out"


@dataclass(frozen=True)
class Found:
    """Images or labels that belong together, and where they are: a file, or an array in it."""

    name: str
    part: str | None  # train, val or test; None: no name says which
    images: Images | None = None
    labels: Labels | None = None


def holds_tables(folder: Path) -> bool:
    """Whether a folder holds a table, at any depth."""
    return any(True for _ in _table_files(folder))


def read(path: Path, size: tuple[int, int] | None, transpose: bool) -> Raw:
    """Read labelled images from a table, or a folder of tables.

    Parameters
    ----------
    path : the file or the folder
    size : height and width to fit images into; None if all images already have one size
    transpose : exchange rows and columns of each image

    Returns
    -------
    the data set; its notes say how each table was taken

    Raises
    ------
    InputError
        If a table is damaged or holds something else, images and labels do not match, an image
        can't be read, sizes differ, or a class has no images to train on or to test on.
    """
    notes: list[str] = []
    reader = Reader(size, transpose)
    with ExitStack() as stack:
        labelled = _labelled(path, _find(path, stack, notes), notes)
        try:
            training = [*labelled["train"], *labelled["val"], *labelled[None]]
            train = _read(reader, training, notes)
            test = _read(reader, labelled["test"], notes)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    reader.check(path)
    classes = _classes(path, train[1])
    parts = {"train": Labelled(train[0], _numbers(path, "train", train[1], classes))}
    if labelled["test"]:
        parts["test"] = Labelled(test[0], _numbers(path, "test", test[1], classes))
    else:
        parts["train"], parts["test"] = dataset.set_apart(parts["train"], classes)
        notes.append(f"no labelled images to test on: {dataset.note_of_apart(parts['test'])}")
    _check_classes(path, parts, classes)
    method = find_method(*(part.images for part in parts.values()))
    notes += [INK_BOX] * (method == "ink-box")
    digests = {name: dataset.digest(part) for name, part in parts.items()}
    source = Source("folder", classes, digests, method)
    return Raw(source, parts["train"], parts["test"], tuple(notes))


def _table_files(folder: Path) -> Iterator[Path]:
    """The tables in a folder at any depth, sorted; links to folders are followed."""
    for base, folders, names in os.walk(folder, followlinks=True):
        own = (name for name in folders if not files.is_system_file(name))
        folders[:] = sorted(name for name in own if not files.is_cycle(folder, Path(base, name)))
        for name in sorted(names):
            if tables.is_table(name) and not files.is_system_file(name):
                yield Path(base, name)


def _find(path: Path, stack: ExitStack, notes: list[str]) -> list[Found]:
    """All images and labels of a path's tables, which stay open until the stack is closed."""
    found: list[Found] = []
    for file in [path] if path.is_file() else _table_files(path):
        name = file.name if file == path else str(file.relative_to(path))
        if file != path and file.suffix.lower() == ".gz" and file.with_suffix("").is_file():
            notes.append(f"{name} is left out: {file.stem} is next to it")
            continue
        try:
            files.check_is_regular(file)
            if file.name == tables.METADATA:
                found += _listed_images(file, name)
                continue
            if tables.is_archive(file.name):
                raise InputError(
                    "an archive next to others. If it is unpacked, move it away; if not, unpack "
                    "it, or name it in data.folder"
                )
            opened = stack.enter_context(file.open("rb"))
            contents = stack.enter_context(tables.opened(file.name, opened))
        except NoPixels as error:
            notes.append(f"{name} is left out: {error}")
            continue
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        except OSError as error:
            raise InputError(f"{file} can't be read: {error.strerror}") from None
        for images in contents.images:
            key = f"{name}/{images.key}".rstrip("/")
            found.append(Found(key, _part(key), images, images.labels))
        for labels in contents.labels:
            key = f"{name}/{labels.key}".rstrip("/")
            found.append(Found(key, _part(key), labels=labels))
    return found


def _part(name: str) -> str | None:
    return next((p for p in map(part_of, reversed(name.split("/"))) if p), None)


def _listed_images(file: Path, name: str) -> list[Found]:
    """The images that a metadata.csv lists, by part."""
    with open(file, "rb") as opened:
        rows = column_files.read_metadata(opened)
    by_part: dict[str | None, list[tuple[Path, Label | None]]] = {}
    for image, label in rows:
        inner = PurePosixPath(image)
        if not inner.name or inner.is_absolute() or ".." in inner.parts or "\0" in image:
            raise InputError(f"{image!r} is not a file in the folder of {file.name}")
        path = file.parent / inner  # it may be a link, as in the caches of DVC and Hugging Face
        by_part.setdefault(_part(f"{name}/{image}"), []).append((path, label))
    found = []
    for part, listed in by_part.items():
        paths, labels = [path for path, _ in listed], [label for _, label in listed]
        column = Labels("label", len(labels), labels.copy)
        key = f"{name} ({part})" if part else name
        found.append(Found(key, part, image_files(paths), column))
    return found


def _labelled(path: Path, found: list[Found], notes: list[str]) -> dict[str | None, list[Found]]:
    """The images with labels, by part."""
    parts: dict[str | None, list[Found]] = {}
    for part in ("train", "val", "test", None):
        pairs = _pair(path, [f for f in found if f.part == part])
        notes += [f"{f.name} is left out: it has no labels" for f in pairs if not f.labels]
        parts[part] = [f for f in pairs if f.labels]
    if not (parts["train"] or parts["val"] or parts[None]):
        has_folders = path.is_dir() and any(inner.is_dir() for inner in path.iterdir())
        classes = ". If its folders are the classes, move the tables away" * has_folders
        raise InputError(
            f"{path} has no labelled images to train on ({'; '.join(notes) or 'no tables'}); "
            f"expected a column label, or an array of labels next to that of the images. "
            f"{pixels.ONE_HOT}. A table that lists image files is metadata.csv, with the columns "
            f"file_name and label{classes}"
        )
    if parts[None] and (parts["train"] or parts["test"]):
        raise InputError(
            f"{path}: is {_names(parts[None])} for training or for testing, next to "
            f"{_names(parts['train'] + parts['test'])}? Name it train or test, or remove it"
        )
    notes += [
        f"{f.name} joins the training images: prepare chooses those to validate on"
        for f in parts["val"]
    ]
    return parts


def _pair(path: Path, found: list[Found]) -> list[Found]:
    """The images of a part, each with its labels if there are some."""
    complete = [f for f in found if f.images and f.labels]
    images = [f for f in found if f.images and not f.labels]
    labels = [f for f in found if not f.images]
    if not labels:
        return complete + images
    if len(images) != 1 or len(labels) != 1:
        raise InputError(
            f"{path}: which labels belong to which images? Images: {_names(images)}; labels: "
            f"{_names(labels)}. Leave one of each in the folder, of train and of test"
        )
    one, other = images[0], labels[0]
    assert one.images is not None
    assert other.labels is not None
    if one.images.count != other.labels.count:
        raise InputError(
            f"{path}: {one.name} has {one.images.count:,} images, but {other.name} has "
            f"{other.labels.count:,} labels"
        )
    return [*complete, replace(one, labels=other.labels)]


def _names(found: list[Found]) -> str:
    return ", ".join(f.name for f in found) or "none"


def _read(
    reader: Reader, labelled: list[Found], notes: list[str]
) -> tuple[UInt8Array, list[Label]]:
    """Images, uint8 (n, height, width), and labels; what can't be read is a fault."""
    images: list[UInt8Array] = []
    labels: list[Label] = []
    known: dict[str, str] = {}  # digest of a table's images -> its name
    for found in labelled:
        assert found.images is not None
        assert found.labels is not None
        try:
            scale = pixels.measure(found.images)
            labels += _labels(found.name, found.labels, reader.findings)
            own = [*reader.read(found.images, scale, found.name)]
            digest = _digest(own)
            if own and known.setdefault(digest, found.name) != found.name:
                raise InputError(f"it has the same images as {known[digest]}. Remove one of them")
        except InputError as error:
            raise InputError(f"{found.name}: {error}") from None
        images += own
        words = pixels.describe(found.images, scale)
        exchanged = "; rows and columns exchanged" * reader.transpose
        notes.append(f"{found.name}: {found.images.count:,} images; {words}{exchanged}")
    return reader.join(images), labels


def _digest(parts: list[UInt8Array]) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part.tobytes())
    return sha256.hexdigest()


def _labels(name: str, column: Labels, findings: Findings) -> Iterator[Label]:
    for i, label in enumerate(column.read()):
        if isinstance(label, bool) or (isinstance(label, float) and label.is_integer()):
            label = int(label)
        if not isinstance(label, int | str) or label in ("", -1):
            findings.add(f"{name}: the label of image {i:,} is {label!r}", GIVE_LABELS)
        else:
            yield label


def _classes(path: Path, labels: list[Label]) -> tuple[str, ...]:
    """The classes' names: numbers by size, else by the alphabet."""
    distinct = set(labels)
    numbers = sorted(label for label in distinct if isinstance(label, int))
    texts = sorted({str(label) for label in distinct})
    classes = tuple(map(str, numbers)) if len(numbers) == len(distinct) else tuple(texts)
    if not 2 <= len(classes) <= image_folder.MAX_CLASSES:
        shown = first(classes, image_folder.MAX_NAMES)
        raise InputError(
            f"{path}: the labels have {len(classes):,} classes ({shown}); expected 2 to "
            f"{image_folder.MAX_CLASSES}"
        )
    return classes


def _numbers(path: Path, part: str, labels: list[Label], classes: tuple[str, ...]) -> UInt8Array:
    """Labels as positions in the classes."""
    position = {name: i for i, name in enumerate(classes)}
    unknown = sorted({str(label) for label in labels} - position.keys())
    if unknown:
        raise InputError(
            f"{path}: {part} has labels that train lacks: "
            f"{first(unknown, image_folder.MAX_NAMES)}. {image_folder.BOTH_PARTS}"
        )
    return np.array([position[str(label)] for label in labels], np.uint8)


def _check_classes(path: Path, parts: dict[str, Labelled], classes: Iterable[str]) -> None:
    for part, labelled in parts.items():
        present = np.unique(labelled.labels)
        lacking = [name for i, name in enumerate(classes) if i not in present]
        if lacking:
            raise InputError(
                f"{path}: {part} has no images of {first(lacking, image_folder.MAX_NAMES)}. "
                f"{image_folder.BOTH_PARTS}"
            )
