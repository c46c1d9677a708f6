"""Decode the body of POST /predict: an image file, a form with several, or JSON.

The JSON holds image files in base64, or pixels.
"""

import base64
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Annotated
from urllib.parse import unquote

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, PlainValidator, ValidationError
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.imaging import decoding, model_form
from digits.imaging.decoding import MAX_PIXELS, TooManyPixels
from digits.imaging.preprocessing import Preprocessing
from serving import problem_details
from serving.problem_details import Problem
from serving.request_body import BODY_BYTES
from serving.worker_pool import at_once

FILES = 100  # in one form or JSON
REQUEST_PIXELS = 4 * MAX_PIXELS  # of several image files together
FIELDS = 1000  # of text, which are passed over
CHARSETS = (b"utf-8", b"us-ascii", b"iso-8859-1")  # of a form; punycode would take hours
URL_SAFE = str.maketrans("-_", "+/")  # the two characters that base64url has in place of base64's

Pixel = Annotated[int, Field(ge=0, le=255)]
# FailFast: the list of all errors could take a hundred times the memory of the body.
Row = Annotated[list[Pixel], FailFast()]
Image = Annotated[list[Row], FailFast()]


def _both(_: object) -> None:
    raise PydanticCustomError("both", "expected either image or images, not both")


Absent = Annotated[SkipJsonSchema[None], PlainValidator(_both)]


class Pixels(BaseModel):
    """Images of the model's input size: rows of pixels, 0 is background and 255 is ink."""

    model_config = ConfigDict(strict=True)

    images: Annotated[list[Image], FailFast(), Field(min_length=1)]
    image: Absent = None


class EncodedFile(BaseModel):
    """An image file, as base64 or as a data URL."""

    model_config = ConfigDict(strict=True)

    image: str
    images: Absent = None


class EncodedFiles(BaseModel):
    """Image files, each as base64 or as a data URL."""

    model_config = ConfigDict(strict=True)

    images: Annotated[list[str], FailFast(), Field(min_length=1, max_length=FILES)]
    image: Absent = None


JSON_FORMS = (Pixels, EncodedFile, EncodedFiles)


def decode_images(
    headers: Headers, body: bytes, preprocessing: Preprocessing, max_pixels: int | None = None
) -> UInt8Array:
    """Decode a body by its Content-Type; any other type than JSON and a form is one image file.

    Parameters
    ----------
    headers : of the request
    body : decompressed
    preprocessing : the model's form
    max_pixels : of all image files together; None for `REQUEST_PIXELS`

    Returns
    -------
    uint8 (n, height, width) of the model's input size

    Raises
    ------
    Problem
        400 if the JSON or the form can't be parsed; 422 if an image is missing, can't be read or
        has the wrong size; 413 if several have more than `REQUEST_PIXELS`.
    TooManyPixels
        If the image files have more than `max_pixels`.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        return _decode_json(body, preprocessing, max_pixels)
    if content_type == "multipart/form-data":
        return _decode_files(_parse_form(headers, body), preprocessing, max_pixels)
    return _decode_files([("body", body)], preprocessing, max_pixels)


def _decode_json(body: bytes, preprocessing: Preprocessing, max_pixels: int | None) -> UInt8Array:
    try:
        return _decode_pixels(Pixels.model_validate_json(body).images, preprocessing.size)
    except ValidationError as error:
        form = _form_with_text(error)
        if form is None:
            raise problem_details.invalid_json(error) from None
    try:
        document = form.model_validate_json(body)
    except ValidationError as error:
        raise problem_details.invalid_json(error) from None
    if isinstance(document, EncodedFile):
        return _decode_files([("image", document.image)], preprocessing, max_pixels)
    files = [(f"images[{i}]", text) for i, text in enumerate(document.images)]
    return _decode_files(files, preprocessing, max_pixels)


def _form_with_text(error: ValidationError) -> type[EncodedFile] | type[EncodedFiles] | None:
    """The form of JSON that was meant, if something else stands where pixels are expected."""
    for details in error.errors(include_url=False, include_input=False):
        if details["loc"] == ("image",):
            return EncodedFile
        if details["loc"][:1] == ("images",) and len(details["loc"]) == 2:
            return EncodedFiles
    return None


def _from_base64(text: str) -> bytes:
    """The bytes of base64 or base64url, with line breaks or without, or of a data URL."""
    if text[:5].lower() == "data:":
        kind, _, text = text.partition(",")
        if not kind.lower().endswith(";base64"):
            raise InputError("expected a data URL with base64: data:image/png;base64,...")
        text = unquote(text)
    text = "".join(text.split()).translate(URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise InputError(f"expected an image file in base64, or a data URL: {error}") from None


def _decode_pixels(images: list[list[list[int]]], size: tuple[int, int]) -> UInt8Array:
    height, width = size
    for i, image in enumerate(images):
        if len(image) != height:
            raise _invalid(f"images[{i}]", f"{len(image)} rows; expected {height}")
        for k, row in enumerate(image):
            if len(row) != width:
                raise _invalid(f"images[{i}][{k}]", f"{len(row)} pixels; expected {width}")
    return np.array(images, np.uint8)


def _invalid(field: str, detail: str) -> Problem:
    return Problem(422, f"{field}: {detail}", [(field, detail)])


def _decode_files(
    files: Sequence[tuple[str, bytes | str]],
    preprocessing: Preprocessing,
    max_pixels: int | None,
) -> UInt8Array:
    """Decode image files, each given with the field that an error names; a text is in base64."""
    images, errors = [], []
    if len(files) > 1 and max_pixels is None:
        _check_pixels([content for _, content in files])
    limit = MAX_PIXELS if max_pixels is None else max_pixels // len(files)
    for field, content in files:
        try:
            content = _from_base64(content) if isinstance(content, str) else content
            images.append(model_form.read(content, preprocessing, limit))
        except InputError as error:
            if isinstance(error, TooManyPixels) and max_pixels is not None:
                raise
            errors.append((field, str(error)))
    if errors:
        raise Problem(422, f"{errors[0][0]}: {errors[0][1]}", errors)
    return np.array(images)


def _check_pixels(files: Sequence[bytes | str]) -> None:
    """Raises `Problem` 413 if image files together would take seconds to decode."""
    pixels = 0
    for content in files:
        with suppress(InputError):  # `_decode_files` names it
            pixels += decoding.count_pixels(
                _from_base64(content) if isinstance(content, str) else content
            )
    if pixels > REQUEST_PIXELS:
        raise Problem(
            413,
            f"The images have {pixels:,} pixels together; expected at most {REQUEST_PIXELS:,}. "
            f"Send them in several requests",
        )


class _InMemoryParser(MultiPartParser):
    spool_max_size = BODY_BYTES  # so it writes no temporary files: the disk may be read-only
    ended = False

    def on_end(self) -> None:
        self.ended = True


def _parse_form(headers: Headers, body: bytes) -> list[tuple[str, bytes]]:
    """The files of a form: the name of each field and its number, and the content.

    Fields of text are passed over, and so are fields in which the user chose no file, for which a
    browser sends an empty name.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    charset = parse_options_header(headers["content-type"])[1].get(b"charset", CHARSETS[0])
    if charset.lower() not in CHARSETS:
        raise Problem(
            400,
            f"the form can't be read: its charset is {charset.decode('latin-1')[:40]!r}; expected "
            f"utf-8. Leave it out of the header Content-Type",
        )
    parser = _InMemoryParser(
        headers, stream(), max_files=FILES, max_fields=FIELDS, max_part_size=BODY_BYTES
    )
    try:
        form = at_once(parser.parse)
    except MultiPartException as error:
        raise Problem(400, f"the form can't be read: {error}") from None
    if not parser.ended:  # the file that is cut off would be left out
        raise Problem(400, "the form can't be read: its end is missing, a last line --BOUNDARY--")
    files = [
        (name, field)
        for name, field in form.multi_items()
        if isinstance(field, UploadFile) and (field.filename or field.size)
    ]
    if not files:
        detail = "the form has no file, which is a field with a filename"
        raise Problem(422, detail, [("image", "missing")])
    return [(f"{name}[{i}]", file.file.read()) for i, (name, file) in enumerate(files)]
