"""Labelled images on disk and in memory: load, save, check, split.

A data folder holds `<split>-images.npy` (uint8, n x height x width), `<split>-labels.npy` (uint8,
positions in `classes`) and `source.json`. A prepared folder also holds `<split>-indices.npy`, the
images' positions in the raw file (drawn images and corrections come after these images and have no
position).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from digits.core import files
from digits.core.arrays import BoolArray, Int64Array, UInt8Array
from digits.core.errors import InputError, first

TEST_SHARE = 7  # one of so many images of a class is set apart to test on, as in MNIST


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

    `method` brings any image into the form of this data set's: see `digits.imaging.preprocessing`.
    """

    name: str
    classes: tuple[str, ...]
    digests: dict[str, str]
    method: str

    @property
    def shows_digits(self) -> bool:
        """Whether each class is one of the ten digits."""
        return set(self.classes) <= set("0123456789")


@dataclass(frozen=True)
class Raw:
    """A data set, divided into training and test images by its publisher.

    notes : what a user may not expect of how its files were read
    """

    source: Source
    train: Labelled
    test: Labelled
    notes: tuple[str, ...] = ()


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
    """Write the positions in the raw file of each split's images."""
    for name, positions in indices.items():
        np.save(folder / f"{name}-indices.npy", positions)


def load(folder: str | Path, split: str) -> Labelled:
    """Read one split of a data folder; raises `InputError` if a file is absent or not an array."""
    return Labelled(
        _array(Path(folder) / f"{split}-images.npy"), _array(Path(folder) / f"{split}-labels.npy")
    )


def load_source(folder: str | Path) -> Source:
    """Read a data folder's `source.json`."""
    return load_description(folder)[0]


def load_description(folder: str | Path) -> tuple[Source, dict[str, int]]:
    """Read a data folder's `source.json`: the source, and the number of images in each split."""
    path = files.existing(Path(folder) / "source.json")
    try:
        d = json.loads(path.read_text(encoding="utf-8"))
        return Source(d["source"], tuple(d["classes"]), d["digests"], d["method"]), d["counts"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the description of a data set: {error!r}") from None


def load_raw(folder: str | Path) -> Raw:
    """Read the folder that `fetch` wrote."""
    return Raw(load_source(folder), load(folder, "train"), load(folder, "test"))


def check(raw: Raw, max_class_ratio: float) -> None:
    """Refuse arrays that cannot be the images and labels of the data set's classes.

    Parameters
    ----------
    raw : both parts of a data set
    max_class_ratio : images of a part's largest class, at most, divided by those of its smallest

    Raises
    ------
    InputError
        If a dtype or shape is wrong, a label has no class, a class has no images, or the classes
        are less balanced than allowed.
    """
    unbalanced = []
    for name, part in (("train", raw.train), ("test", raw.test)):
        images, labels = part.images, part.labels
        if images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise InputError(f"{name}: dtypes {images.dtype}, {labels.dtype}; expected uint8")
        if images.ndim != 3 or labels.ndim != 1 or 0 in images.shape:
            raise InputError(
                f"{name}: shapes {images.shape}, {labels.shape}; expected (n, height, width), (n,)"
            )
        if len(images) != len(labels):
            raise InputError(f"{name}: {len(images)} images, but {len(labels)} labels")
        if images.shape[1:] != raw.train.images.shape[1:]:
            raise InputError(
                f"{name}: images of {images.shape[1:]}; expected {raw.train.images.shape[1:]}, as "
                f"in train"
            )
        classes = raw.source.classes
        if labels.max() >= len(classes):
            raise InputError(f"{name}: label {labels.max()}; expected 0 to {len(classes) - 1}")
        counts = np.bincount(labels, minlength=len(classes))
        fewest, most = int(counts.argmin()), int(counts.argmax())
        if counts[most] > max_class_ratio * counts[fewest]:
            unbalanced.append(
                f"{name}: {counts[most]:,} images of class {classes[most]}, but "
                f"{counts[fewest]:,} of class {classes[fewest]}"
            )
    if unbalanced:
        raise InputError(
            f"{'; '.join(unbalanced)}; expected at most {max_class_ratio:g} times as many. If the "
            f"classes are so different, raise prepare.max_class_ratio"
        )


def set_apart(labelled: Labelled, classes: Sequence[str]) -> tuple[Labelled, Labelled]:
    """Divide images into those to train on and, one of `TEST_SHARE` of each class, to test on.

    Those with the smallest digests are chosen, so images in another order are divided in the same
    way, and equal images of a class are in the same part.

    Raises `InputError` if a class has no two images that differ; names all such classes.
    """
    digests = np.array([hashlib.sha256(image.tobytes()).digest() for image in labelled.images])
    is_test: BoolArray = np.zeros(len(labelled), bool)
    too_few = []
    for label, name in enumerate(classes):
        own = labelled.labels == label
        distinct = np.unique(digests[own])
        if len(distinct) < 2:
            too_few.append(name)
            continue
        last = distinct[max(len(distinct) // TEST_SHARE, 1) - 1]
        is_test |= own & (digests <= last)
    if too_few:
        raise InputError(
            f"no image to test on can be set apart of {first(too_few)}: it takes two images of a "
            f"class that differ. Add some, or remove the class"
        )
    train, test = (labelled.take(np.flatnonzero(part)) for part in (~is_test, is_test))
    return train, test


def note_of_apart(test: Labelled) -> str:
    return f"{len(test):,} were set apart, one of {TEST_SHARE} of each class"


def split_indices(
    labels: UInt8Array, val_fraction: float, seed: int
) -> tuple[Int64Array, Int64Array]:
    """Divide training images into images to train on and images to validate on.

    Parameters
    ----------
    labels : uint8 (n,)
    val_fraction : share of the images to validate on, in (0, 1)
    seed : of the random draw

    Returns
    -------
    two sorted int64 arrays, disjoint, together 0 to n - 1; each class has the same share in both

    Raises
    ------
    InputError
        If a class would have no image in one of them.
    """
    from sklearn.model_selection import train_test_split  # takes 0.8 s; reading arrays needs none

    try:
        train, val = train_test_split(
            np.arange(len(labels)), test_size=val_fraction, stratify=labels, random_state=seed
        )
        counts = {len(np.unique(part)) for part in (labels, labels[train], labels[val])}
    except ValueError:
        counts = set()
    if len(counts) != 1:
        raise InputError(
            f"prepare.val_fraction is {val_fraction}; this leaves no image of some class to train "
            f"on or to validate on, of {len(labels)} images in all and {np.bincount(labels).min()} "
            f"of the smallest class"
        )
    return np.sort(train), np.sort(val)


def count_duplicates(test: Labelled, train: Labelled) -> int:
    """Count the test images whose pixels are also a training image's."""
    known = {image.tobytes() for image in train.images}
    return sum(image.tobytes() in known for image in test.images)


def digest(labelled: Labelled) -> str:
    """sha256 over the images' bytes, then the labels'."""
    sha256 = hashlib.sha256(labelled.images.tobytes())
    sha256.update(labelled.labels.tobytes())
    return sha256.hexdigest()


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(files.existing(path), allow_pickle=False)
    except (ValueError, EOFError):
        raise InputError(f"{path} is not a NumPy array. Run: dvc repro") from None
    return array
