"""Write files and folders all at once, name them by digest, and format JSON and CSV."""

import hashlib
import io
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from csv import DictWriter
from pathlib import Path
from typing import Any, BinaryIO

from digits.core.errors import InputError

# Files and folders that operating systems and network drives leave among a person's own.
SYSTEM_FILES = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("__macosx", "icon\r", "@eadir", "lost+found"),
}

DOWNLOADED = ":Zone.Identifier"  # Windows' mark of a download, a file of its own under Linux


def existing(path: str | Path) -> Path:
    """The path of a file that a pipeline stage wrote; raises `InputError` if it does not exist."""
    if not Path(path).exists():
        raise InputError(f"{path} does not exist. Run: dvc repro")
    return Path(path)


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name is hidden or the operating system's own."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES or name.endswith(DOWNLOADED)


def is_cycle(root: Path, folder: Path) -> bool:
    """Whether a folder is a link to one of those that led to it."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    above = [parent for parent in folder.parents if parent.is_relative_to(root)]
    return any(parent.resolve().is_relative_to(target) for parent in above)


def check_is_regular(path: str | Path) -> int:
    """The size of a file in bytes.

    Raises `InputError` for a pipe, a socket or a device, of which a reader might never see the end.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise InputError("this is not a file but a pipe, a socket or a device")
    return status.st_size


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no NaN and a final newline: equal values have equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def write(path: str | Path, content: str | bytes) -> None:
    """Write a file all at once, as `replacing` does."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` when the block ends without an error.

    A reader of `path` sees the old content or the new, never a part of it. If several processes
    write at the same time, the last one to finish wins.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file")
    if path.exists() and not path.is_file():  # /dev/null or a pipe is not replaced
        with open(path, "wb") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")  # this writer's own
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_directory(path: str | Path, mark: str | None = None) -> Iterator[Path]:
    """Make a new folder that replaces `path` when the block ends without an error.

    Raises `InputError` if `path` is a file, or a folder of somebody else: one that has files, but
    not the one named `mark`.
    """
    path = Path(os.path.realpath(path))  # a link remains one
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path} is a file; expected a folder, or nothing. Move it, or name another"
        )
    if mark and path.exists() and any(path.iterdir()) and not (path / mark).exists():
        raise InputError(
            f"{path} has files, but no {mark}: it is not replaced. Empty it, or name another folder"
        )
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def csv_delimiter(line: str) -> str:
    """What separates the cells of a line: a spreadsheet may write semicolons or tabs."""
    return max(",;\t", key=line.count)


def csv_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Format rows as CSV with a header.

    Parameters
    ----------
    rows : mappings with the same keys; floats are written with six significant digits
    columns : the header; needed if there may be no rows
    """
    text = io.StringIO()
    writer = DictWriter(text, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()
