import os
from pathlib import Path

import pytest

from digits.core import files
from digits.core.errors import InputError


def test_json_has_one_form(tmp_path: Path) -> None:
    assert files.canonical_json({"b": 1, "a": (2,)}) == files.canonical_json({"a": [2], "b": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.canonical_json(float("nan"))


def test_write_replaces_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    files.write(path, "one")
    files.write(path, b"two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, "one")

    def fill() -> None:
        with files.replacing(path) as file:
            file.write(b"two")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill()
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, a file that was renamed without this can be empty."""
    path, synced = tmp_path / "file", []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    files.write(path, "content")
    assert synced == [(len("content"), False)]


def test_a_device_or_a_pipe_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        files.write(path, "one")
        assert reader.read() == b"one"
    assert path.is_fifo()


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with files.new_directory(target) as folder:
        (folder / "new").touch()
        assert [p.name for p in target.iterdir()] == ["old"]
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_leaves_the_old_folder_and_nothing_half_written(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()

    def fill() -> None:
        with files.new_directory(target) as folder:
            (folder / "new").touch()
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill()
    assert [p.name for p in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    (tmp_path / "file").touch()
    for name, reason in (("mine", "has files, but no source.json"), ("file", "is a file")):
        with (
            pytest.raises(InputError, match=rf"{name} {reason}"),
            files.new_directory(tmp_path / name, "source.json"),
        ):
            pytest.fail("it was replaced")
    assert (tmp_path / "mine" / "a.txt").exists()


def test_a_link_to_a_folder_remains_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with files.new_directory(tmp_path / "out", "source.json") as folder:
        (folder / "source.json").touch()
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "source.json").exists()


def test_the_rest_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "rest").touch()
    with files.new_directory(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []


def test_of_two_writers_the_last_one_wins_and_the_file_is_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    with files.replacing(path) as one, files.replacing(path) as two:
        one.write(b"one, which is longer")
        two.write(b"two")
    assert path.read_bytes() == b"one, which is longer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_of_the_pipeline_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json does not exist\. Run: dvc repro"):
        files.existing(tmp_path / "absent.json")
