"""The difference between two versions of a data set: which images were added, removed or changed.

Images are compared by the digest of their pixels. An image that occurs twice counts twice.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from digits.core.arrays import UInt8Array
from digits.data import dataset
from digits.data.corrections import image_digest
from digits.data.dataset import Labelled, Source

SPLITS = ("train", "val", "test")  # in this order; others follow


@dataclass(frozen=True)
class Prepared:
    """A prepared data set: its source, and its images by split."""

    source: Source
    splits: Mapping[str, Labelled]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a prepared folder; raises `InputError` if a file is absent or malformed."""
        source, counts = dataset.load_description(folder)
        names = [name for name in SPLITS if name in counts] + sorted(counts.keys() - {*SPLITS})
        return cls(source, {name: dataset.load(folder, name) for name in names})

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """The number of images by class and split."""
        by_split = {
            name: np.bincount(split.labels, minlength=len(self.classes)).tolist()
            for name, split in self.splits.items()
        }
        return {
            label: {name: counts[i] for name, counts in by_split.items()}
            for i, label in enumerate(self.classes)
        }

    def pixels(self, image: "Image") -> UInt8Array:
        """An image's pixels, uint8 (height, width)."""
        pixels: UInt8Array = self.splits[image.split].images[image.index]
        return pixels


@dataclass(frozen=True)
class Image:
    """An image of a data set: its split, its position in it, the name of its class, its digest."""

    split: str
    index: int
    label: str
    digest: str


Pair = tuple[Image, Image]  # the same pixels before and after


@dataclass(frozen=True)
class Difference:
    """The images that differ, each in one list, in the order of the data sets.

    added : only in the newer version
    removed : only in the older version
    relabelled : in both, with another label; some are in another split too
    moved : in both, in another split, with the same label
    """

    added: list[Image]
    removed: list[Image]
    relabelled: list[Pair]
    moved: list[Pair]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.relabelled or self.moved)

    @property
    def sentence(self) -> str:
        """The counts in words."""
        if not self:
            return "no image differs"
        first, *others = (
            (len(self.added), "added"),
            (len(self.removed), "removed"),
            (len(self.relabelled), "relabelled"),
            (len(self.moved), "moved to another split"),
        )
        noun = "image" if first[0] == 1 else "images"
        return ", ".join([f"{first[0]:,} {noun} {first[1]}", *(f"{n:,} {w}" for n, w in others)])

    @property
    def groups(self) -> list[tuple[str, str, str, int]]:
        """The number of images by kind of change, split and class, as text: `train → val`.

        Sorted by split and class within a kind.
        """
        kinds = {
            "added": [(image.split, image.label) for image in self.added],
            "removed": [(image.split, image.label) for image in self.removed],
            "relabelled": [_arrows(*pair) for pair in self.relabelled],
            "moved": [_arrows(*pair) for pair in self.moved],
        }
        return [
            (kind, *place, count)
            for kind, places in kinds.items()
            for place, count in sorted(Counter(places).items())
        ]


def images(data: Prepared) -> list[Image]:
    """All images of a data set, split by split."""
    return [
        Image(name, i, data.classes[label], image_digest(pixels))
        for name, split in data.splits.items()
        for i, (pixels, label) in enumerate(zip(split.images, split.labels.tolist(), strict=True))
    ]


def repeated(all_images: Iterable[Image]) -> list[list[Image]]:
    """The images that occur more than once, those of the same pixels together."""
    by_digest = defaultdict(list)
    for image in all_images:
        by_digest[image.digest].append(image)
    return [same for same in by_digest.values() if len(same) > 1]


def compare(before: Sequence[Image], after: Sequence[Image]) -> Difference:
    """Compare the images of two data sets, from `images`.

    An image that occurs several times is paired with one of the same split and label if there is
    one, else of the same split, else of the same label.
    """
    _, old, new = _pair(before, after, lambda image: (image.digest, image.split, image.label))
    relabelled, old, new = _pair(old, new, lambda image: (image.digest, image.split))
    moved, old, new = _pair(old, new, lambda image: (image.digest, image.label))
    both, old, new = _pair(old, new, lambda image: (image.digest,))
    return Difference(added=new, removed=old, relabelled=relabelled + both, moved=moved)


def _pair(
    before: Sequence[Image], after: Sequence[Image], key: Callable[[Image], tuple[str, ...]]
) -> tuple[list[Pair], list[Image], list[Image]]:
    """Pair images that have the same key, in order; return the pairs and the others of each."""
    waiting: dict[tuple[str, ...], list[Image]] = defaultdict(list)
    for image in before:
        waiting[key(image)].append(image)
    for same in waiting.values():
        same.reverse()
    pairs, others = [], []
    for image in after:
        if same := waiting.get(key(image), []):
            pairs.append((same.pop(), image))
        else:
            others.append(image)
    left = {id(image) for same in waiting.values() for image in same}
    return pairs, [image for image in before if id(image) in left], others


def _arrows(before: Image, after: Image) -> tuple[str, str]:
    return _arrow(before.split, after.split), _arrow(before.label, after.label)


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"
