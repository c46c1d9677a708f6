"""Files that hold many images, by their names: what is in them, and how it is taken.

NumPy's .npy and .npz, IDX (-ubyte or .idx, compressed or not), CSV with a column for each pixel,
Parquet, and ZIP archives of these and of image files. Pickles are refused.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, Any

from digits.core.errors import InputError
from digits.data import archives, array_files, pixels
from digits.data.pixels import Contents, Images

Reader = Callable[[IO[bytes], ExitStack], Contents]

METADATA = "metadata.csv"  # says what the images of its folder show, and holds none


def is_table(name: str) -> bool:
    """Whether a file of this name holds many images, rather than one."""
    return any(re.search(pattern, name, re.IGNORECASE) for pattern, _ in READERS)


def is_archive(name: str) -> bool:
    return name.lower().endswith(".zip")


def split(path: str) -> tuple[str, str]:
    """Divide the path of an image in an archive into the archive's and the key in it.

    Of any other path, the key is empty.
    """
    match = re.match(r"(.+?\.(?:npz|zip))/(.+)$", path, re.IGNORECASE)
    return (match[1], match[2]) if match else (path, "")


@contextmanager
def opened(name: str, file: IO[bytes], key: str | None = None) -> Iterator[Contents]:
    """What a file holds, as long as the block lasts.

    Parameters
    ----------
    name : of the file
    file : can be read from any position
    key : look for these images alone, in a ZIP archive; None: all

    Raises
    ------
    InputError
        If the file is damaged or holds something else.
    """
    with ExitStack() as stack:
        yield _open_zip(file, stack, key) if is_archive(name) else _reader(name)(file, stack)


def _open_zip(file: IO[bytes], stack: ExitStack, key: str | None = None) -> Contents:
    """All images of an archive; a file in it that can't be read is one image, which raises."""
    archive, names = archives.open_archive(file, stack)
    found = []
    alone = tuple(name for name in names if not is_table(name))
    if alone and not key:
        read = partial(_read_members, archive, alone)
        found.append(Images("", len(alone), "files", read, names=alone))
    for name in names:
        if is_table(name) and (key is None or _is_in(key, name)):
            try:
                if is_archive(name):
                    raise InputError("an archive in an archive. Unpack it, and name the folder")
                unpacked = archives.unpack_member(archive, name, stack)
                found += [images.within(name) for images in _reader(name)(unpacked, stack).images]
            except InputError as error:
                found.append(Images(name, 1, "files", partial(_raise, error), names=(name,)))
    return Contents(tuple(found))


def _is_in(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}/")


def _read_members(
    archive: zipfile.ZipFile, names: tuple[str, ...], start: int, end: int
) -> Iterator[list[Any]]:
    for name in names[start:end]:
        try:
            yield [archives.read_member(archive, name)]
        except InputError as error:
            yield [error]


def _open_csv(file: IO[bytes], stack: ExitStack) -> Contents:
    from digits.data import column_files  # and with it PyArrow, which takes long

    return column_files.open_csv(file, stack)


def _open_parquet(file: IO[bytes], stack: ExitStack) -> Contents:
    from digits.data import column_files

    return column_files.open_parquet(file, stack)


def _refuse_pickle(file: IO[bytes], stack: ExitStack) -> Contents:
    raise InputError(f"this is a pickle, which is not read. {pixels.UNPICKLE}")


def _raise(error: InputError, start: int, end: int) -> Iterator[list[Any]]:
    raise error


def _reader(name: str) -> Reader:
    return next(read for pattern, read in READERS if re.search(pattern, name, re.IGNORECASE))


READERS: tuple[tuple[str, Reader], ...] = (
    (r"\.npy$", array_files.open_npy),
    (r"\.npz$", array_files.open_npz),
    (r"(-ubyte|\.idx)(\.gz)?$", array_files.open_idx),
    (r"\.csv(\.gz)?$", _open_csv),
    (r"\.parquet$", _open_parquet),
    (r"\.zip$", _open_zip),
    (r"\.(pkl|pickle|joblib|pt|pth)(\.gz)?$", _refuse_pickle),
)
