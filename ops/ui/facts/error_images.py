"""The test images that runs get wrong, as one picture for each set of test images."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError, UserError
from digits.data import dataset
from ops.tools import data_revisions, dvc
from ops.ui.facts import history
from ops.ui.project import Project

COLUMNS = 32


@dataclass(frozen=True)
class Sheet:
    """Images of a test set, `COLUMNS` in a row, each `height` x `width` pixels.

    path : of the picture among the pages
    place : of an image in the picture, counted from 0, by its position in the test set
    missing : why there are no images; then `place` is empty
    """

    path: str
    png: bytes
    height: int
    width: int
    place: Mapping[int, int]
    missing: str = ""

    @property
    def rows(self) -> int:
        return -(-len(self.place) // COLUMNS)


@lru_cache(maxsize=2)
def read(project: Project) -> Mapping[str, Sheet]:
    """By the digest of the test set."""
    wrong: dict[str, set[int]] = {}
    commits: dict[str, list[str]] = {}
    for run in history.runs(project):
        if run.results.test_set:
            wrong.setdefault(run.results.test_set, set()).update(run.results.errors)
            commits.setdefault(run.results.test_set, []).append(run.commit)
    return {name: _sheet(name, indices, commits[name]) for name, indices in wrong.items()}


def _sheet(test_set: str, indices: Iterable[int], commits: Sequence[str]) -> Sheet:
    path = f"sheets/{test_set[:12]}.png"
    try:
        images = _images(test_set, commits)
    except UserError as error:
        return Sheet(path, b"", 1, 1, {}, str(error))
    known = sorted(index for index in indices if index < len(images))
    png = _png(images[known]) if known else b""
    _, height, width = images.shape
    return Sheet(path, png, height, width, {index: i for i, index in enumerate(known)})


def _images(test_set: str, commits: Sequence[str]) -> UInt8Array:
    """The images of a test set: from the working tree, or DVC's cache; none is fetched."""
    folder = Path(dvc.DATA)
    if (folder / "test-images.npy").exists():
        test = dataset.load(folder, "test")
        if dataset.digest(test) == test_set:
            return test.images
    revision = data_revisions.find(commits[-1])
    test = data_revisions.load(revision, from_remote=False).splits["test"]
    if dataset.digest(test) != test_set:
        raise InputError(f"the images of {revision.name} are not those of its metrics")
    return test.images


def _png(images: UInt8Array) -> bytes:
    """Opaque ink on nothing, so that the page can choose both colours."""
    count, height, width = images.shape
    rows = -(-count // COLUMNS)
    grid = np.zeros((rows * COLUMNS, height, width), np.uint8)
    grid[:count] = images
    ink = grid.reshape(rows, COLUMNS, height, width).swapaxes(1, 2).reshape(rows * height, -1)
    content = io.BytesIO()
    Pillow.fromarray(np.stack([np.zeros_like(ink), ink], axis=-1), "LA").save(content, "PNG")
    return content.getvalue()
