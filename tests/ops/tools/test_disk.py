from hashlib import md5
from pathlib import Path

import pytest

from digits.core import files
from ops.tools import disk

# As DVC has it for a folder with `a` ("a") and `deep/b` ("b"): the MD5 of its list of files.
LISTED = (
    f'[{{"md5": "{md5(b"a").hexdigest()}", "relpath": "a"}}, '
    f'{{"md5": "{md5(b"b").hexdigest()}", "relpath": "deep/b"}}]'
)


def test_a_file_a_folder_and_nothing(tmp_path: Path) -> None:
    files.write(tmp_path / "deep" / "b", "b")
    files.write(tmp_path / "a", "a")
    assert disk.digest(tmp_path / "a") == md5(b"a").hexdigest()
    assert disk.digest(tmp_path) == f"{md5(LISTED.encode()).hexdigest()}.dir"
    assert disk.digest(tmp_path / "c") is None


def test_a_file_that_changes_has_another_digest(tmp_path: Path) -> None:
    files.write(tmp_path / "a", "1")
    before = disk.digest(tmp_path / "a")
    files.write(tmp_path / "a", "2")  # as long as before
    assert disk.digest(tmp_path / "a") != before


def test_a_path_is_inside_by_its_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cached = tmp_path / "project", tmp_path / "cache/files/md5/ab" / ("c" * 30)
    files.write(folder / "a", "a")
    files.write(tmp_path / "secret", "s")
    files.write(cached, "c")
    monkeypatch.chdir(folder)
    links = {"own": "a", "loop": "loop", "out": "../secret", "up": "..", "of_dvc": str(cached)}
    for name, target in links.items():
        Path(name).symlink_to(target)
    assert [name for name in links if disk.is_inside(name)] == ["own", "of_dvc"]
    assert disk.is_inside("nothing")
    for path in ("/", "..", "../secret", "up/secret", "a\0", f"{cached}/x", f"{cached}0"):
        assert not disk.is_inside(path)
