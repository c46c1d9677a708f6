"""An archive that may do harm is refused by name, before anything is unpacked."""

import io
import stat
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from digits.core.errors import InputError
from digits.data import archives
from tests.helpers.tables import archive


def linked() -> bytes:
    member = zipfile.ZipInfo("a.png")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        opened.writestr(member, "/etc/passwd")
    return content.getvalue()


def encrypted() -> bytes:
    content = archive({"a.png": b"x"})
    where = content.index(b"PK\1\2") + 8  # the flags in the archive's directory
    return content[:where] + b"\1" + content[where + 1 :]


HARMFUL = {
    "climbs": (archive({"../a.png": b"x"}), r"'\.\./a\.png', which leads out of its folder"),
    "climbs from within": (archive({"a/../../b": b"x"}), "which leads out"),
    "absolute": (archive({"/tmp/a.png": b"x"}), "'/tmp/a.png', which leads out"),
    "of Windows": (archive({"c:\\a.png": b"x"}), "which leads out"),
    "with backslashes": (archive({"train\\a.png": b"x"}), r"'train.*a\.png', with backslashes"),
    "link": (linked(), "a.png is a link"),
    "encrypted": (encrypted(), "a.png is encrypted"),
    "twice": (archive({"a.png": b"x", "b.png": b"x"}).replace(b"b.png", b"a.png"), "two files of"),
    "none": (b"hello", "not a ZIP archive"),
    "without its start": (archive({"a.png": b"x" * 99}, zipfile.ZIP_STORED)[50:], "damaged zip"),
    "cut": (archive({"a.png": b"x" * 99})[:-30], "not a ZIP archive"),
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_a_harmful_archive_is_refused_and_writes_nothing(kind: str, tmp_path: Path) -> None:
    content, reason = HARMFUL[kind]
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "a.zip"
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"(?s)deep/a.zip: .*{reason}"), archives.unpacked(file):
        pytest.fail("it was unpacked")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_an_archive_that_unpacks_to_far_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    with ExitStack() as stack:
        archives.open_archive(io.BytesIO(archive({"a.npy": bytes(1 << 20)})), stack)
        with pytest.raises(InputError, match=r"unpacks to 1,048,577 in 1 files\. If that"):
            archives.open_archive(io.BytesIO(archive({"a.npy": bytes(1 + (1 << 20))})), stack)


def test_damage_in_a_member_names_the_archive(tmp_path: Path) -> None:
    content = archive({"a.csv": b"1,2,3\n" * 9}, zipfile.ZIP_STORED)
    (tmp_path / "a.zip").write_bytes(content.replace(b"1,2,3", b"1,2,4", 1))
    with pytest.raises(InputError, match=r"a\.zip: .*CRC"), archives.unpacked(tmp_path / "a.zip"):
        pytest.fail("it was unpacked")


def test_the_folder_is_gone_afterwards_and_errors_name_the_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive({"d/a.png": b"x", "__MACOSX/._a.png": b"x"}))
    found: list[Path] = []

    def read() -> None:
        with archives.unpacked(tmp_path / "a.zip") as folder:
            found.extend(folder.rglob("*"))
            raise InputError(f"{folder}/d/a.png is no image")

    with pytest.raises(InputError) as refusal:
        read()
    assert str(refusal.value) == f"{tmp_path}/a.zip/d/a.png is no image"
    assert [path.name for path in found] == ["d", "a.png"]
    assert not any(path.exists() for path in found)
