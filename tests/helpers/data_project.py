"""A project whose data changed: a stage that writes data/prepared, which DVC has in its cache.

Example:

    project = data_project(folder)     # commits: the first data, other code, more data
    project.run("python", "-m", "ops.data_diff", "HEAD~2")
"""

from pathlib import Path

import numpy as np

from digits.core.arrays import UInt8Array
from digits.data import dataset
from digits.data.dataset import Labelled, Source
from tests.helpers.project import Project

SOURCE = Source("toy", ("<b>nought", "one"), {"train-images": "5" * 64}, "resize")
PIPELINE = """\
stages:
  prepare:
    cmd: echo
    outs:
      - data/prepared
"""


def data_project(folder: Path) -> Project:
    """The second data: one image more, one less, one relabelled, one moved from train to val."""
    project = Project.scratch(folder)
    (folder / "dvc.yaml").write_text(PIPELINE)
    first = {"train": digits(0, 20), "val": digits(20, 24), "test": digits(24, 30)}
    write_data(project, first)
    project.commit("the first data")
    (folder / "README.md").write_text("changed")
    project.commit("other code")
    train = first["train"].take(np.arange(2, 20))  # without images 0 and 1
    labels = train.labels.copy()
    labels[3] = 1 - labels[3]
    more = digits(40, 41)
    second = {
        "train": Labelled(
            np.concatenate([train.images, more.images]), np.concatenate([labels, more.labels])
        ),
        "val": Labelled(
            np.concatenate([first["val"].images, first["train"].images[1:2]]),
            np.concatenate([first["val"].labels, first["train"].labels[1:2]]),
        ),
        "test": first["test"],
    }
    write_data(project, second)
    project.commit("more data")
    return project


def digits(start: int, end: int) -> Labelled:
    """Images that all differ, with labels in turn."""
    images = np.zeros((end - start, 28, 28), np.uint8)
    for image, number in zip(images, range(start, end), strict=True):
        draw_cross(image, number)
    return Labelled(images, (np.arange(start, end) % 2).astype(np.uint8))


def draw_cross(image: UInt8Array, number: int) -> None:
    image[4:24, 8 + number % 12] = 255
    image[4 + number // 12 : 8 + number // 12, 6:22] = 200


def write_data(project: Project, splits: dict[str, Labelled]) -> None:
    """Write data/prepared, into DVC's cache and dvc.lock too."""
    folder = project.folder / "data" / "prepared"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()  # it may be a link into the cache
    dataset.save(folder, SOURCE, splits)
    project.run("dvc", "commit", "--force", "--quiet", "prepare")
