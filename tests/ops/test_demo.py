"""The files that digits demo copies; tests/end_to_end/test_dvc.py runs it."""

from pathlib import Path

import pytest

from digits.core import files
from ops import demo


def test_only_the_files_of_an_earlier_demo_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(commit: str, path: str, target: Path) -> None:
        files.write(target / Path(path).name, commit)

    monkeypatch.setattr(demo, "fetch_committed", fetch)
    files.write(tmp_path / "demo" / "my-scans.csv", "mine")
    demo.copy_outputs("1", tmp_path / "demo")
    files.write(tmp_path / "demo" / "metrics" / "former.png", "of an earlier demo")
    demo.copy_outputs("2", tmp_path / "demo")
    found = {
        path.relative_to(tmp_path / "demo").as_posix(): path.read_text()
        for path in (tmp_path / "demo").rglob("*")
        if path.is_file()
    }
    assert found == {
        "my-scans.csv": "mine",
        "digit-classifier/digit-classifier": "2",
        "metrics/metrics": "2",
    }
