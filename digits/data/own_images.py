"""Read the images of a user: a folder of image files, a table, or a ZIP archive of either."""

from dataclasses import replace
from pathlib import Path

from digits.core import files
from digits.core.errors import InputError, first, printable
from digits.data import archives, image_folder, labelled_tables, tables
from digits.data.dataset import Raw

DARK = 128  # grey levels of 255; the images of a table are rarely so dark


def read(path: Path, size: tuple[int, int] | None, transpose: bool) -> Raw:
    """Read labelled images of any of these forms.

    Parameters
    ----------
    path : a folder with `train/<class>/` and `test/<class>/`, a folder of tables, a table, or an
        archive
    size : height and width to fit images into; None if all images already have one size
    transpose : exchange rows and columns of each image of a table

    Raises
    ------
    InputError
        As `image_folder.read` and `labelled_tables.read`; or if an archive should not be unpacked.
    """
    path = _only_archive(path) or path
    if path.is_file() and tables.is_archive(path.name):
        with archives.unpacked(path) as folder:
            return _read(_inner(folder), size, transpose)
    return _read(path, size, transpose)


def _read(path: Path, size: tuple[int, int] | None, transpose: bool) -> Raw:
    """As `read`, for anything but an archive."""
    if path.is_file() and not tables.is_table(path.name):
        raise InputError(
            f"data.folder is {path}; expected a folder, or a file of .csv, .csv.gz, .npz, .npy, "
            f".parquet, .zip, .idx or -ubyte"
        )
    if path.is_file() or (not _has_classes(path) and labelled_tables.holds_tables(path)):
        return _with_note_if_dark(labelled_tables.read(path, size, transpose))
    if transpose:
        raise InputError(
            f"data.transpose is true, but {path} has folders of image files, whose rows and "
            f"columns are known. Set data.transpose=false"
        )
    raw = image_folder.read(path, size)
    unread = sorted(printable(p.name) for p in path.glob("*") if tables.is_table(p.name))
    if not unread:
        return raw
    note = f"not read, next to train/ and test/: {first(unread)}"
    return replace(raw, notes=(*raw.notes, note))


def _with_note_if_dark(raw: Raw) -> Raw:
    """A table may have values of another range, such as 0 to 16."""
    highest = int(raw.train.images.max(initial=0))
    if highest >= DARK:
        return raw
    note = (
        f"all grey levels are {highest} of 255 or less. If the values are of another range, divide "
        f"them by their largest one"
    )
    return replace(raw, notes=(*raw.notes, note))


def _has_classes(path: Path) -> bool:
    """Whether train/ and test/ have folders of classes, and no list of their images."""
    parts = [path / part for part in image_folder.PARTS]
    if any((folder / tables.METADATA).exists() for folder in (path, *parts)):
        return False
    inner = (path for folder in parts if folder.is_dir() for path in _entries(folder))
    return any(path.is_dir() for path in inner)


def _only_archive(folder: Path) -> Path | None:
    """The archive in a folder that has no other table, and no folder."""
    if not folder.is_dir():
        return None
    found = [path for path in _entries(folder) if path.is_dir() or tables.is_table(path.name)]
    is_alone = len(found) == 1 and found[0].is_file() and tables.is_archive(found[0].name)
    return found[0] if is_alone else None


def _inner(folder: Path) -> Path:
    """The only folder in a folder, at any depth: many archives hold one, with all in it."""
    entries = _entries(folder)
    return _inner(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, but for hidden files and the operating system's."""
    return [path for path in folder.iterdir() if not files.is_system_file(path.name)]
