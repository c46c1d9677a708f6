"""Read labelled images of a user from image files in `train/<class>/` and `test/<class>/`.

The folders' names are the classes. As in torchvision's ImageFolder, images may be in folders within
the folder of their class, and folders and files may be links. Hidden files and the operating
system's are passed over.
"""

import contextlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from digits.core import files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError, first, printable
from digits.data import dataset
from digits.data.dataset import Labelled, Raw, Source
from digits.imaging import decoding, model_form

PARTS = ("train", "test")
SIDES = (8, 256)  # pixels, smallest and largest, of an image's height and width
MAX_CLASSES = 256  # a label is one byte
MAX_FAULTS = 40  # of one kind, named at once
MAX_NAMES = 20  # of classes, in a message
EXAMPLE_SIDE = 64  # pixels, for images that are too large
GIT_LFS = b"version https://git-lfs.github.com/spec/"

DANGLES = "is a link to something that does not exist"
LAYOUT = "expected a folder with train/<class>/ and test/<class>/, or with tables"

# Advice for faults of a folder.
BOTH_PARTS = "Each class needs images in train/ and others in test/: add some, or remove the class"
IF_DVC_TRACKS_IT = "If DVC tracks it: dvc checkout, or dvc pull"
MOVE_AWAY = "Move anything but images out of train/ and test/"
RENAME = "Rename the folders of classes"
REPLACE = "Restore each file that can't be read, save it as PNG, or remove it"

Size = tuple[int, int]  # height and width in pixels


def read(path: Path, size: Size | None) -> Raw:
    """Read labelled image files.

    The classes are the names of the folders in train/, in Unicode's form NFC, sorted. Images are
    turned grey, and inverted if they are light: see `resize` in digits/imaging/model_form.py.

    Parameters
    ----------
    path : the folder that holds train/ and test/
    size : height and width to fit images into; None if all images already have one size

    Raises
    ------
    InputError
        If a folder or a class is absent or empty, or a file is not an image or has another size;
        names every such fault, up to `MAX_FAULTS` of a kind, and what to do.
    """
    findings = Findings()
    if not path.is_dir():
        kind = "is a file" if path.exists() else "does not exist"
        raise InputError(f"{printable(path)} {kind}; {LAYOUT}. {IF_DVC_TRACKS_IT}")
    folders = {part: _classes(path / part, findings) for part in PARTS}
    others = [e for e in _entries(path, Findings()) if e.is_dir() and e.name not in PARTS]
    if missing := [f"{part}/" for part in PARTS if not (path / part).is_dir()]:
        found = f"it has {_named(others)}; " * bool(others)
        findings.add(
            f"{printable(path)} has no folder {' nor '.join(missing)}; {found}{LAYOUT}",
            IF_DVC_TRACKS_IT,
        )
    classes = tuple(sorted(folders["train"]))
    _check_classes(path, folders, findings)
    files_of = {
        part: [
            (file, label)
            for label, name in enumerate(classes)
            if name in folders[part]
            for file in _images(folders[part][name], findings)
        ]
        for part in PARTS
    }
    sizes: dict[Path, Size] = {}
    fitted = size or _first_size(files_of["train"])
    parts = {part: _read(images, fitted, sizes, findings) for part, images in files_of.items()}
    if size is None:
        _check_sizes(sizes, findings)
    findings.check(path)
    digests = {part: dataset.digest(images) for part, images in parts.items()}
    source = Source("folder", classes, digests, "resize")
    kinds = (
        (findings.passed_over, "passed over, hidden or the operating system's"),
        (findings.nested, "read as images of their class, within its folder"),
        (others, "not read, next to train/ and test/"),
    )
    notes = tuple(f"{kind} ({len(paths):,}): {_named(paths)}" for paths, kind in kinds if paths)
    return Raw(source, parts["train"], parts["test"], notes)


@dataclass
class Findings:
    """Collects what is wrong in a folder, so that a user can mend all of it at once.

    faults : by the advice that mends them
    passed_over : files and folders that are hidden or the operating system's
    nested : folders within the folder of a class
    """

    faults: dict[str, list[str]] = field(default_factory=dict)
    passed_over: list[Path] = field(default_factory=list)
    nested: list[Path] = field(default_factory=list)

    def add(self, fault: str, advice: str = "") -> None:
        self.faults.setdefault(advice, []).append(fault)

    def check(self, folder: Path) -> None:
        """Raises `InputError` if there are faults."""
        count = sum(map(len, self.faults.values()))
        if not count:
            return
        lines = []
        for advice, faults in self.faults.items():
            lines += faults[:MAX_FAULTS]
            if len(faults) > MAX_FAULTS:
                lines.append(f"and {len(faults) - MAX_FAULTS:,} more")
            if advice:
                lines.append(advice if count == 1 else f"=> {advice}")
        if count == 1:
            raise InputError(". ".join(lines))
        raise InputError("\n  ".join([f"{printable(folder)} has {count:,} faults:", *lines]))


def _named(paths: Sequence[Path]) -> str:
    return first([printable(path) for path in paths])


def _classes(part: Path, findings: Findings) -> dict[str, Path]:
    """The folders of a part's classes, by class."""
    if not part.is_dir():
        return {}
    classes: dict[str, Path] = {}
    for entry in _entries(part, findings):
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
    if not classes:
        findings.add(f"{printable(part)} holds no folders; {LAYOUT}", IF_DVC_TRACKS_IT)
    return classes


def _check_classes(path: Path, folders: dict[str, dict[str, Path]], findings: Findings) -> None:
    """Both parts must have the same classes, and not too few or too many."""
    count = len(folders["train"])
    if count and not 2 <= count <= MAX_CLASSES:
        findings.add(
            f"{printable(path / 'train')} has {count} class{'es' * (count != 1)} "
            f"({first(sorted(folders['train']), MAX_NAMES)}); expected 2 to {MAX_CLASSES}, one "
            f"folder for each"
        )
    for part, other in (PARTS, PARTS[::-1]) if all(folders.values()) else ():
        if missing := sorted(folders[other].keys() - folders[part].keys()):
            findings.add(
                f"{printable(path / part)} lacks classes of {other}/: {first(missing, MAX_NAMES)}; "
                f"it has {first(sorted(folders[part]), MAX_NAMES)}",
                BOTH_PARTS,
            )


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


def _first_size(labelled: list[tuple[Path, int]]) -> Size:
    """Size of the first image that can be read, if a network can take it."""
    for file, _ in labelled:
        with contextlib.suppress(InputError, OSError):
            _, size = _grey(file)
            return size if is_in_range(size) else (SIDES[0], SIDES[0])
    return SIDES[0], SIDES[0]


def _read(
    labelled: list[tuple[Path, int]],
    fitted: Size,
    sizes: dict[Path, Size],
    findings: Findings,
) -> Labelled:
    """Read images and fit them into a size; adds the size that each file has itself."""
    images = np.zeros((len(labelled), *fitted), np.uint8)
    for i, (file, _) in enumerate(labelled):
        try:
            grey, size = _grey(file)
        except InputError as error:
            findings.add(f"{printable(file)}: {error}", REPLACE)
        except FileNotFoundError:
            findings.add(f"{printable(file)} {DANGLES}", IF_DVC_TRACKS_IT)
        except OSError as error:
            findings.add(f"{printable(file)} can't be read: {error.strerror}", REPLACE)
        else:
            sizes[file] = size
            if not findings.faults:  # else the arrays are not used
                images[i] = model_form.fit(grey, fitted)
    return Labelled(images, np.array([label for _, label in labelled]).astype(np.uint8))


def _check_sizes(sizes: dict[Path, Size], findings: Findings) -> None:
    """All images must have one size, which a network can take."""
    counts = Counter(sizes.values())
    for size, count in counts.most_common(1):
        fits = is_in_range(size)
        scale = 1 if fits else min(EXAMPLE_SIDE / max(size), 1)
        example = [max(round(scale * side), SIDES[0]) for side in size]
        advice = f"To fit all images into one size, set data.size, for example to {example}"
        if not fits:
            file = next(file for file in sizes if sizes[file] == size)
            others = f" (as are {count - 1:,} others)" if count > 1 else ""
            findings.add(
                f"{printable(file)} is {size[0]:,} pixels high and {size[1]:,} wide{others}; "
                f"expected {SIDES[0]} to {SIDES[1]}",
                advice,
            )
        for file, (height, width) in sizes.items():
            if (height, width) != size:
                findings.add(
                    f"{printable(file)} is {height:,} pixels high and {width:,} wide; most images "
                    f"are {size[0]:,} and {size[1]:,}",
                    advice,
                )


def read_file(path: Path) -> bytes:
    """The content of an image file; raises `InputError` if it is too large, or no regular file."""
    decoding.check_bytes(files.check_is_regular(path))
    content = path.read_bytes()
    if content.startswith(GIT_LFS):
        raise InputError("this is Git LFS's pointer to an image. Fetch the image: git lfs pull")
    return content


def is_in_range(size: Size) -> bool:
    return SIDES[0] <= min(size) and max(size) <= SIDES[1]


def _grey(file: Path) -> tuple[UInt8Array, Size]:
    """An image's grey levels, reduced if it is large, and its own size."""
    levels, size = decoding.decode_with_size(read_file(file))
    return decoding.grey(levels), size
