"""The sources of images: MNIST, UCI digits, a folder of image files. Each returns a `Raw`."""

import contextlib
import gzip
import hashlib
import io
import tempfile
import urllib.request
import zlib
from functools import partial
from http.client import HTTPException
from pathlib import Path

import numpy as np

from digits.core import files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError, Unreachable
from digits.data import dataset, idx
from digits.data.dataset import Labelled, Raw, Source
from digits.imaging import decoding, model_form

DIGITS = tuple("0123456789")

# MD5 of the uncompressed files; a .gz has a header that differs from mirror to mirror.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

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


def mnist(mirror: str | None = None) -> Raw:
    """Read MNIST (LeCun, Cortes, Burges 1998): 60,000 and 10,000 images of 28 x 28.

    Parameters
    ----------
    mirror : a URL or a folder that holds the four files, compressed or not; None for
        torchvision's own mirrors

    Raises
    ------
    Unreachable
        If a file cannot be downloaded or read.
    InputError
        If a file is damaged, or its content differs from the published one.
    """
    contents = _from_mirror(mirror) if mirror else _from_torchvision()
    arrays = {
        name: idx.parse(content, 3 if "images" in name else 1, name)
        for name, content in contents.items()
    }
    for name, content in contents.items():
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != MNIST_FILES[name]:
            raise InputError(
                f"{name}: the content's MD5 is {md5}; expected {MNIST_FILES[name]}. "
                f"The file is damaged or not MNIST's: get it from another mirror"
            )
    parts = (
        Labelled(arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"])
        for part in ("train", "t10k")
    )
    return Raw(Source("mnist", DIGITS, dict(MNIST_FILES), "ink-box"), *parts)


def uci() -> Raw:
    """Read scikit-learn's UCI handwritten digits: 1,797 scans of 8 x 8 with 17 grey levels.

    Each is resized to 20 x 20 in a frame of 28 x 28, like MNIST. scikit-learn orders the images by
    writer. The last 597, by other writers than the first 1,200, are the test images.

    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    resized = [Image.fromarray(i).resize((20, 20), Image.Resampling.BICUBIC) for i in small]
    images = np.pad(np.stack([np.asarray(i) for i in resized]), ((0, 0), (4, 4), (4, 4)))
    labels = bunch.target.astype(np.uint8)
    digests = {"images": hashlib.md5(bunch.images.tobytes(), usedforsecurity=False).hexdigest()}
    return Raw(
        Source("uci", DIGITS, digests, "ink-box"),
        Labelled(images[:1200], labels[:1200]),
        Labelled(images[1200:], labels[1200:]),
    )


def folder(path: Path, size: tuple[int, int] | None) -> Raw:
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


def _from_mirror(mirror: str) -> dict[str, bytes]:
    if "://" in mirror:
        base = mirror
    elif Path(mirror).is_dir():
        base = Path(mirror).resolve().as_uri()
    else:
        raise InputError(
            f"MNIST_MIRROR is {mirror!r}, which is neither a URL nor a folder, seen from "
            f"{Path.cwd()}; expected one that holds {', '.join(MNIST_FILES)} (or .gz)"
        )
    return {name: _download(base.rstrip("/"), name) for name in MNIST_FILES}


def _download(base: str, name: str) -> bytes:
    failures = []
    for url in (f"{base}/{name}.gz", f"{base}/{name}"):
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                content: bytes = response.read()
            return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{url}: truncated or damaged gzip file: {error}") from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: not a URL
            failures.append(f"{url} ({getattr(error, 'reason', error)})")
    raise Unreachable(f"MNIST could not be read. Tried: {', '.join(failures)}")


def _from_torchvision() -> dict[str, bytes]:
    import torchvision  # takes 6 s, and is only needed here

    dataset = torchvision.datasets.MNIST
    with tempfile.TemporaryDirectory() as folder:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                dataset(folder, download=True)
        except (RuntimeError, OSError) as error:
            reasons = str(error).strip().replace("\n", "\n    ")
            raise Unreachable(f"MNIST could not be downloaded.\n    {reasons}") from None
        raw = Path(folder, "MNIST", "raw")
        return {name: (raw / name).read_bytes() for name in MNIST_FILES}
