"""Models where servers read them: a folder or an S3 bucket, named by a URL.

    URL/<model id>/model.onnx, golden.npz, model.json, evaluation.json
    URL/<model id>/manifest.json    their digests; written last: a copy without it is unfinished
    URL/production.json             the pointer: what serves the stage; staging.json likewise

A model's files never change; a pointer moves by compare-and-set. Whoever reads checks every digest,
from the id in the pointer (the sha256 of model.json) on. So a crash, a second writer or a failing
disk can stop a deployment, but never has a server load what nobody evaluated.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from digits.core import files
from digits.core.errors import InputError
from digits.core.params import Params
from digits.storage import filesystem
from digits.storage.filesystem import Place

MODEL_FILES = ("model.onnx", "golden.npz", "model.json")
EVALUATION = "evaluation.json"
MANIFEST = "manifest.json"
STAGES = ("production", "staging")
ID = r"^[0-9a-f]{64}$"
USUAL = ("models/digit-classifier", "demo/digit-classifier")  # of dvc repro, of make demo

WRITES = 3  # of a file that does not read back
GRACE_S = 3600  # nothing younger is pruned: a deployment may be about to point at it

P = TypeVar("P", bound=Params)


class Pointer(Params):
    """What a stage serves: the model's id, its version, and the tag that put it there."""

    model: Annotated[str, Field(pattern=ID)]
    version: str
    tag: str


class Manifest(Params):
    """The sha256 of each of a model's files, by name."""

    files: dict[str, str]


@dataclass(frozen=True)
class Location:
    """Where a model is: a model folder, or the URL of a deployment and the stage to follow."""

    url: str
    stage: str | None


def locate(model: str | None = None, stage: str = "production") -> Location:
    """The model that is meant: whoever has one to load asks here.

    Parameters
    ----------
    model : a model folder, or a deployment's URL as for `read_pointer`; by default, the model that
        `dvc repro` made in this folder, else the one of `make demo`
    stage : of a deployment, what to follow

    Raises
    ------
    InputError
        If a folder is neither; says what to run. Whether a bucket is, shows when it is read.
    """
    if model is None:
        found = [folder for folder in USUAL if Path(folder, "model.json").is_file()]
        if not found:
            raise InputError(
                f"there is no model here: neither {' nor '.join(USUAL)}. Make one: dvc repro, or "
                f"make demo, without a network. Have one? --model, a folder or a deployment's URL"
            )
        return Location(found[0], None)
    place = filesystem.find(model)
    if place.is_bucket or Path(place.root, f"{stage}.json").is_file():
        return Location(place.url, stage)
    if Path(place.root, "model.json").is_file():
        return Location(place.url, None)
    raise InputError(
        f"{model} is no model: it has neither model.json (as {USUAL[0]} has, by dvc repro) nor "
        f"{stage}.json (as a deployment has, by digits deploy --to {model})"
    )


def bring(location: Location, folder: str | Path) -> tuple[Path, Pointer | None]:
    """A local folder of the model that a location holds now, and the pointer that led to it.

    Parameters
    ----------
    location : by `locate`
    folder : what a deployment serves is copied to a folder in here, named by the model's id

    Raises
    ------
    Unreachable
        If the URL can't be read.
    InputError
        If nothing was deployed there, or the model is gone, unfinished or damaged.
    """
    if location.stage is None:
        return Path(location.url), None
    pointer = read_pointer(location.url, location.stage)
    if pointer is None:
        raise InputError(
            f"{location.url} has no {location.stage}.json: nothing was deployed yet. "
            f"digits deploy --to {location.url}"
        )
    copy = Path(folder) / pointer.model
    if not copy.exists():  # which means: whole
        fetch_model(location.url, pointer.model, copy)
    return copy, pointer


def read_pointer(url: str, stage: str) -> Pointer | None:
    """What a stage serves; None where nothing was deployed yet.

    Parameters
    ----------
    url : a folder, or s3://bucket/prefix; endpoint and credentials are taken from the environment
    stage : one of `STAGES`

    Raises
    ------
    Unreachable
        If the URL can't be read.
    InputError
        If what is there is no pointer.
    """
    place, name = filesystem.find(url), f"{stage}.json"
    return _pointer(place, name, filesystem.read(place, name))


def move_pointer(url: str, stage: str, pointer: Pointer, seen: Pointer | None) -> None:
    """Have a stage serve another model, if it still serves the one that was seen.

    Raises
    ------
    Unreachable
        If the URL can't be read or written.
    InputError
        If the pointer was moved meanwhile; it stays where it is.
    """
    place, name = filesystem.find(url), f"{stage}.json"
    content = filesystem.replace(
        place, name, _json(pointer), lambda content: _pointer(place, name, content) == seen
    )
    if (found := _pointer(place, name, content)) != pointer:
        raise InputError(
            f"{place.url}/{name} was moved by another deployment meanwhile, to "
            f"{f'{found.version} ({found.tag})' if found else 'nothing'}. This one has changed "
            f"nothing that is served. If it should come after that one: the same command again"
        )


def fetch_model(url: str, model: str, folder: str | Path) -> None:
    """Bring a model into a local folder, which appears whole and checked, or not at all.

    Parameters
    ----------
    url : as for `read_pointer`
    model : the model's id
    folder : replaced if it exists; this process's own

    Raises
    ------
    Unreachable
        If the URL can't be read, or the folder not be written.
    InputError
        If the model is gone, unfinished or damaged; names the file and what to do.
    """
    contents = _read_model(filesystem.find(url), model)
    folder = Path(folder)
    with filesystem.explained(filesystem.find(str(folder))), files.new_directory(folder) as made:
        for name, content in contents.items():
            (made / name).write_bytes(content)


def put_model(url: str, contents: Mapping[str, bytes], origin: str) -> str:
    """Copy a model to where servers read it, manifest last; its id.

    What is there whole stays, its evaluation.json too. What a crash has left is completed, what is
    damaged is written anew. Everything is read back.

    Parameters
    ----------
    url : as for `read_pointer`
    contents : the model folder's files and evaluation.json, by name
    origin : what messages call them

    Raises
    ------
    Unreachable
        If the URL can't be read or written.
    InputError
        As `check`; or if a file does not read back as it was written.
    """
    model, place = check(contents, origin), filesystem.find(url)
    try:
        contents = _read_model(place, model)
    except InputError:  # it is not there, or damaged
        for name, content in contents.items():
            _put(place, f"{model}/{name}", content)
    manifest = Manifest(files={name: _sha256(content) for name, content in contents.items()})
    # Even if it is there: its time tells `prune` that the model is about to be pointed at.
    filesystem.write(place, f"{model}/{MANIFEST}", _json(manifest))
    _read_model(place, model)
    return model


def check(contents: Mapping[str, bytes], origin: str) -> str:
    """The id of a model whose files belong together.

    Parameters
    ----------
    contents : the model folder's files and evaluation.json, by name
    origin : what messages call them

    Raises
    ------
    InputError
        If a file is missing or is not the one that model.json names, or if evaluation.json is of
        another model.
    """
    if missing := {*MODEL_FILES, EVALUATION} - set(contents):
        raise InputError(f"{origin} lacks {', '.join(sorted(missing))}")
    model = _sha256(contents["model.json"])
    for name, digest in _named(contents["model.json"], origin).items():
        if (found := _sha256(contents[name])) != digest:
            raise InputError(f"{origin}: {name} has sha256 {found}; model.json says {digest}")
    try:
        evaluated = json.loads(contents[EVALUATION])["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{origin}: {EVALUATION} evaluates no model: {error!r}") from None
    if evaluated != model:
        raise InputError(
            f"{origin} has the id {model}; the model that was evaluated, {evaluated}. Only what "
            f"was evaluated is served"
        )
    return model


def prune(url: str, keep: int) -> list[str]:
    """Remove models but for the newest `keep` and those that a pointer names; the ids removed.

    Copies that were never finished go too. What was written within the last `GRACE_S` stays.

    Raises
    ------
    Unreachable
        If the URL can't be read or written.
    InputError
        If it has no pointer, or one that can't be read: nobody knows what is served.
    """
    place = filesystem.find(url)
    _served(place)
    models = {name: filesystem.entries(place, name) for name in _models(place)}
    finished = [name for name, entries in models.items() if MANIFEST in entries]
    finished.sort(key=lambda name: models[name][MANIFEST], reverse=True)

    def is_unused(name: str, entries: Mapping[str, float]) -> bool:
        """Asked right before removal: it may be deployed just now."""
        newest = max(entries.values(), default=0.0)
        return newest < time.time() - GRACE_S and name not in _served(place)

    return [
        name
        for name in sorted(set(models) - set(finished[:keep]))
        if filesystem.remove(place, name, MANIFEST, partial(is_unused, name))
    ]


def _models(place: Place) -> list[str]:
    return [name for name in filesystem.entries(place) if re.match(ID, name)]


def _served(place: Place) -> set[str]:
    """Models that a pointer names."""
    pointers = [read_pointer(place.url, stage) for stage in STAGES]
    if not any(pointers):
        raise InputError(
            f"{place.url} has no {' or '.join(f'{stage}.json' for stage in STAGES)}: nobody knows "
            f"what is served, so nothing is removed"
        )
    return {pointer.model for pointer in pointers if pointer}


def _pointer(place: Place, name: str, content: bytes | None) -> Pointer | None:
    advice = f"Look at it, remove it, and deploy again: digits deploy --to {place.url}"
    return None if content is None else _parse(Pointer, content, f"{place.url}/{name}", advice)


def _read_model(place: Place, model: str) -> dict[str, bytes]:
    """A model's files by name, all as its id and its manifest say."""
    origin = f"{place.url}/{model}"
    advice = f"To copy it anew: digits deploy --to {place.url}"
    manifest = filesystem.read(place, f"{model}/{MANIFEST}")
    if manifest is None:
        raise InputError(
            f"{origin} has no {MANIFEST}: the model is gone, or was never copied to the end. "
            f"{advice}"
        )
    digests = _parse(Manifest, manifest, f"{origin}/{MANIFEST}", advice).files

    def read(name: str, digest: str) -> bytes:
        content = filesystem.read(place, f"{model}/{name}")
        if content is None:
            raise InputError(f"{origin}/{name} is gone. {advice}")
        if (found := _sha256(content)) != digest:
            raise InputError(
                f"{origin}/{name} is damaged: {len(content):,} bytes with sha256 {found}; "
                f"expected {digest}. {advice}"
            )
        return content

    description = read("model.json", model)
    expected = {"model.json": model, **_named(description, origin)}
    if digests != expected | {EVALUATION: digests.get(EVALUATION)}:
        raise InputError(f"{origin}/{MANIFEST} is damaged: it is not of this model. {advice}")
    del digests["model.json"]
    contents = {name: read(name, digest) for name, digest in digests.items()}
    contents["model.json"] = description
    check(contents, origin)
    return contents


def _named(description: bytes, origin: str) -> dict[str, str]:
    """The digests that model.json has of the two files beside it."""
    try:
        found = json.loads(description)["files"]
        return {name: found[name] for name in MODEL_FILES if name != "model.json"}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{origin}: model.json describes no model: {error!r}") from None


def _put(place: Place, name: str, content: bytes) -> None:
    """Write a file until it reads back."""
    for _ in range(WRITES):
        if filesystem.read(place, name) == content:
            return
        filesystem.write(place, name, content)
    if filesystem.read(place, name) != content:
        raise InputError(
            f"{place.url}/{name} does not read back as it was written, {WRITES} times. Nothing "
            f"that is served has changed. Is the disk or the connection failing?"
        )


def _parse(cls: type[P], content: bytes, origin: str, advice: str) -> P:
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise InputError(f"it holds {document!r}")
        return cls.parse(document, origin)
    except (ValueError, InputError) as error:
        raise InputError(f"{origin} is damaged: {error}. {advice}") from None


def _json(value: Params) -> bytes:
    return files.canonical_json(value.model_dump()).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
