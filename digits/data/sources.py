"""The published sources of images: MNIST and UCI digits. Each returns a `Raw`."""

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

from digits.core.errors import InputError, Unreachable
from digits.data import idx
from digits.data.dataset import Labelled, Raw, Source

DIGITS = tuple("0123456789")

# MD5 of the uncompressed files; a .gz has a header that differs from mirror to mirror.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


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
    for name, content in contents.items():
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != MNIST_FILES[name]:
            raise InputError(
                f"{name} has {len(content):,} bytes, whose MD5 is {md5}; expected "
                f"{MNIST_FILES[name]}. The file is damaged or not MNIST's: get it from another "
                f"mirror"
            )
    arrays = {name: idx.parse(content) for name, content in contents.items()}
    train, test = (
        Labelled(arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"])
        for part in ("train", "t10k")
    )
    return Raw(Source("mnist", DIGITS, dict(MNIST_FILES), "ink-box"), train, test)


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
