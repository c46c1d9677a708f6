"""What the page of the data shows of the images; kept in .ui/, by the digest of the data.

To read and compare 70,000 images takes seconds, and images of a digest never change.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from digits.data import difference
from digits.data.dataset import Labelled
from digits.data.difference import Image, Prepared
from ops.tools import data_revisions
from ops.tools.data_revisions import DataRevision
from ops.tools.drawing import data_sheet, pictures
from ops.ui.facts.cache import kept

SAMPLES = 16  # of a class
MOST_REPEATED = 30
CODE = (__file__, difference.__file__, data_sheet.__file__, pictures.__file__)


@dataclass(frozen=True)
class Repeated:
    """An image that occurs more than once: its picture, and where, as `train 4, test 9`."""

    picture: str
    places: str
    has_two_labels: bool


@dataclass(frozen=True)
class Summary:
    """A data set in numbers and pictures.

    source, digests : the name of the source, and the digests of its files
    size : height and width of an image in pixels
    counts : images by class and split
    samples : by class, a picture of several training images in a row
    repeated, two_labels, in_test : images that occur more than once; of these, those with two
        labels, and those among the test images and also among others
    examples : the first of the repeated images, those with two labels first
    """

    source: str
    digests: dict[str, str]
    size: tuple[int, int]
    counts: dict[str, dict[str, int]]
    samples: dict[str, str]
    repeated: int
    two_labels: int
    in_test: int
    examples: list[Repeated]


@dataclass(frozen=True)
class Changes:
    """The difference between two data sets: a sentence, and HTML with tables and pictures."""

    sentence: str
    html: str


def summary(revision: DataRevision) -> Summary:
    """Summarise a data set; raises `InputError` if its images are not on this machine."""
    values = kept(f"data/{revision.digest}-{_code()}", lambda: asdict(_summarise(_load(revision))))
    examples = [Repeated(**example) for example in values["examples"]]
    return Summary(**{**values, "examples": examples})


def changes(before: DataRevision, after: DataRevision) -> Changes:
    """Compare two data sets; raises `InputError` if the images of one are not on this machine."""
    name = f"data/{before.digest}-{after.digest}-{_code()}"
    return Changes(**kept(name, lambda: _compare(before, after)))


@cache
def _code() -> str:
    """A digest of the code that makes what is kept."""
    template = Path(data_sheet.__file__).with_suffix(".html.jinja")
    contents = [Path(file).read_bytes() for file in (*CODE, template)]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:8]


def _load(revision: DataRevision) -> Prepared:
    return data_revisions.load(revision, from_remote=False)


def _compare(before: DataRevision, after: DataRevision) -> dict[str, str]:
    old, new = _load(before), _load(after)
    differing = difference.compare(difference.images(old), difference.images(new))
    return {"sentence": differing.sentence, "html": data_sheet.html(differing, old, new)}


def _summarise(data: Prepared) -> Summary:
    repeated = [
        (same, len({image.label for image in same}) > 1)
        for same in difference.repeated(difference.images(data))
    ]
    repeated.sort(key=lambda group: not group[1])
    return Summary(
        source=data.source.name,
        digests=data.source.digests,
        size=next(iter(data.splits.values())).images.shape[1:],
        counts=data.counts,
        samples=samples(next(iter(data.splits.values())), data.classes),
        repeated=len(repeated),
        two_labels=sum(two for _, two in repeated),
        in_test=sum({image.split for image in same} > {"test"} for same, _ in repeated),
        examples=[
            Repeated(pictures.data_uri(data.pixels(same[0])), _places(same), two)
            for same, two in repeated[:MOST_REPEATED]
        ],
    )


def samples(train: Labelled, classes: Sequence[str]) -> dict[str, str]:
    """By class, a picture of images from all over those of the class, side by side."""
    strips = {}
    for label, name in enumerate(classes):
        of_class = np.flatnonzero(train.labels == label)
        if len(of_class):
            spread = np.linspace(0, len(of_class) - 1, min(SAMPLES, len(of_class))).astype(int)
            strips[name] = pictures.data_uri(np.hstack(list(train.images[of_class[spread]])))
    return strips


def _places(same: list[Image]) -> str:
    return ", ".join(f"{image.split} #{image.index} as {image.label}" for image in same)
