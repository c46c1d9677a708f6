"""What a request brings: a body within limits, and the images in it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import Request
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.imaging import model_form
from digits.model.classifier import Classifier
from serving import problems
from serving.problems import Problem

BODY_BYTES = 8 << 20
BODY_S = 20  # for a body to arrive
READING_BYTES = 256 << 20  # of all bodies that are on their way
FILES = 100  # in one request

T = TypeVar("T")
Decode = Callable[[Classifier], UInt8Array]

Pixel = Annotated[int, Field(ge=0, le=255)]
# FailFast: a body of nothing but errors would take up a hundred times its size.
Row = Annotated[list[Pixel], FailFast()]
Image = Annotated[list[Row], FailFast()]


class Pixels(BaseModel):
    """Images as the model takes them: rows of pixels, 0 is background and 255 is ink."""

    model_config = ConfigDict(strict=True)

    images: Annotated[list[Image], FailFast(), Field(min_length=1)]


@dataclass
class Reading:
    """What is there of all bodies that are on their way."""

    size: int = 0  # bytes


class _Parser(MultiPartParser):
    spool_max_size = BODY_BYTES  # in memory: there may be no disk to write to


async def images_of(request: Request, reading: Reading) -> Decode:
    """What makes a request's images, once a thread has time: an image file, several, or pixels.

    Raises
    ------
    Problem
        If the body can't be had. What is made of this raises it for an image that is none.
    """
    body = await read(request, reading)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return partial(_pixels, body)
    if kind == "multipart/form-data":
        return partial(_form, request.headers, body)
    return partial(_pictures, [("body", body)])


async def read(request: Request, reading: Reading) -> bytes:
    """The body. Raises `Problem` if it is compressed, too large, too slow or one of too many."""
    if "content-encoding" in request.headers:
        raise Problem(415, "a compressed body is not taken", [("Content-Encoding", "not taken")])
    if int(request.headers.get("content-length", 0)) > BODY_BYTES:
        raise _too_large()
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                reading.size += len(chunk)
                if size > BODY_BYTES:
                    raise _too_large()
                if reading.size > READING_BYTES:
                    raise Problem(
                        429, "too many large bodies are on their way", headers={"Retry-After": "1"}
                    )
    except TimeoutError:
        raise Problem(408, f"the body has not arrived within {BODY_S} s") from None
    finally:
        reading.size -= size
    return b"".join(chunks)


def _too_large() -> Problem:
    return Problem(413, f"the body is larger than {BODY_BYTES:,} bytes")


def _form(headers: Headers, body: bytes, classifier: Classifier) -> UInt8Array:
    return _pictures(_files(headers, body), classifier)


def _files(headers: Headers, body: bytes) -> list[tuple[str, bytes]]:
    """The files of a form, by the names of their fields."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = _outcome(_Parser(headers, stream(), max_files=FILES, max_fields=0).parse())
    except (MultiPartException, UnicodeError) as error:
        raise Problem(400, f"the form can't be read: {error}") from None
    files = [(name, file) for name, file in form.multi_items() if isinstance(file, UploadFile)]
    if not files:
        raise Problem(422, "the form holds no file", [("image", "missing")])
    return [(f"{name}[{i}]", file.file.read()) for i, (name, file) in enumerate(files)]


def _outcome(coroutine: Coroutine[Any, Any, T]) -> T:
    """Of one that never waits: a loop to run it would take longer than a form."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        found: T = stop.value
        return found
    raise AssertionError("it waits")


def _pictures(files: list[tuple[str, bytes]], classifier: Classifier) -> UInt8Array:
    made, errors = [], []
    for field, content in files:
        try:
            made.append(model_form.read(content, classifier.preprocessing))
        except InputError as error:
            errors.append((field, str(error)))
    if errors:
        raise Problem(422, f"{errors[0][0]}: {errors[0][1]}", errors)
    return np.stack(made)


def _pixels(body: bytes, classifier: Classifier) -> UInt8Array:
    try:
        found = Pixels.model_validate_json(body).images
    except ValidationError as error:
        raise problems.refuse_json(error) from None
    height, width = classifier.preprocessing.size
    for i, image in enumerate(found):
        if len(image) != height:
            _refuse_size(f"images[{i}]", f"{len(image)} rows; expected {height}")
        for k, row in enumerate(image):
            if len(row) != width:
                _refuse_size(f"images[{i}][{k}]", f"{len(row)} pixels; expected {width}")
    return np.array(found, np.uint8)


def _refuse_size(field: str, detail: str) -> None:
    raise Problem(422, f"{field}: {detail}", [(field, detail)])
