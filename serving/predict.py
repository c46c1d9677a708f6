"""POST /predict: an image file, several, or pixels. SageMaker asks the same at /invocations."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from serving import request_body
from serving.problems import Document
from serving.request_body import Pixels
from serving.service import Answer, service_of

router = APIRouter()


class Prediction(BaseModel):
    """The likeliest class of an image, and the probability of each class."""

    predicted: str
    confidence: float
    probabilities: dict[str, float]
    input: list[list[int]] | None = None


class Predictions(BaseModel):
    """One for each image, in their order, all by one model."""

    predictions: list[Prediction]
    model: str
    version: str


ONE = {"images": [[[255 * (4 <= y < 24 and 13 <= x < 16) for x in range(28)] for y in range(28)]]}
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


def _problem(description: str) -> dict[str, Any]:
    example = {"application/problem+json": {"schema": Document.model_json_schema()}}
    return {"description": description, "content": example}


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
        "application/json": {"schema": Pixels.model_json_schema(), "example": ONE},
    },
}
INPUT = {
    "name": "input",
    "in": "query",
    "description": "Have the answer hold what the model saw, as pixels",
    "schema": {"enum": ["true"]},
}
DESCRIPTION = f"""
- An image file as the body: `curl --data-binary @digit.png URL/predict`. PNG, JPEG, WebP and more,
  dark on light or light on dark, of any size.
- Up to {request_body.FILES} of them as a form:
  `curl -F image=@one.png -F image=@two.jpg URL/predict`
- Pixels as the model takes them, `Content-Type: application/json`
"""


@router.post(
    "/predict",
    summary="Which class is it?",
    description=DESCRIPTION,
    openapi_extra={"requestBody": BODY, "parameters": [INPUT]},
    responses={
        200: {"model": Predictions, "content": {"application/json": {"example": ANSWER}}},
        422: {
            "description": "No image, or none that the model can read",
            "content": {
                "application/problem+json": {
                    "schema": Document.model_json_schema(),
                    "example": PROBLEM,
                }
            },
        },
        **{
            status: _problem(text)
            for status, text in {
                400: "The body can't be read",
                408: "The body does not arrive",
                413: f"The body is larger than {request_body.BODY_BYTES:,} bytes",
                429: "Too many are waiting; Retry-After says when to come again",
            }.items()
        },
    },
)
async def predict(request: Request) -> Response:
    service = service_of(request)
    images = await request_body.images_of(request, service.reading)
    with_input = request.query_params.get("input") == "true"
    return await service.answer(images, partial(_response, with_input=with_input))


@router.post("/invocations", include_in_schema=False)
async def invocations(request: Request) -> Response:
    return await predict(request)


def _response(answer: Answer, with_input: bool) -> Response:
    classes = answer.served.classifier.classes
    predictions = []
    for i, (name, row) in enumerate(zip(answer.names, answer.probabilities, strict=True)):
        rounded = [round(value, 6) for value in row]
        prediction = {
            "predicted": name,
            "confidence": max(rounded),
            "probabilities": dict(zip(classes, rounded, strict=True)),
        }
        if with_input:
            prediction["input"] = answer.images[i].tolist()
        predictions.append(prediction)
    document = {
        "predictions": predictions,
        "model": answer.served.classifier.id,
        "version": answer.served.version,
    }
    return Response(to_json(document), media_type="application/json")
