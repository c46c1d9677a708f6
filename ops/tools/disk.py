"""DVC's digests of the files and folders on disk, whatever Git knows of them."""

import hashlib
from functools import lru_cache
from pathlib import Path

from ops.tools.dvc_files import list_of_files


def digest(path: str | Path) -> str | None:
    """The MD5 of a file, or of a folder's list of files; None if there is neither.

    A file is hashed again only if its time, size or inode changed.
    """
    path = Path(path)
    if path.is_dir():
        return f"{hashlib.md5(list_folder(path)).hexdigest()}.dir"
    return _md5_of(path) if path.is_file() else None


def list_folder(folder: Path) -> bytes:
    """The list of a folder's files, as DVC stores it; hashes as `digest` does."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return list_of_files({file.relative_to(folder).as_posix(): _md5_of(file) for file in files})


def _md5_of(path: Path) -> str:
    status = path.stat()
    return _md5(path.absolute(), status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=1024)
def _md5(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
