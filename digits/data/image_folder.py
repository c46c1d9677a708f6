"""A source of one's own: a folder of image files, by part and class. It returns a `Raw`."""

import contextlib
from functools import partial
from pathlib import Path

import numpy as np

from digits.core import files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.data import dataset
from digits.data.dataset import Labelled, Raw, Source
from digits.imaging import decoding, model_form

SIDES = (8, 256)  # pixels, smallest and largest, of an image's height and width
MAX_CLASSES = 256  # a label is one byte
MAX_FAULTS = 20  # of a folder, named at once
GIT_LFS = b"version https://git-lfs.github.com/spec/"

# Advice for faults of a folder.
BOTH_PARTS = "Each class needs images in train/ and others in test/: add some, or remove the class"
IF_DVC_TRACKS_IT = "If DVC tracks it: dvc checkout, or dvc pull"
MOVE_AWAY = "Move anything else out of train/ and test/: they hold folders of images alone"
REPLACE = "Restore each file that can't be read, save it as PNG, or remove it"
SET_A_SIZE = "To fit all images into one size, set data.size=[height,width]"


def read(path: Path, size: tuple[int, int] | None) -> Raw:
    """Read labelled image files: `train/<class>/*` and `test/<class>/*`.

    The classes are the folders' names, sorted. Hidden files and the operating system's are ignored.
    Images are turned grey, and inverted if they are light: see `resize` in
    digits/imaging/model_form.py.

    Parameters
    ----------
    path : the folder that holds train/ and test/
    size : height and width to fit images into; None if all images already have one size

    Raises
    ------
    InputError
        If a folder or a class is absent or empty, or a file is not an image or has another size;
        names every such fault, up to `MAX_FAULTS`, and what to do.
    """
    faults = _Faults()
    expected = "a folder for each class"
    train = _entries(path / "train", expected, IF_DVC_TRACKS_IT, faults, folders=True)
    expected += ", with other images than train/"
    test = _entries(path / "test", expected, IF_DVC_TRACKS_IT, faults, folders=True)
    images_of = partial(
        _entries, expected="the images of a class", advice=BOTH_PARTS, faults=faults, folders=False
    )
    classes = tuple(train)
    names = ", ".join(classes[:MAX_FAULTS])
    if train and not 2 <= len(classes) <= MAX_CLASSES:
        faults.add(
            f"{path / 'train'} has {len(classes)} class{'es' * (len(classes) != 1)} ({names}); "
            f"expected 2 to {MAX_CLASSES}, one folder for each"
        )
    for name in sorted(test.keys() - train.keys() if train else ()):
        faults.add(
            f"{test[name]} has no counterpart in {path / 'train'}; expected the same classes: "
            f"{names}",
            BOTH_PARTS,
        )
    labelled = {
        part: [
            (file, label)
            for label, name in enumerate(classes)
            for file in images_of(path / part / name).values()
        ]
        for part, folders in (("train", train), ("test", test))
        if folders
    }
    sizes: dict[tuple[int, int], list[Path]] = {}
    fitted = size or _first_size(labelled.get("train", []))
    parts = {part: _read(images, fitted, sizes, faults) for part, images in labelled.items()}
    if size is None:
        _check_sizes(sizes, faults)
    faults.check(path)
    digests = {part: dataset.digest(images) for part, images in parts.items()}
    return Raw(Source("folder", classes, digests, "resize"), parts["train"], parts["test"])


class _Faults:
    """Collects the faults of a folder, so that a user can mend all of them at once."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.advice: dict[str, None] = {}  # each once, in order

    def add(self, fault: str, advice: str = "") -> None:
        self.faults.append(fault)
        if advice:
            self.advice[advice] = None

    def check(self, folder: Path) -> None:
        """Raises `InputError` if there are faults."""
        if not self.faults:
            return
        if len(self.faults) == 1:
            raise InputError(". ".join([*self.faults, *self.advice]))
        shown = self.faults[:MAX_FAULTS]
        if hidden := len(self.faults) - len(shown):
            shown.append(f"and {hidden:,} more")
        lines = [f"{folder} has {len(self.faults):,} faults:", *shown, *self.advice]
        raise InputError("\n  ".join(lines))


def _entries(
    folder: Path, expected: str, advice: str, faults: _Faults, *, folders: bool
) -> dict[str, Path]:
    """The folders in a folder, or its files, by name and sorted; anything else is a fault."""
    try:
        entries = sorted(
            entry for entry in folder.iterdir() if not files.is_system_file(entry.name)
        )
    except FileNotFoundError:
        faults.add(f"{folder} does not exist; expected {expected}", advice)
        return {}
    except NotADirectoryError:
        faults.add(f"{folder} is a file; expected {expected}")
        return {}
    except OSError as error:
        faults.add(f"{folder} can't be read: {error.strerror}")
        return {}
    if not entries:
        faults.add(f"{folder} is empty; expected {expected}", advice)
    for entry in entries:
        if entry.is_dir() != folders:
            kind = "a file" if folders else "a folder"
            faults.add(f"{entry} is {kind}; expected only {expected.partition(',')[0]}", MOVE_AWAY)
    return {entry.name: entry for entry in entries if entry.is_dir() == folders}


def _first_size(labelled: list[tuple[Path, int]]) -> tuple[int, int]:
    """Height and width of the first image that can be read, if a network can take them."""
    for file, _ in labelled:
        with contextlib.suppress(InputError, OSError):
            height, width = _grey(file).shape
            return (height, width) if _is_in_range(height, width) else (SIDES[0], SIDES[0])
    return SIDES[0], SIDES[0]


def _read(
    labelled: list[tuple[Path, int]],
    size: tuple[int, int],
    sizes: dict[tuple[int, int], list[Path]],
    faults: _Faults,
) -> Labelled:
    """Read images and fit them into a size; adds each file to the list of those of its own size."""
    images = np.empty((len(labelled), *size), np.uint8)
    for i, (file, _) in enumerate(labelled):
        try:
            grey = _grey(file)
        except InputError as error:
            faults.add(f"{file}: {error}", REPLACE)
        except FileNotFoundError:
            faults.add(f"{file} is a link to a file that does not exist", IF_DVC_TRACKS_IT)
        except OSError as error:
            faults.add(f"{file} can't be read: {error.strerror}")
        else:
            height, width = grey.shape
            sizes.setdefault((height, width), []).append(file)
            images[i] = model_form.fit(grey, size)
    return Labelled(images, np.array([label for _, label in labelled], np.uint8))


def _check_sizes(sizes: dict[tuple[int, int], list[Path]], faults: _Faults) -> None:
    """All images must have one size, which a network can take."""
    most = max(sizes, key=lambda size: len(sizes[size]), default=None)
    for (height, width), same in sizes.items():
        others = f" (as are {len(same) - 1:,} others)" if len(same) > 1 else ""
        image = f"{same[0]} is {height} pixels high and {width} wide{others}"
        if most and (height, width) != most:
            faults.add(f"{image}; most images are {most[0]} and {most[1]}", SET_A_SIZE)
        elif not _is_in_range(height, width):
            faults.add(f"{image}; expected {SIDES[0]} to {SIDES[1]}", SET_A_SIZE)


def _is_in_range(height: int, width: int) -> bool:
    return SIDES[0] <= min(height, width) and max(height, width) <= SIDES[1]


def _grey(file: Path) -> UInt8Array:
    content = file.read_bytes()
    if content.startswith(GIT_LFS):
        raise InputError("this is Git LFS's pointer to an image. Fetch the image: git lfs pull")
    return decoding.grey(decoding.decode(content))
