"""Read ZIP archives of images and of files of images, without trusting them.

Names that lead out of the archive's folder, links, encrypted members and archives that unpack to
far more than they hold are refused before anything is read.
"""

import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from digits.core import files
from digits.core.errors import InputError
from digits.data.array_files import damage, open_zip
from digits.imaging import decoding

# A larger archive may unpack to at most RATIO times its size; tables of pixels to about 10 times.
FREE_BYTES, RATIO = 1 << 30, 100
MAX_MEMBERS = 2_000_000
ENCRYPTED = 0x1  # a bit of a member's flags


def open_archive(file: IO[bytes], stack: ExitStack) -> tuple[zipfile.ZipFile, list[str]]:
    """Open an archive, and name its files, sorted, without the operating systems' own.

    Raises `InputError`, which names the member, if it is not an archive or should not be unpacked.
    """
    archive = open_zip(file, stack)
    members = archive.infolist()
    packed = file.seek(0, 2)
    for member in members:
        _check(member)
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or unpacked > max(FREE_BYTES, RATIO * packed):
        raise InputError(
            f"the archive has {packed:,} bytes and unpacks to {unpacked:,} in {len(members):,} "
            f"files. If that is right, unpack it yourself and name the folder"
        )
    names = sorted(member.filename for member in members if not member.is_dir())
    if len(set(names)) < len(names):
        raise InputError("the archive has two files of one name. Unpack it, and name the folder")
    return archive, [n for n in names if not any(map(files.is_system_file, n.split("/")))]


def unpack_member(archive: zipfile.ZipFile, name: str, stack: ExitStack) -> IO[bytes]:
    """A file of an archive as a temporary file, in which any part can be read at once."""
    with damage(), archive.open(name) as source:
        target = stack.enter_context(TemporaryFile())  # noqa: SIM115 - the caller's stack closes it
        copyfileobj(source, target, 1 << 20)
    target.seek(0)
    return target


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of an image file in an archive, as much as `decoding.decode` will take."""
    with damage(), archive.open(name) as source:
        return source.read(decoding.MAX_BYTES + 1)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack an archive into a temporary folder; errors name the archive in place of the folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="unpacked-")))
        try:
            archive, names = open_archive(stack.enter_context(open(path, "rb")), stack)
            with damage():
                for name in names:
                    archive.extract(name, folder)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        try:
            yield folder
        except InputError as error:
            raise InputError(str(error).replace(str(folder), str(path))) from None


def _check(member: zipfile.ZipInfo) -> None:
    """Raises `InputError` if a member may write elsewhere, or can't be read."""
    name = member.filename
    parts = re.split(r"[/\\]", name)
    if ".." in parts or not parts[0] or parts[0][1:2] == ":" or "\0" in name:
        raise InputError(f"the archive has a file {name!r}, which leads out of its folder")
    if "\\" in name:
        raise InputError(
            f"the archive has a file {name!r}, with backslashes. Unpack it, and name the folder"
        )
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"the archive's {name} is a link or a device. Pack the file itself")
    if member.flag_bits & ENCRYPTED:
        raise InputError(f"the archive's {name} is encrypted. Unpack it, and name the folder")
