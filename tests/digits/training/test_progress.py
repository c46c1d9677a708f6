"""A page can follow a training, and cannot disturb it."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from digits.training import progress
from digits.training.curve import Epoch

ROW = Epoch(1, 0.1, 0.5, 0.9, 0.4, 1.0)


def test_the_curve_so_far_is_in_the_file_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "progress.json"
    monkeypatch.setenv(progress.PROGRESS, str(path))
    for curve in ([ROW], [ROW, ROW]):
        progress.publish(curve, 8)
        assert json.loads(path.read_text()) == {
            "epochs": 8,
            "curve": [asdict(row) for row in curve],
        }


def test_a_file_that_cannot_be_written_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(progress.PROGRESS, str(tmp_path / "file" / "progress.json"))
    progress.publish([ROW], 8)


def test_without_a_name_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.PROGRESS, raising=False)
    monkeypatch.chdir(tmp_path)
    progress.publish([ROW], 8)
    assert list(tmp_path.iterdir()) == []
