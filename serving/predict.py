"""POST /predict: classify an image file, several, or pixels. SageMaker's path is /invocations."""

import asyncio
import math
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.datastructures import Headers

from digits.core.arrays import UInt8Array
from digits.imaging.decoding import TooManyPixels
from serving import decode, request_body
from serving.app_state import state_of
from serving.live_model import Classification, ServedModel
from serving.problem_details import Document
from serving.worker_pool import SMALL_BYTES, at_once

router = APIRouter()


class Prediction(BaseModel):
    """The most likely class of an image, and the probability of each class."""

    predicted: str
    confidence: float
    probabilities: dict[str, float]
    input: list[list[int]] | None = None


class Predictions(BaseModel):
    """One prediction per image, in the order of the request, all by the same model."""

    predictions: list[Prediction]
    model: str
    version: str


ONE = {"images": [[[255 * (4 <= y < 24 and 13 <= x < 16) for x in range(28)] for y in range(28)]]}
DATA_URL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQAAAABaduI5AAAAFUlEQVR42mNgwA"
    "bYGRiYGBhoSWADAA4qAC78xnP2AAAAAElFTkSuQmCC"
)
ANSWER = {
    "predictions": [
        {
            "predicted": "1",
            "confidence": 0.991,
            "probabilities": {name: 0.991 if name == "1" else 0.001 for name in "0123456789"},
        }
    ],
    "model": "45fcc30f30d3c45f2820b00e164b6ce8a0d1b9a30201e67d04a2d96679cbc9a4",
    "version": "v1.2.0",
}
PROBLEM = {
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "images[0][3]: 27 pixels; expected 28",
    "errors": [{"field": "images[0][3]", "detail": "27 pixels; expected 28"}],
}


def _problem(description: str, **example: Any) -> dict[str, Any]:
    content = {"schema": Document.model_json_schema(), **example}
    return {"description": description, "content": {"application/problem+json": content}}


BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "array", "items": {"type": "string", "format": "binary"}}
                },
            }
        },
        "application/json": {
            "schema": {"anyOf": [form.model_json_schema() for form in decode.JSON_FORMS]},
            "examples": {"pixels": {"value": ONE}, "image file": {"value": {"image": DATA_URL}}},
        },
    },
}
INPUT = {
    "name": "input",
    "in": "query",
    "description": "Add `input` to each prediction: the pixels that the model received",
    "schema": {"enum": ["true"]},
}
DESCRIPTION = f"""
- One image file as the body: `curl --data-binary @digit.png URL/predict`. PNG, JPEG, WebP and
  more, of any size, dark on light or light on dark.
- A form with up to {decode.FILES} image files; fields of text are passed over:
  `curl -F image=@one.png -F image=@two.jpg URL/predict`
- JSON, with `Content-Type: application/json`: image files in base64, as `{{"image": "..."}}` or
  `{{"images": ["...", "..."]}}`, where a data URL will do too; or pixels in the model's input size

The body may be compressed, with `Content-Encoding: gzip` or `deflate`.
"""


@router.post("/invocations", include_in_schema=False)  # SageMaker's name
@router.post(
    "/predict",
    summary="Classify images",
    description=DESCRIPTION,
    openapi_extra={"requestBody": BODY, "parameters": [INPUT]},
    responses={
        200: {"model": Predictions, "content": {"application/json": {"example": ANSWER}}},
        422: _problem("There is no image, or an image can't be read", example=PROBLEM),
        400: _problem("The body can't be parsed or decompressed"),
        408: _problem(f"The body did not arrive within {request_body.BODY_S} s"),
        413: _problem(
            f"The body is larger than {request_body.BODY_BYTES:,} bytes, or several image files "
            f"have more than {decode.REQUEST_PIXELS:,} pixels together"
        ),
        415: _problem("The body is compressed in another way than gzip or deflate"),
        429: _problem("Too many requests are waiting; send it again after Retry-After seconds"),
    },
)
async def predict(request: Request) -> Response:
    state = state_of(request)
    query = request.scope["query_string"]  # parsed only if there is one: it takes time
    with_input = bool(query) and request.query_params.get("input") == "true"
    body = await request_body.read(request, state.arriving)
    model = state.live_model.served  # one model classifies all images of a request
    call = partial(answer, model, request.headers, body, with_input)
    if len(body) > SMALL_BYTES:
        classification, response = await state.pool.run(at_once, call)
    else:
        try:
            small = math.prod(model.classifier.preprocessing.size)
            classification, response = await state.pool.run_here(call, small)
        except TooManyPixels:
            classification, response = await state.pool.run(at_once, call)
    state.metrics.count_images(classification)
    return response


async def answer(
    model: ServedModel,
    headers: Headers,
    body: bytes,
    with_input: bool,
    max_pixels: int | None = None,
) -> tuple[Classification, Response]:
    """Decode, classify and render one request, with a pause after each of these steps.

    Raises
    ------
    Problem, TooManyPixels
        As `decode.decode_images`.
    """
    images = decode.decode_images(headers, body, model.classifier.preprocessing, max_pixels)
    await asyncio.sleep(0)
    logits = model.classifier.logits(images)
    await asyncio.sleep(0)
    classification = model.decide(logits)
    return classification, render(classification, images if with_input else None)


def render(classification: Classification, images: UInt8Array | None) -> Response:
    """The response in JSON; it repeats the images if they are given."""
    model = classification.model
    predictions = []
    for i, (name, row) in enumerate(
        zip(classification.names, classification.probabilities, strict=True)
    ):
        rounded = [round(value, 6) for value in row]
        prediction = {
            "predicted": name,
            "confidence": max(rounded),
            "probabilities": dict(zip(model.classifier.classes, rounded, strict=True)),
        }
        if images is not None:
            prediction["input"] = images[i].tolist()
        predictions.append(prediction)
    document = {"predictions": predictions, "model": model.classifier.id, "version": model.version}
    return Response(to_json(document), media_type="application/json")
