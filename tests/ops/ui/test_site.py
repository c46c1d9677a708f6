"""The folder of pages: it replaces its own files, and nobody else's."""

import subprocess
import sys
from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.ui import contents, project, site
from tests.helpers.small import ROOT

PAGES = {"index.html": b"one", "runs/1.html": b"two"}


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The pages that there are; a test changes them."""
    pages = dict(PAGES)
    monkeypatch.setattr(project, "read", lambda **_: None)
    monkeypatch.setattr(
        contents, "resources", lambda _: {path: lambda p=path: pages[p] for path in pages}
    )
    return pages


def written(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_pages_that_are_gone_are_removed_and_other_files_stay(
    pages: dict[str, bytes], tmp_path: Path
) -> None:
    assert site.write(tmp_path / "site") == len(PAGES) + 1
    (tmp_path / "site" / "CNAME").write_text("example.com")
    del pages["runs/1.html"]
    pages["index.html"] = b"new"
    site.write(tmp_path / "site")
    listing = f"{site.FIRST_LINE}\nfiles.txt\nindex.html\n".encode()
    assert written(tmp_path / "site") == {
        "index.html": b"new",
        "CNAME": b"example.com",
        "files.txt": listing,
    }


@pytest.mark.usefixtures("pages")
def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.txt"):
        site.write(tmp_path)
    assert written(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("listing", [b"files.txt\nholiday.jpg\n", b"caf\xe9.jpg\n", b""])
def test_a_list_that_this_program_did_not_write_is_a_file_of_somebody_else(
    listing: bytes, tmp_path: Path
) -> None:
    mine = {"files.txt": listing, "holiday.jpg": b"mine"}
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"has other files, such as files\.txt"):
        site.write(tmp_path)
    assert written(tmp_path) == mine


@pytest.mark.usefixtures("pages")
def test_only_plain_files_are_removed(tmp_path: Path) -> None:
    site.write(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.html").symlink_to("index.html")
    with (tmp_path / site.LIST).open("a") as file:
        file.write("folder\nlink.html\n\n.\n")
    site.write(tmp_path)
    assert (tmp_path / "folder").is_dir()
    assert (tmp_path / "link.html").is_symlink()


def test_a_file_of_somebody_else_is_not_replaced(pages: dict[str, bytes], tmp_path: Path) -> None:
    site.write(tmp_path)
    (tmp_path / "about.html").write_text("mine")
    pages["about.html"] = b"a page"
    with pytest.raises(InputError, match=r"about\.html"):
        site.write(tmp_path)
    assert (tmp_path / "about.html").read_text() == "mine"


@pytest.mark.usefixtures("pages")
def test_a_list_that_leads_out_of_the_folder_removes_nothing_there(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    site.write(tmp_path / "site")
    with (tmp_path / "site" / site.LIST).open("a") as file:
        file.write("../outside.txt\n")
    site.write(tmp_path / "site")
    assert outside.read_text() == "mine"


def interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C end a run at its second page."""

    def interrupted() -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        broken = {"index.html": lambda: b"one", "runs/1.html": interrupted}
        patch.setattr(contents, "resources", lambda _: broken)
        with pytest.raises(KeyboardInterrupt):
            site.write(folder)


def test_a_run_that_was_interrupted_can_be_repeated(
    pages: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interrupt(tmp_path, monkeypatch)
    site.write(tmp_path)
    assert written(tmp_path).keys() == {*pages, site.LIST}


def test_pages_that_are_gone_are_removed_also_after_an_interrupted_run(
    pages: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pages["old.html"] = b"old"
    site.write(tmp_path)
    del pages["old.html"]
    interrupt(tmp_path, monkeypatch)
    site.write(tmp_path)
    assert written(tmp_path).keys() == {*pages, site.LIST}


def test_the_pages_need_no_package_of_the_server() -> None:
    absent = 'import sys; sys.modules |= dict.fromkeys(("fastapi", "starlette", "uvicorn"))'
    program = f"{absent}\nfrom ops.ui import contents, site"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
