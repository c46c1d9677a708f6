"""Deployments by the library alone, without Git and DVC.

Example:

    new = deploy(url, ONE)                    # a folder or s3://...: `production` serves it now
    put(url, f"{new.model}/model.onnx", b"")  # damage it
"""

from collections.abc import Mapping

from digits.storage import filesystem, location, model_store
from digits.storage.model_store import Pointer
from tests.helpers.tiny_models import digest, model

ONE, TWO = model(1), model(2)


def pointer(contents: Mapping[str, bytes], number: int) -> Pointer:
    return Pointer(
        model=digest(contents["model.json"]),
        version=f"v1.{number}.0",
        tag=f"digit-classifier#production#{number}",
    )


def deploy(url: str, contents: Mapping[str, bytes], number: int = 1) -> Pointer:
    new = pointer(contents, number)
    model_store.put_model(url, contents, "the model")
    model_store.move_pointer(url, "production", new, model_store.read_pointer(url, "production"))
    return new


def put(url: str, name: str, content: bytes) -> None:
    filesystem.write(location.find(url), name, content)
