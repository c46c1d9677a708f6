"""Where images come from. Every source gives the same arrays: see `digits.data.dataset.Raw`."""

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
from digits.core.errors import InputError
from digits.data import dataset, idx
from digits.data.dataset import Labelled, Raw, Source
from digits.imaging import decoding, model_form

DIGITS = tuple("0123456789")

# MD5 of the uncompressed files. That of a .gz changes with its header, from mirror to mirror.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

SIDES = (8, 256)  # pixels of an image's sides, from and to
MOST_CLASSES = 256  # a label is a byte

WAYS_OUT = """
  Have the files? MNIST_MIRROR=/path/to/folder dvc repro
  No network?     make demo   (scikit-learn's bundled digits)"""


def mnist(mirror: str | None = None) -> Raw:
    """MNIST (LeCun, Cortes, Burges 1998): 60,000 and 10,000 images of 28 x 28.

    Parameters
    ----------
    mirror : a URL or a folder that holds the four files, compressed or not; None for
        torchvision's own mirrors

    Raises
    ------
    InputError
        If a file can't be had, is no whole IDX file, or its content is not the published one.
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
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != MNIST_FILES[name]:
            raise InputError(
                f"{name}: the content's MD5 is {found}; expected {MNIST_FILES[name]}. "
                f"The file is damaged or not MNIST's: get it from elsewhere"
            )
    return Raw(Source("mnist", DIGITS, dict(MNIST_FILES), "ink-box"), *parts)


def uci() -> Raw:
    """The UCI handwritten digits that scikit-learn bundles: 1,797 scans of 8 x 8, 17 grey levels.

    Each is resized to 20 x 20 in a frame of 28 x 28, as MNIST's are. scikit-learn keeps the order
    of the writers: the last 597 images, of other hands than the first 1,200, are the test images.

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
    """Labelled image files: `train/<class>/*` and `test/<class>/*`.

    The classes are the folders' names, sorted. What begins with a dot is not looked at. Images
    become grey, and light ones their negative: see `resize` in digits/imaging/model_form.py.

    Parameters
    ----------
    path : the folder that has train/ and test/
    size : height and width that images are fitted into; None for their own, which must be one

    Raises
    ------
    InputError
        If a folder or a class is absent or empty, a file is no image, or of another size. Names it.
    """
    classes = tuple(sorted(_entries(path / "train", "a folder for each class")))
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InputError(
            f"{path / 'train'} has {len(classes)} class{'es' * (len(classes) != 1)} "
            f"({', '.join(classes[:9])}); expected 2 to {MOST_CLASSES}, a folder each"
        )
    tested = _entries(path / "test", "a folder for each class, of images that are not trained on")
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
    parts = {part: _read(found, size, files["train"][0][0]) for part, found in files.items()}
    digests = {part: dataset.digest(found) for part, found in parts.items()}
    return Raw(Source("folder", classes, digests, "resize"), parts["train"], parts["test"])


def _entries(folder: Path, expected: str) -> dict[str, Path]:
    """What a folder holds, by name."""
    try:
        found = {each.name: each for each in folder.iterdir() if not each.name.startswith(".")}
    except FileNotFoundError:
        raise InputError(
            f"{folder} does not exist; expected {expected}. If DVC has it: dvc checkout, dvc pull"
        ) from None
    except NotADirectoryError:
        raise InputError(f"{folder} is a file; expected {expected}") from None
    if not found:
        raise InputError(f"{folder} is empty; expected {expected}")
    return found


def _files(folder: Path) -> list[Path]:
    return [file for _, file in sorted(_entries(folder, "the images of a class").items())]


def _read(files: list[tuple[Path, int]], size: tuple[int, int] | None, first: Path) -> Labelled:
    """Images fitted into a size; without one, they must have that of the first, a usual one."""
    form = size or _grey(first).shape
    if not SIDES[0] <= min(form) <= max(form) <= SIDES[1]:
        raise InputError(
            f"{first} has sides of {form[0]} and {form[1]} pixels; expected {SIDES[0]} to "
            f"{SIDES[1]}. Have all images fitted into one size: data.size=[height,width]"
        )
    found = np.empty((len(files), *form), np.uint8)
    for i, (file, _) in enumerate(files):
        grey = _grey(file)
        if size is None and grey.shape != form:
            raise InputError(
                f"{file} is {grey.shape[0]} pixels high and {grey.shape[1]} wide; {first} is "
                f"{form[0]} and {form[1]}. Have all fitted into one size: data.size=[height,width]"
            )
        found[i] = model_form.fit(grey, form)
    return Labelled(found, np.array([label for _, label in files], np.uint8))


def _grey(file: Path) -> UInt8Array:
    if file.is_dir():
        raise InputError(f"{file} is a folder; expected the images of a class, and nothing else")
    try:
        return decoding.decode(file.read_bytes())
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _paired(images: str, labels: str, arrays: dict[str, UInt8Array]) -> Labelled:
    if len(arrays[images]) != len(arrays[labels]):
        raise InputError(
            f"{images} holds {len(arrays[images])} images, but {labels} {len(arrays[labels])} "
            f"labels; expected as many"
        )
    return Labelled(arrays[images], arrays[labels])


def _from_mirror(mirror: str) -> dict[str, bytes]:
    if "://" in mirror:
        base = mirror
    elif Path(mirror).is_dir():
        base = Path(mirror).resolve().as_uri()
    else:
        raise InputError(
            f"MNIST_MIRROR is {mirror!r}, which is no folder seen from {Path.cwd()}, and no URL; "
            f"expected one that holds {next(iter(MNIST_FILES))}.gz and its three sisters"
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
        except (OSError, HTTPException, ValueError) as error:  # ValueError: no URL at all
            failures.append(f"{url} ({getattr(error, 'reason', error)})")
    raise InputError(f"MNIST could not be read. Tried: {', '.join(failures)}{WAYS_OUT}")


def _from_torchvision() -> dict[str, bytes]:
    import torchvision  # 6 s, and only needed here

    dataset = torchvision.datasets.MNIST
    with tempfile.TemporaryDirectory() as folder:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                dataset(folder, download=True)
        except (RuntimeError, OSError) as error:
            reasons = str(error).strip().replace("\n", "\n    ")
            raise InputError(f"MNIST could not be downloaded.\n    {reasons}{WAYS_OUT}") from None
        raw = Path(folder, "MNIST", "raw")
        return {name: (raw / name).read_bytes() for name in MNIST_FILES}
