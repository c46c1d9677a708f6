"""Labelled images on disk and in memory: load, save, check, split.

A data folder holds `<split>-images.npy` (uint8, n x height x width), `<split>-labels.npy` (uint8,
positions in `classes`) and `source.json`; a prepared one also `<split>-indices.npy`, the positions
in the raw file that the images came from (corrections, which follow those, came from elsewhere).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from digits.core import files
from digits.core.arrays import Int64Array, UInt8Array
from digits.core.errors import InputError


@dataclass(frozen=True)
class Labelled:
    """Images, uint8 (n, height, width), and labels, uint8 (n,), positions in `Source.classes`."""

    images: UInt8Array
    labels: UInt8Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Int64Array) -> "Labelled":
        return Labelled(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: its name, its classes' names, and a digest of each file.

    `method` is how a free image becomes one like its own: see `digits.imaging.preprocessing`.
    """

    name: str
    classes: tuple[str, ...]
    digests: dict[str, str]
    method: str


@dataclass(frozen=True)
class Raw:
    """A data set as its publisher divides it."""

    source: Source
    train: Labelled
    test: Labelled


def save(folder: Path, source: Source, splits: dict[str, Labelled]) -> None:
    """Write a data folder's arrays and its `source.json`."""
    for name, split in splits.items():
        np.save(folder / f"{name}-images.npy", split.images)
        np.save(folder / f"{name}-labels.npy", split.labels)
    counts = {name: len(split) for name, split in splits.items()}
    description = {
        "source": source.name,
        "classes": source.classes,
        "digests": source.digests,
        "method": source.method,
        "counts": counts,
    }
    files.write(folder / "source.json", files.canonical_json(description))


def save_indices(folder: Path, indices: dict[str, Int64Array]) -> None:
    """Write where in the raw file each split's images came from."""
    for name, positions in indices.items():
        np.save(folder / f"{name}-indices.npy", positions)


def load(folder: str | Path, split: str) -> Labelled:
    """Read one split of a data folder; raises `InputError` when a file is absent or no array."""
    return Labelled(
        _array(Path(folder) / f"{split}-images.npy"), _array(Path(folder) / f"{split}-labels.npy")
    )


def load_source(folder: str | Path) -> Source:
    """Read a data folder's `source.json`."""
    return load_description(folder)[0]


def load_description(folder: str | Path) -> tuple[Source, dict[str, int]]:
    """A data folder's `source.json`: where the data come from, and the images of each split."""
    path = Path(folder) / "source.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        source = Source(found["source"], tuple(found["classes"]), found["digests"], found["method"])
        return source, found["counts"]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Run: dvc repro") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the description of a data set: {error!r}") from None


def load_raw(folder: str | Path) -> Raw:
    """Read what `fetch` wrote."""
    return Raw(load_source(folder), load(folder, "train"), load(folder, "test"))


def check(raw: Raw, max_class_ratio: float) -> None:
    """Refuse arrays that cannot be what they are called.

    Parameters
    ----------
    raw : both parts of a data set
    max_class_ratio : how many times as many images the largest class of a part may have as its
        smallest

    Raises
    ------
    InputError
        On a wrong dtype or shape, a label without a class, a class without images, or classes
        further out of balance than allowed.
    """
    for name, part in (("train", raw.train), ("test", raw.test)):
        images, labels = part.images, part.labels
        if images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise InputError(f"{name}: dtypes {images.dtype}, {labels.dtype}; expected uint8 twice")
        if images.ndim != 3 or labels.ndim != 1 or 0 in images.shape:
            raise InputError(
                f"{name}: shapes {images.shape}, {labels.shape}; expected (n, height, width), (n,)"
            )
        if len(images) != len(labels):
            raise InputError(f"{name}: {len(images)} images, but {len(labels)} labels")
        if images.shape[1:] != raw.train.images.shape[1:]:
            raise InputError(
                f"{name}: images of {images.shape[1:]}; those of train are "
                f"{raw.train.images.shape[1:]}"
            )
        _check_labels(name, labels, raw.source.classes, max_class_ratio)


def _check_labels(
    name: str, labels: UInt8Array, classes: tuple[str, ...], max_ratio: float
) -> None:
    if labels.max() >= len(classes):
        raise InputError(f"{name}: label {labels.max()}; expected 0 to {len(classes) - 1}")
    counts = np.bincount(labels, minlength=len(classes))
    fewest, most = int(counts.argmin()), int(counts.argmax())
    if counts[most] > max_ratio * counts[fewest]:
        raise InputError(
            f"{name}: {counts[most]} images of class {classes[most]}, but {counts[fewest]} of "
            f"class {classes[fewest]}; expected at most {max_ratio} times as many "
            f"(prepare.max_class_ratio)"
        )


def split_indices(
    labels: UInt8Array, val_fraction: float, seed: int
) -> tuple[Int64Array, Int64Array]:
    """Divide training images into those to learn from and those to validate on.

    Parameters
    ----------
    labels : uint8 (n,)
    val_fraction : share of the images that validates, in (0, 1)
    seed : of the draw

    Returns
    -------
    two sorted int64 arrays, disjoint, together 0 to n - 1, each class in both in the same share
    """
    from sklearn.model_selection import train_test_split  # 0.8 s that reading arrays need not pay

    try:
        train, val = train_test_split(
            np.arange(len(labels)), test_size=val_fraction, stratify=labels, random_state=seed
        )
    except ValueError:
        raise InputError(
            f"prepare.val_fraction is {val_fraction}; of {len(labels)} images, that leaves no "
            f"image of some class to learn from or to validate on"
        ) from None
    return np.sort(train), np.sort(val)


def check_partition(parts: list[Int64Array], size: int) -> None:
    """Refuse parts that share an index or do not cover 0 to `size` - 1."""
    counts = np.bincount(np.concatenate(parts), minlength=size)
    if len(counts) != size or not (counts == 1).all():
        raise InputError(
            f"the splits hold {(counts > 1).sum()} indices twice and leave out "
            f"{(counts[:size] == 0).sum()} of {size}"
        )


def count_duplicates(test: Labelled, train: Labelled) -> int:
    """How many test images occur, pixel for pixel, among the training images."""
    known = {image.tobytes() for image in train.images}
    return sum(image.tobytes() in known for image in test.images)


def digest(labelled: Labelled) -> str:
    """sha256 over the images' bytes, then the labels'."""
    found = hashlib.sha256(labelled.images.tobytes())
    found.update(labelled.labels.tobytes())
    return found.hexdigest()


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Run: dvc repro") from None
    except (ValueError, EOFError):
        raise InputError(f"{path} is not a NumPy array. Run: dvc repro") from None
    return array
