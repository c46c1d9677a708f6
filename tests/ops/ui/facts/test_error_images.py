"""The test images that runs get wrong, of a real repository."""

from pathlib import Path

import numpy as np
import pytest

from ops.ui.facts import error_images
from ops.ui.project import Project
from tests.helpers.run_history import RunHistory, test_images


def test_images_of_another_test_set_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = RunHistory.create(tmp_path / "project")
    monkeypatch.chdir(made.folder)
    made.commit("a run", [1, 14])
    [sheet] = error_images.read(Project(f"{tmp_path} same")).values()
    assert (sheet.place, sheet.missing) == ({1: 0, 14: 1}, "")

    np.save("data/prepared/test-images.npy", 255 - test_images().images)
    [sheet] = error_images.read(Project(f"{tmp_path} other")).values()
    assert (sheet.place, sheet.png) == ({}, b"")
    assert sheet.missing
