"""DVC's digests of the files and folders on disk, whether Git tracks them or not."""

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path

from ops.tools.dvc_files import list_of_files

CACHED = re.compile(r".*/files/md5/[0-9a-f]{2}/[0-9a-f]{30}", re.DOTALL)  # where DVC's links end


def is_inside(path: str | Path) -> bool:
    """Whether a path, also by its symbolic links, leads into the current folder or a cache of DVC.

    Paths in dvc.yaml and links in Git come from the author of the commit.
    """
    try:
        target = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # a loop of links, or a null byte
        return False
    return target.is_relative_to(Path.cwd()) or bool(CACHED.fullmatch(str(target)))


def digest(path: str | Path) -> str | None:
    """The MD5 of a file, or of a folder's list of files; None if there is neither.

    A file is hashed again only if its time, size or inode changed.
    """
    path = Path(path)
    if os.path.isdir(path):  # unlike Path's, no error if the name is too long
        return f"{hashlib.md5(list_folder(path)).hexdigest()}.dir"
    return _md5_of(path) if os.path.isfile(path) else None


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
