"""Write the pages as a folder of files, which opens without a server and without a network.

A list of the files is one of them. It says which files a later run may replace or remove; it leaves
all others alone. A list that does not begin with `FIRST_LINE` is somebody else's.
"""

from pathlib import Path

from digits.core import files
from digits.core.errors import InputError
from ops.ui import contents, project
from ops.ui.project import NOWHERE, Elsewhere

LIST = "files.txt"
FIRST_LINE = (
    "# digits ui --site wrote these files. Its next run replaces them, and removes old ones."
)


def write(folder: Path, elsewhere: Elsewhere = NOWHERE) -> int:
    """Write the files that have changed, remove those no longer needed, and return their number.

    Raises
    ------
    InputError
        If the folder has files of somebody else, and no list says that pages were written there; or
        if one of them has the name of a page.
    """
    written = _written(folder)
    resources = contents.resources(project.read(elsewhere=elsewhere))
    _check(folder, written, resources.keys() | {LIST})
    # Before the pages, so that the next run knows them if this one is interrupted.
    _write(folder / LIST, _listing(written | resources.keys()))
    for path, make in resources.items():
        _write(folder / path, make())
    for path in written - resources.keys() - {LIST}:
        if (folder / path).is_file() and not (folder / path).is_symlink():
            (folder / path).unlink()
    _write(folder / LIST, _listing({*resources}))
    return len(resources) + 1


def _check(folder: Path, written: set[str], wanted: set[str]) -> None:
    """Raise `InputError` rather than mix pages with somebody else's files, or replace one."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder, or the name of a new one")
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    others = present - written
    if not written and others:
        raise InputError(
            f"{folder} has other files, such as {min(others)}. Choose a new or an empty folder. If "
            f"an earlier version of digits ui --site wrote all of them, remove them"
        )
    if taken := others & wanted:
        raise InputError(
            f"{folder / min(taken)} was not written by this command, so it stays. Move it, or "
            f"choose another folder"
        )


def _written(folder: Path) -> set[str]:
    """The files that an earlier run wrote; names that lead out of the folder are not among them."""
    try:
        first, *names = (folder / LIST).read_text("utf-8", "replace").splitlines() or [""]
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return set()
    if first != FIRST_LINE:
        return set()
    root = folder.resolve()
    return {name for name in names if (root / name).resolve().is_relative_to(root)} | {LIST}


def _listing(paths: set[str]) -> bytes:
    return "".join(f"{line}\n" for line in [FIRST_LINE, *sorted(paths | {LIST})]).encode()


def _write(target: Path, content: bytes) -> None:
    if not target.is_file() or target.read_bytes() != content:
        files.write(target, content)
