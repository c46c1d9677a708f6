"""What the page of the data says of images that occur more than once."""

from pathlib import Path

import numpy as np
import pytest

from digits.data import dataset
from ops.tools import disk
from ops.tools.data_revisions import DataRevision
from ops.tools.dvc import DATA
from ops.ui.facts import data_summary
from tests.helpers.data_project import SOURCE, digits


def test_only_test_images_that_are_among_others_too_count_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DATA).mkdir(parents=True)
    splits = {
        "train": digits(0, 4),
        "val": digits(4, 6),
        "test": digits(0, 9).take(np.array([6, 7, 6, 0])),  # one of them twice, one of `train`
    }
    dataset.save(Path(DATA), SOURCE, splits)
    digest = disk.digest(DATA)
    assert digest
    found = data_summary.summary(DataRevision("here", None, digest))
    assert (found.repeated, found.two_labels, found.in_test) == (2, 0, 1)
    places = {example.places.replace(" as <b>nought", "") for example in found.examples}
    assert places == {"test #0, test #2", "train #0, test #3"}
