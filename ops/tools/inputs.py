"""Find the images that a user names, and read them: a file, a folder, a glob, or a bucket.

`digits.imaging` reads image files; `digits.data.tables` reads files of many images. Both are read
in chunks, so memory does not grow with the number of images.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError, UserError
from digits.data import pixels, tables
from digits.data.pixels import CHANGED, Contents, Images, Piece
from digits.imaging import decoding, model_form
from digits.imaging.preprocessing import Preprocessing
from digits.storage import filesystem, location
from digits.storage.location import Storage

FILES = 500  # image files in a chunk
ROWS = 10_000  # images of one file in a chunk
CONNECTIONS = 16  # to a bucket, for one chunk
WILDCARD = re.compile(r"[*?\[]")

Converted = tuple[UInt8Array, list[str | None]]  # images in the model's form, and their errors


@dataclass(frozen=True)
class Input:
    """Images to read: a folder or a bucket's prefix, and which of its files.

    url : the folder or the prefix
    shown : how the user named it; the paths of rows begin with it
    pattern : a regular expression that the names of the files match
    file : the name of the only file, if it is only one
    """

    url: str
    shown: str
    pattern: str = ""
    file: str | None = None

    def path(self, name: str) -> str:
        return f"{self.shown}/{name}" if self.shown else name


@dataclass(frozen=True)
class Chunk:
    """Images that are classified together: image files, or some images of one file.

    files : names of the image files, or of the one file of many images
    start, rows : the first image of that file, and how many; None for image files
    states : of the files when they were listed, see `filesystem.state`
    key : of the images in that file, see `pixels.Images`
    scale : what the values are multiplied by, see `pixels.measure`
    taken : how the values of that file's images are read, in words
    """

    files: tuple[str, ...]
    start: int = 0
    rows: int | None = None
    states: tuple[str, ...] = ()
    key: str = ""
    scale: int = 1
    taken: str = ""

    def __len__(self) -> int:
        return len(self.files) if self.rows is None else self.rows

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Chunk":
        values = json.loads(text)
        names, states = (tuple(values.pop(key)) for key in ("files", "states"))
        return cls(names, states=states, **values)


@dataclass(frozen=True)
class Loaded:
    """A chunk's images in the model's form, their paths, and for each its error or None.

    images : uint8 (n, height, width); an image with an error is all background
    """

    paths: list[str]
    images: UInt8Array
    errors: list[str | None]


def find(text: str, *, literal: bool = False) -> Input:
    """The images that a user names: a file, a folder, or a glob; each also under s3://bucket.

    If `literal`, a name with * or [ is no glob.

    Raises `InputError` if there is nothing. A bucket's prefix is not checked before it is listed.
    """
    parts = text.rstrip("/").split("/")
    wild = (i for i, part in enumerate(parts) if WILDCARD.search(part))
    plain = len(parts) if literal else next(wild, len(parts))
    if plain < len(parts) and not os.path.exists(text):
        base = "/".join(parts[:plain]) or ("/" if text.startswith("/") else "")
        storage = location.find(base or ".")
        if not storage.is_bucket and not os.path.isdir(storage.root):
            raise InputError(f"{base} is not a folder, so {text} matches no files")
        from fsspec.utils import glob_translate  # late, as in `location.find`

        return Input(storage.url, base, glob_translate("/".join(parts[plain:])))
    storage = location.find(text)
    if filesystem.is_file(storage):
        folder, name = location.find_file(text)
        return Input(folder.url, text.rpartition("/")[0], file=name)
    if not storage.is_bucket and not os.path.isdir(text):
        kind = "is a pipe, a socket or a device" if os.path.exists(text) else "does not exist"
        raise InputError(f"{text} {kind}; expected a file, a folder, a glob, or s3://...")
    return Input(storage.url, text.rstrip("/"))


def chunks(
    source: Input, day: date | None = None, passed_over: list[str] | None = None
) -> Iterator[Chunk]:
    """Divide an input into chunks; the same files always give the same chunks.

    Parameters
    ----------
    source : from `find`
    day : in UTC; only files that were written on it are taken
    passed_over : the names of hidden files and the operating system's, which are left out, are
        added to it

    Raises `Unreachable` if the folder or the bucket can't be read.
    """
    storage = location.find(source.url)
    single: list[tuple[str, str]] = []
    for name, state in _files(storage, source, day, [] if passed_over is None else passed_over):
        try:
            listed = _list(storage, name, state)
        except _errors_of_a_file(storage):
            listed = None  # counts as an image file: one row, with the error
        if listed is None:
            single.append((name, state))
        if single and (listed is not None or len(single) == FILES):
            yield _chunk_of_files(single)
            single = []
        for whole in listed or ():
            for start in range(0, len(whole), ROWS):
                yield replace(whole, start=start, rows=min(ROWS, len(whole) - start))
    if single:
        yield _chunk_of_files(single)


def load(source: Input, chunk: Chunk, form: Preprocessing) -> Loaded:
    """Read a chunk. An image that can't be read gets an error in its row.

    Raises `Unreachable` if a bucket can't be read.
    """
    storage = location.find(source.url)
    if chunk.rows is None:
        paths = [source.path(name) for name in chunk.files]
        with ThreadPoolExecutor(CONNECTIONS if storage.is_bucket else 1) as pool:
            read = list(pool.map(partial(_read_image_file, storage, form), chunk.files))
        return Loaded(paths, *_stack(read, form))
    name, end = chunk.files[0], chunk.start + chunk.rows
    paths = [
        f"{source.path(name)}{'/' * bool(chunk.key)}{chunk.key}#{i}"
        for i in range(chunk.start, end)
    ]
    try:
        with _opened(storage, name, chunk.key) as contents:
            images = contents.find(chunk.key)
            if images.names is not None:
                paths = [
                    f"{source.path(name)}/{inner}" for inner in images.names[chunk.start : end]
                ]
            pieces = [
                _convert_piece(piece, form, chunk.scale) for piece in images.read(chunk.start, end)
            ]
    except _errors_of_a_file(storage) as error:
        return Loaded(paths, *_stack([str(error)] * len(paths), form))
    if sum(len(converted) for converted, _ in pieces) != len(paths):
        return Loaded(paths, *_stack([CHANGED] * len(paths), form))
    arrays, errors = zip(*pieces, strict=True)
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Loaded(paths, joined, list(chain(*errors)))


def image(path: str, form: Preprocessing) -> UInt8Array:
    """Read the image of one row.

    Parameters
    ----------
    path : as the row has it: an image file, or a file of many images, `#`, and a number
    form : the model's form

    Returns uint8 (height, width), in the model's form.

    Raises `InputError` if there is no such image, or it can't be read.
    """
    source, chunk = _find_one(path)
    loaded = load(source, chunk, form)
    if loaded.errors[0]:
        raise InputError(f"{path}: {loaded.errors[0]}")
    pixels: UInt8Array = loaded.images[0]
    return pixels


def original(path: str, form: Preprocessing) -> UInt8Array:
    """Read the image of one row before it is brought into the model's form.

    Parameters
    ----------
    path, form : as for `image`

    Returns uint8 (height, width), grey levels.

    Raises `InputError` if there is no such image, or it is not a picture.
    """
    source, chunk = _find_one(path)
    storage = location.find(source.url)
    try:
        if chunk.rows is None:
            with filesystem.opened(storage, chunk.files[0]) as file:
                item: Any = file.read(decoding.MAX_BYTES + 1)
        else:
            with _opened(storage, chunk.files[0], chunk.key) as contents:
                pieces = contents.find(chunk.key).read(chunk.start, chunk.start + 1)
                item = next(chain.from_iterable(pieces), None)
        return decoding.grey(_levels(item, form, chunk.scale))
    except FileNotFoundError:
        raise InputError(f"{path}: the file is gone") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def readable(text: str) -> str:
    """A path as valid UTF-8: the bytes of a file's name that are not are escaped."""
    return text.encode(errors="backslashreplace").decode()


def _find_one(path: str) -> tuple[Input, Chunk]:
    """The only image that the path of a row names; raises `InputError` if it names none."""
    file, key = tables.split(path)
    if not key or not filesystem.is_file(location.find(file)):  # or it is a folder of this name
        file, key = path, ""
    stem, _, number = (key or file).rpartition("#")
    is_row = number.isdecimal() and (bool(key) or tables.is_table(stem))
    table_key = stem if is_row and key else ""
    source = find(stem if is_row and not key else file, literal=True)
    if source.file is None:
        raise InputError(f"{path} is not an image file; expected a path as digits predict writes")
    if not is_row and not key:
        return source, Chunk((source.file,))
    state = filesystem.state(location.find(source.url), source.file)
    names, whole = _measured(source.url, source.file, table_key, state)
    if not is_row and key not in names:
        raise InputError(f"{key} is not in the archive")
    return source, replace(whole, start=int(number) if is_row else names.index(key), rows=1)


@lru_cache(maxsize=8)
def _measured(url: str, name: str, key: str, state: str) -> tuple[tuple[str, ...], Chunk]:
    """A file's names of images, and all its images: measured once for as long as it is the same."""
    with _opened(location.find(url), name, key) as contents:
        images = contents.find(key)
        return images.names or (), _whole(name, state, images)


def _files(
    storage: Storage, source: Input, day: date | None, passed_over: list[str]
) -> Iterator[tuple[str, str]]:
    """Names and states of an input's files."""
    if source.file is not None:
        yield source.file, filesystem.state(storage, source.file)
        return
    for name, written, state in filesystem.walk(storage, passed_over):
        if re.match(source.pattern, name) and (
            day is None or datetime.fromtimestamp(written, UTC).date() == day
        ):
            yield name, state


def _errors_of_a_file(storage: Storage) -> tuple[type[Exception], ...]:
    """Errors that become a row's error; a bucket that can't be reached ends the batch."""
    of_user = InputError if storage.is_bucket else UserError
    return (of_user, FileNotFoundError)


def _chunk_of_files(files: list[tuple[str, str]]) -> Chunk:
    names, states = zip(*files, strict=True)
    return Chunk(names, states=states)


def _list(storage: Storage, name: str, state: str) -> list[Chunk] | None:
    """The images of a file of many images, a chunk for each array; None for an image file."""
    if not tables.is_table(name):
        return None
    with _opened(storage, name) as contents:
        if contents.labels and not contents.images:
            raise InputError("the file holds labels, and no images")
        return [_whole(name, state, images) for images in contents.images]


def _whole(name: str, state: str, images: Images) -> Chunk:
    scale = pixels.measure(images)
    taken = pixels.describe(images, scale)
    return Chunk((name,), 0, images.count, (state,), images.key, scale, taken)


@contextmanager
def _opened(storage: Storage, name: str, key: str | None = None) -> Iterator[Contents]:
    with filesystem.opened(storage, name) as file, tables.opened(name, file, key) as contents:
        yield contents


def _convert_piece(piece: Piece, form: Preprocessing, scale: int) -> Converted:
    ready = np.zeros(len(piece), bool)
    if isinstance(piece, np.ndarray):
        piece, scale = pixels.to_levels(piece, scale), 1
        if piece.ndim == 3:
            ready = model_form.in_form(piece, form)
            if ready.all():
                return piece, [None] * len(piece)
    return _stack(
        [item if ready[i] else _convert_image(form, item, scale) for i, item in enumerate(piece)],
        form,
    )


def _read_image_file(storage: Storage, form: Preprocessing, name: str) -> UInt8Array | str:
    """An image file in the model's form, or its error."""
    try:
        if _list(storage, name, "") is not None:
            return CHANGED
        if storage.is_bucket:
            content = filesystem.read(storage, name)
        else:
            with filesystem.opened(storage, name) as file:
                decoding.check_bytes(file.seek(0, os.SEEK_END))
                file.seek(0)
                content = file.read()
    except FileNotFoundError:
        content = None
    except _errors_of_a_file(storage) as error:
        return str(error)
    return "the file is gone" if content is None else _convert_image(form, content)


def _convert_image(form: Preprocessing, image: Any, scale: int = 1) -> UInt8Array | str:
    """An image in the model's form, or its error.

    image : an image file's content, {bytes, path} as data sets of Hugging Face have it, or pixels
    scale : of pixels, see `pixels.measure`
    """
    try:
        return model_form.convert(_levels(image, form, scale), form)
    except InputError as error:
        return str(error)
    except Exception as error:  # the edge of a row: one image must not end a batch
        logging.exception("an image could not be read")
        return f"a fault of the program: {error!r}"


def _levels(image: Any, form: Preprocessing, scale: int) -> UInt8Array:
    """An image with or without colours; parameters are as for `_convert_image`."""
    return pixels.decode(image, scale, form.size)[0]


def _stack(images: Sequence[UInt8Array | str], form: Preprocessing) -> Converted:
    """One array of images; where there is an error instead, the image is all background."""
    arrays = np.full((len(images), *form.size), form.background, np.uint8)
    errors: list[str | None] = []
    for i, image in enumerate(images):
        if isinstance(image, str):
            errors.append(" ".join(image.split()))
        else:
            arrays[i] = image
            errors.append(None)
    return arrays, errors
