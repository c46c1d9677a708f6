"""Read labelled images of a user from image files in `train/<class>/` and `test/<class>/`.

The folders' names are the classes. Where there are only folders of classes, some images of each
class are set apart to test on. As in torchvision's ImageFolder, images may be in folders within
the folder of their class, and folders and files may be links. Hidden files and the operating
system's are passed over.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from digits.core import files
from digits.core.errors import InputError, first, printable
from digits.data import dataset
from digits.data.dataset import Labelled, Raw, Source
from digits.data.image_reader import (
    IF_DVC_TRACKS_IT,
    INK_BOX,
    Findings,
    Reader,
    Size,
    find_method,
    image_files,
)

PARTS = ("train", "test")
MAX_CLASSES = 256  # a label is one byte
MAX_NAMES = 20  # of classes, in a message

DANGLES = "is a link to something that does not exist"
LAYOUT = (
    "expected a folder with train/<class>/ and test/<class>/, with <class>/, with a metadata.csv "
    "that lists the images (columns file_name and label), or with tables"
)

# Advice for faults of a folder.
BOTH_PARTS = "Each class needs images in train/ and others in test/: add some, or remove the class"
MOVE_AWAY = "Move anything but images out of train/ and test/"
RENAME = "Rename the folders of classes"


def read(path: Path, size: Size | None) -> Raw:
    """Read labelled image files.

    The classes are the names of the folders in train/, in Unicode's form NFC, sorted. Images are
    turned grey, and inverted if they are light: see `resize` in digits/imaging/model_form.py.

    Parameters
    ----------
    path : the folder that holds train/ and test/, or the folders of classes
    size : height and width to fit images into; None if all images already have one size

    Raises
    ------
    InputError
        If a folder or a class is absent or empty, or a file is not an image or has another size;
        names every such fault, some of each kind, and what to do.
    """
    reader = Reader(size)
    findings = reader.findings
    if not path.is_dir():
        kind = "is a file" if path.exists() else "does not exist"
        raise InputError(f"{printable(path)} {kind}; {LAYOUT}. {IF_DVC_TRACKS_IT}")
    others = [e for e in _entries(path, Findings()) if e.is_dir() and e.name not in PARTS]
    missing = [f"{part}/" for part in PARTS if not (path / part).is_dir()]
    has_parts = any(e.name.lower().startswith(PARTS) for e in others)  # Train/, testing/
    if len(missing) == len(PARTS) and others and not has_parts:
        return _read_undivided(path, others, reader)
    folders = {part: _classes_of(path / part, findings) for part in PARTS}
    if missing:
        found = f"it has {_named(others)}; " * bool(others)
        findings.add(
            f"{printable(path)} has no folder {' nor '.join(missing)}; {found}{LAYOUT}",
            IF_DVC_TRACKS_IT,
        )
    classes = tuple(sorted(folders["train"]))
    _check_count(path / "train", folders["train"], findings)
    _check_equal(path, folders, findings)
    train, test = (_read(reader, classes, folders[part]) for part in PARTS)
    reader.check(path)
    unread = f"not read, next to train/ and test/ ({len(others):,}): {_named(others)}"
    return _raw(classes, train, test, findings, [unread] * bool(others))


def _read_undivided(path: Path, folders: Sequence[Path], reader: Reader) -> Raw:
    """Read folders of classes, and set some images of each apart to test on."""
    findings = reader.findings
    found = _classes(folders, findings)
    classes = tuple(sorted(found))
    _check_count(path, found, findings)
    images = _read(reader, classes, found)
    reader.check(path)
    try:
        train, test = dataset.set_apart(images, classes)
    except InputError as error:
        raise InputError(f"{printable(path)}: {error}") from None
    note = f"no folders train/ and test/: {dataset.note_of_apart(test)}, to test on"
    return _raw(classes, train, test, findings, [note])


def _raw(
    classes: tuple[str, ...],
    train: Labelled,
    test: Labelled,
    findings: Findings,
    notes: Sequence[str],
) -> Raw:
    digests = {"train": dataset.digest(train), "test": dataset.digest(test)}
    method = find_method(train.images, test.images)
    source = Source("folder", classes, digests, method)
    kinds = (
        (findings.passed_over, "passed over, hidden or the operating system's"),
        (findings.nested, "read as images of their class, within its folder"),
    )
    found = [f"{kind} ({len(paths):,}): {_named(paths)}" for paths, kind in kinds if paths]
    return Raw(source, train, test, (*found, *notes, *[INK_BOX] * (method == "ink-box")))


def _named(paths: Sequence[Path]) -> str:
    return first([printable(path) for path in paths])


def _classes_of(part: Path, findings: Findings) -> dict[str, Path]:
    """The folders of a part's classes, by class."""
    if not part.is_dir():
        return {}
    entries = _entries(part, findings)
    has_files_alone = all(entry.is_file() for entry in entries)  # so none of them is a stray one
    classes = {} if has_files_alone else _classes(entries, findings)
    if not classes:
        findings.add(f"{printable(part)} holds no folders; {LAYOUT}", IF_DVC_TRACKS_IT)
    return classes


def _classes(entries: Sequence[Path], findings: Findings) -> dict[str, Path]:
    """Those of a folder's entries that are folders of classes, by class."""
    classes: dict[str, Path] = {}
    for entry in entries:
        name = unicodedata.normalize("NFC", entry.name)
        shown = printable(entry)
        if not entry.exists():
            findings.add(f"{shown} {DANGLES}", IF_DVC_TRACKS_IT)
        elif not entry.is_dir():
            findings.add(f"{shown} is a file; expected only a folder for each class", MOVE_AWAY)
        elif name != name.strip() or not name.isprintable():
            findings.add(
                f"{shown} is a class named {entry.name!a}; expected a name that can be "
                f"printed, without blanks at its ends",
                RENAME,
            )
        elif name in classes:
            findings.add(
                f"{shown} is there twice, in two forms of Unicode: as {entry.name!a} and "
                f"{classes[name].name!a}",
                RENAME,
            )
        else:
            classes[name] = entry
    return classes


def _check_count(path: Path, classes: Iterable[str], findings: Findings) -> None:
    names = sorted(classes)
    if names and not 2 <= len(names) <= MAX_CLASSES:
        findings.add(
            f"{printable(path)} has {len(names)} class{'es' * (len(names) != 1)} "
            f"({first(names, MAX_NAMES)}); expected 2 to {MAX_CLASSES}, one folder for each"
        )


def _check_equal(path: Path, folders: dict[str, dict[str, Path]], findings: Findings) -> None:
    """Both parts must have the same classes."""
    for part, other in (PARTS, PARTS[::-1]) if all(folders.values()) else ():
        if missing := sorted(folders[other].keys() - folders[part].keys()):
            findings.add(
                f"{printable(path / part)} lacks classes of {other}/: {first(missing, MAX_NAMES)}; "
                f"it has {first(sorted(folders[part]), MAX_NAMES)}",
                BOTH_PARTS,
            )


def _read(reader: Reader, classes: Sequence[str], folders: dict[str, Path]) -> Labelled:
    """Read the images of a part."""
    labelled = [
        (file, label)
        for label, name in enumerate(classes)
        if name in folders
        for file in _images(folders[name], reader.findings)
    ]
    images = image_files([file for file, _ in labelled])
    labels = np.array([label for _, label in labelled]).astype(np.uint8)
    return Labelled(reader.join([*reader.read(images, scale=1)]), labels)


def _images(folder: Path, findings: Findings) -> list[Path]:
    """The files of a class, sorted within each folder."""
    images = list(_walk(folder, (folder.resolve(),), findings))
    if not images:
        findings.add(f"{printable(folder)} holds no images", BOTH_PARTS)
    return images


def _walk(folder: Path, above: tuple[Path, ...], findings: Findings) -> Iterator[Path]:
    """The files in a folder and in those within it.

    above : the folder and those that led to it, without links
    """
    for entry in _entries(folder, findings):
        if not entry.is_dir():
            yield entry
            continue
        target = entry.resolve()
        if any(known.is_relative_to(target) for known in above):
            findings.add(f"{printable(entry)} is a link to a folder that contains it", MOVE_AWAY)
            continue
        findings.nested.append(entry)
        yield from _walk(entry, (*above, target), findings)


def _entries(folder: Path, findings: Findings) -> list[Path]:
    """What is in a folder, sorted, without hidden files and the operating system's."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        findings.add(f"{printable(folder)} can't be read: {error.strerror}")
        return []
    own = [entry for entry in entries if not files.is_system_file(entry.name)]
    findings.passed_over += [entry for entry in entries if files.is_system_file(entry.name)]
    return own
