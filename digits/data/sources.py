"""The sources of images: MNIST, UCI digits, a folder of image files. Each returns a `Raw`."""

import contextlib
import gzip
import hashlib
import io
import tempfile
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np

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
    parts = [
        _paired(f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte", arrays)
        for part in ("train", "t10k")
    ]
    for name, content in contents.items():
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != MNIST_FILES[name]:
            raise InputError(
                f"{name}: the content's MD5 is {md5}; expected {MNIST_FILES[name]}. "
                f"The file is damaged or not MNIST's: get it from another mirror"
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

    The classes are the folders' names, sorted. Names that begin with a dot are ignored. Images are
    turned grey, and inverted if they are light: see `resize` in digits/imaging/model_form.py.

    Parameters
    ----------
    path : the folder that holds train/ and test/
    size : height and width to fit images into; None if all images already have one size

    Raises
    ------
    InputError
        If a folder or a class is absent or empty, or a file is not an image or has another size;
        names it.
    """
    classes = tuple(sorted(_entries(path / "train", "a folder for each class")))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise InputError(
            f"{path / 'train'} has {len(classes)} class{'es' * (len(classes) != 1)} "
            f"({', '.join(classes[:9])}); expected 2 to {MAX_CLASSES}, one folder for each"
        )
    tested = _entries(path / "test", "a folder for each class, with other images than train/")
    unknown = sorted(tested.keys() - set(classes))
    if unknown:
        raise InputError(
            f"{path / 'test' / unknown[0]} has no counterpart in {path / 'train'}; expected the "
            f"same classes: {', '.join(classes)}"
        )
    files = {
        part: [
            (file, label)
            for label, name in enumerate(classes)
            for file in _files(path / part / name)
        ]
        for part in ("train", "test")
    }
    parts = {part: _read(labelled, size, files["train"][0][0]) for part, labelled in files.items()}
    digests = {part: dataset.digest(images) for part, images in parts.items()}
    return Raw(Source("folder", classes, digests, "resize"), parts["train"], parts["test"])


def _entries(folder: Path, expected: str) -> dict[str, Path]:
    """List a folder's files and folders, by name."""
    try:
        entries = {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
    except FileNotFoundError:
        raise InputError(
            f"{folder} does not exist; expected {expected}. If DVC tracks it: dvc checkout, or dvc "
            f"pull"
        ) from None
    except NotADirectoryError:
        raise InputError(f"{folder} is a file; expected {expected}") from None
    if not entries:
        raise InputError(f"{folder} is empty; expected {expected}")
    return entries


def _files(folder: Path) -> list[Path]:
    return [file for _, file in sorted(_entries(folder, "the images of a class").items())]


def _read(files: list[tuple[Path, int]], size: tuple[int, int] | None, first: Path) -> Labelled:
    """Read images and fit them into a size; without one, all must have the size of the first."""
    height, width = size or _grey(first).shape
    if not SIDES[0] <= min(height, width) <= max(height, width) <= SIDES[1]:
        raise InputError(
            f"{first} is {height} pixels high and {width} wide; expected {SIDES[0]} to {SIDES[1]}. "
            f"To fit all images into one size, set data.size=[height,width]"
        )
    images = np.empty((len(files), height, width), np.uint8)
    for i, (file, _) in enumerate(files):
        grey = _grey(file)
        if size is None and grey.shape != (height, width):
            raise InputError(
                f"{file} is {grey.shape[0]} pixels high and {grey.shape[1]} wide; {first} is "
                f"{height} and {width}. To fit all into one size, set data.size=[height,width]"
            )
        images[i] = model_form.fit(grey, (height, width))
    return Labelled(images, np.array([label for _, label in files], np.uint8))


def _grey(file: Path) -> UInt8Array:
    if file.is_dir():
        raise InputError(f"{file} is a folder; expected only the images of a class")
    try:
        return decoding.decode(file.read_bytes())
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _paired(images: str, labels: str, arrays: dict[str, UInt8Array]) -> Labelled:
    if len(arrays[images]) != len(arrays[labels]):
        raise InputError(
            f"{images} holds {len(arrays[images])} images, but {labels} holds "
            f"{len(arrays[labels])} labels"
        )
    return Labelled(arrays[images], arrays[labels])


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
