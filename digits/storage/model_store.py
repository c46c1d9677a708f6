"""Deployed models, in a folder or an S3 bucket that a URL names.

    URL/<model id>/model.onnx, golden.npz, model.json, evaluation.json
    URL/<model id>/manifest.json    their digests; written last, so a copy without it is incomplete
    URL/production.json             the pointer to the model of the environment; also staging.json

A model's files never change, and a pointer moves by compare-and-set. A reader checks every digest,
beginning with the id in the pointer, which is the sha256 of model.json. So a crash, a second writer
or a failing disk can stop a deployment, but no server can load a model that was not evaluated.

A `url` is a folder or s3://bucket/prefix; environment variables hold endpoint and credentials. Each
function raises `Unreachable` if it can't be read or written.
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
from digits.storage import faults, filesystem, location
from digits.storage.location import Storage

MODEL_FILES = ("model.onnx", "golden.npz", "model.json")
EVALUATION = "evaluation.json"
MANIFEST = "manifest.json"
ENVIRONMENTS = ("production", "staging")
ID = r"^[0-9a-f]{64}$"
DEFAULTS = ("models/digit-classifier", "demo/digit-classifier")  # the pipeline's, the demo's

WRITES = 3  # attempts, until a file reads back as written
GRACE_S = 3600  # a younger model is not pruned: a deployment may be about to point at it

P = TypeVar("P", bound=Params)


class Pointer(Params):
    """The model that an environment serves: its id, its version, and the tag that names both."""

    model: Annotated[str, Field(pattern=ID)]
    version: str
    tag: str


class Manifest(Params):
    """The sha256 of each of a model's files, by name."""

    files: dict[str, str]


@dataclass(frozen=True)
class Location:
    """Where a model is: a model folder, or a deployment's URL and the environment to follow."""

    url: str
    environment: str | None  # None for a model folder


def locate(model: str | None = None, environment: str = "production") -> Location:
    """Find the model that a user names.

    Parameters
    ----------
    model : a model folder, or a deployment's URL; by default, the pipeline's model in the current
        folder, or the demo's if there is none
    environment : the one to follow, of a deployment

    Raises
    ------
    InputError
        If there is no such model. A bucket is not read yet.
    """
    if model is None:
        folders = [folder for folder in DEFAULTS if Path(folder, "model.json").is_file()]
        if not folders:
            raise InputError(
                f"there is no model here: neither {' nor '.join(DEFAULTS)}. Train one: dvc repro. "
                f"Without a network: make the demo. Or name a model folder or a deployment's URL"
            )
        return Location(folders[0], None)
    storage = location.find(model)
    if storage.is_bucket or Path(storage.root, f"{environment}.json").is_file():
        return Location(storage.url, environment)
    if Path(storage.root, "model.json").is_file():
        return Location(storage.url, None)
    raise InputError(
        f"{model} holds no model: neither model.json, as in {DEFAULTS[0]}, nor {environment}.json, "
        f"as after a deployment to {model}"
    )


def bring(location: Location, folder: str | Path) -> tuple[Path, Pointer | None]:
    """Bring a location's current model to this machine.

    Parameters
    ----------
    location : from `locate`
    folder : a deployment's model is copied into it, to a folder named by the model's id

    Returns
    -------
    the local folder of the model, and the pointer that named it, None for a model folder

    Raises
    ------
    InputError
        If no model was deployed there, or it is missing, incomplete or damaged.
    """
    if location.environment is None:
        return Path(location.url), None
    pointer = read_pointer(location.url, location.environment)
    if pointer is None:
        raise InputError(
            f"{location.url} has no {location.environment}.json: no model was deployed there yet. "
            f"Deploy one to {location.url}"
        )
    copy = Path(folder) / pointer.model
    if not copy.exists():  # a copy that exists is complete
        fetch_model(location.url, pointer.model, copy)
    return copy, pointer


def read_pointer(url: str, environment: str) -> Pointer | None:
    """Read which model an environment serves; None if no model was deployed yet.

    Raises `InputError` if the file is not a pointer.
    """
    storage, name = location.find(url), f"{environment}.json"
    return _pointer(storage, name, filesystem.read(storage, name))


def move_pointer(url: str, environment: str, pointer: Pointer, seen: Pointer | None) -> None:
    """Point an environment at another model, if it still serves the one that was seen.

    The model is there already. Raises `InputError` if another deployment moved the pointer; then it
    is not moved again. Raises it too if the server cannot compare and set.
    """
    storage, name = location.find(url), f"{environment}.json"
    description = filesystem.read(storage, file := f"{pointer.model}/model.json")
    if description and not filesystem.compares_and_sets(storage, file, description):
        raise InputError(f"{storage.url}: {filesystem.NO_CONDITIONS}")
    content = filesystem.replace(
        storage, name, _json(pointer), lambda content: _pointer(storage, name, content) == seen
    )
    if (current := _pointer(storage, name, content)) != pointer:
        raise InputError(
            f"another deployment moved {storage.url}/{name} in the meantime, to "
            f"{f'{current.version} ({current.tag})' if current else 'nothing'}. This deployment "
            f"has not changed the served model. To replace the other's, run the same command again"
        )


def fetch_model(url: str, model: str, folder: str | Path) -> None:
    """Copy a model into a local folder, which appears complete and checked, or not at all.

    Parameters
    ----------
    url, model : the deployment, and the model's id
    folder : replaced if it exists; no other process may use it

    Raises
    ------
    InputError
        If the model is missing, incomplete or damaged; names the file and what to do.
    """
    contents = _read_model(location.find(url), model)
    folder = Path(folder)
    with faults.explained(location.find(str(folder))), files.new_directory(folder) as copy:
        for name, content in contents.items():
            (copy / name).write_bytes(content)


def put_model(url: str, contents: Mapping[str, bytes], origin: str) -> str:
    """Copy a model to the URL, its manifest last, and read every file back.

    A complete copy is kept, with its evaluation.json. An incomplete or damaged copy is repaired.

    Parameters
    ----------
    url : of the deployment
    contents, origin : as for `check`

    Returns
    -------
    the model's id

    Raises
    ------
    InputError
        As `check`; or if a file does not read back as it was written.
    """
    model, storage = check(contents, origin), location.find(url)
    try:
        contents = _read_model(storage, model)
    except InputError:  # missing, incomplete or damaged
        for name, content in contents.items():
            _put(storage, f"{model}/{name}", content)
    manifest = Manifest(files={name: _sha256(content) for name, content in contents.items()})
    # Even if it exists: its time shows `prune` that a pointer may be about to move to the model.
    filesystem.write(storage, f"{model}/{MANIFEST}", _json(manifest))
    _read_model(storage, model)
    return model


def check(contents: Mapping[str, bytes], origin: str) -> str:
    """Check that a model's files belong together, and return its id.

    Parameters
    ----------
    contents : the model folder's files and evaluation.json, by name
    origin : their name in messages

    Raises
    ------
    InputError
        If a file is missing, its digest differs from model.json's, or evaluation.json is of another
        model.
    """
    if missing := {*MODEL_FILES, EVALUATION} - set(contents):
        raise InputError(f"{origin} lacks {', '.join(sorted(missing))}")
    model = _sha256(contents["model.json"])
    for name, digest in _digests(contents["model.json"], origin).items():
        if (actual := _sha256(contents[name])) != digest:
            raise InputError(f"{origin}: {name} has sha256 {actual}; model.json says {digest}")
    try:
        evaluated = json.loads(contents[EVALUATION])["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{origin}: {EVALUATION} names no model: {error!r}") from None
    if evaluated != model:
        raise InputError(
            f"{origin} has the id {model}, but {EVALUATION} is of the model {evaluated}. Only an "
            f"evaluated model is served"
        )
    return model


def prune(url: str, keep: int) -> list[str]:
    """Remove all models except the newest `keep` and those that a pointer names.

    Incomplete copies are removed too. Models written within the last `GRACE_S` are kept.

    Returns the ids of the removed models.

    Raises `InputError` if there is no pointer, or a damaged one, so that the served model is
    unknown.
    """
    storage = location.find(url)
    _served(storage)
    models = {name: filesystem.entries(storage, name) for name in _models(storage)}
    finished = [name for name, entries in models.items() if MANIFEST in entries]
    finished.sort(key=lambda name: models[name][MANIFEST], reverse=True)

    def is_unused(name: str, entries: Mapping[str, float]) -> bool:
        """Called right before removal: the model may just have been deployed."""
        newest = max(entries.values(), default=0.0)
        return newest < time.time() - GRACE_S and name not in _served(storage)

    return [
        name
        for name in sorted(set(models) - set(finished[:keep]))
        if filesystem.remove(storage, name, MANIFEST, partial(is_unused, name))
    ]


def _models(storage: Storage) -> list[str]:
    return [name for name in filesystem.entries(storage) if re.match(ID, name)]


def _served(storage: Storage) -> set[str]:
    """Ids of the models that a pointer names."""
    pointers = [read_pointer(storage.url, environment) for environment in ENVIRONMENTS]
    if not any(pointers):
        raise InputError(
            f"{storage.url} has no {' or '.join(f'{name}.json' for name in ENVIRONMENTS)}, so the "
            f"served model is unknown. No model was removed"
        )
    return {pointer.model for pointer in pointers if pointer}


def _pointer(storage: Storage, name: str, content: bytes | None) -> Pointer | None:
    advice = f"Look at it, remove it, and deploy to {storage.url} again"
    return None if content is None else _parse(Pointer, content, f"{storage.url}/{name}", advice)


def _read_model(storage: Storage, model: str) -> dict[str, bytes]:
    """Read a model's files by name, and check them against its id and its manifest."""
    origin = f"{storage.url}/{model}"
    advice = f"To repair the copy, deploy to {storage.url} again"
    manifest = filesystem.read(storage, f"{model}/{MANIFEST}")
    if manifest is None:
        raise InputError(
            f"{origin} has no {MANIFEST}: the model was removed, or its copy is incomplete. "
            f"{advice}"
        )
    digests = _parse(Manifest, manifest, f"{origin}/{MANIFEST}", advice).files

    def read(name: str, digest: str) -> bytes:
        content = filesystem.read(storage, f"{model}/{name}")
        if content is None:
            raise InputError(f"{origin}/{name} is missing. {advice}")
        if (actual := _sha256(content)) != digest:
            raise InputError(
                f"{origin}/{name} is damaged: {len(content):,} bytes with sha256 {actual}; "
                f"expected {digest}. {advice}"
            )
        return content

    contents = {"model.json": read("model.json", model)}
    expected = {"model.json": model, **_digests(contents["model.json"], origin)}
    if digests != expected | {EVALUATION: digests.get(EVALUATION)}:
        raise InputError(f"{origin}/{MANIFEST} is damaged: it describes another model. {advice}")
    contents |= {name: read(name, digests[name]) for name in digests.keys() - contents.keys()}
    check(contents, origin)
    return contents


def _digests(description: bytes, origin: str) -> dict[str, str]:
    """The digests of model.onnx and golden.npz in model.json."""
    try:
        digests = json.loads(description)["files"]
        return {name: digests[name] for name in MODEL_FILES if name != "model.json"}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{origin}: model.json describes no model: {error!r}") from None


def _put(storage: Storage, name: str, content: bytes) -> None:
    """Write a file, and again until it reads back as written."""
    for _ in range(WRITES):
        if filesystem.read(storage, name) == content:
            return
        filesystem.write(storage, name, content)
    if filesystem.read(storage, name) != content:
        raise InputError(
            f"{storage.url}/{name} does not read back as it was written, after {WRITES} attempts. "
            f"The served model has not changed. Is the disk or the connection failing?"
        )


def _parse(cls: type[P], content: bytes, origin: str, advice: str) -> P:
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise InputError(f"it holds {document!r}; expected an object")
        return cls.parse(document, origin)
    except (ValueError, InputError) as error:
        raise InputError(f"{origin} is damaged: {error}. {advice}") from None


def _json(value: Params) -> bytes:
    return files.canonical_json(value.model_dump()).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
