"""The Open Inference Protocol (KServe v2) over REST, with Triton's binary tensors.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import asyncio
import math
import struct
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import to_json

from digits.core.arrays import UInt8Array
from serving import problem_details, request_body
from serving.app_state import state_of
from serving.live_model import Classification, ServedModel
from serving.problem_details import Problem
from serving.worker_pool import SMALL_BYTES, at_once

NAME = "digit-classifier"
JSON_LENGTH = "Inference-Header-Content-Length"  # bytes of JSON before the binary tensors

router = APIRouter(prefix="/v2", include_in_schema=False)  # the links above describe it


class _Strict(BaseModel):
    """No type is converted. Unknown keys are ignored, as the protocol demands."""

    model_config = ConfigDict(strict=True)


class InputParameters(_Strict):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class Input(_Strict):
    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, Field(le=2**63 - 1)]], FailFast(), Field(max_length=8)]
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = None


class OutputParameters(_Strict):
    binary_data: bool | None = None


class Output(_Strict):
    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Strict):
    binary_data_output: bool = False


class Inference(_Strict):
    """The JSON of an inference request."""

    id: str | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[Input], FailFast(), Field(min_length=1, max_length=1)]
    outputs: Annotated[list[Output], FailFast(), Field(max_length=2)] = []


@router.get("")
async def server() -> dict[str, Any]:
    return {"name": "digits", "version": "2", "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    return {"live": True}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    state_of(request).check_ready()
    return {"ready": True}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model_metadata(request: Request) -> dict[str, Any]:
    model = _find_model(request)
    size, classes = model.classifier.preprocessing.size, len(model.classifier.classes)
    return {
        "name": NAME,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, *size]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
            {"name": "predicted", "datatype": "BYTES", "shape": [-1]},
        ],
    }


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(request: Request) -> dict[str, Any]:
    _find_model(request)
    state_of(request).check_ready()
    return {"name": NAME, "ready": True}


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request) -> Response:
    state = state_of(request)
    model = _find_model(request)  # before the body: it answers even if it is replaced meanwhile
    body = await request_body.read(request, state.arriving)
    json_length = request.headers.get(JSON_LENGTH)
    call = partial(answer, model, body, json_length)
    small = len(body) <= SMALL_BYTES
    run = state.pool.run_here(call) if small else state.pool.run(at_once, call)
    classification, response = await run
    state.metrics.count_images(classification)
    return response


def _find_model(request: Request) -> ServedModel:
    model = state_of(request).live_model.served
    name, version = request.path_params["name"], request.path_params.get("version", model.version)
    if (name, version) != (NAME, model.version):
        raise Problem(
            404,
            f"There is no model {name}, version {version}; this server has {NAME}, "
            f"version {model.version}",
        )
    return model


async def answer(
    model: ServedModel, body: bytes, json_length: str | None
) -> tuple[Classification, Response]:
    """Decode, classify and render one request, with a pause after each of these steps.

    Parameters
    ----------
    model : the model that classifies
    body : JSON, then the binary tensor if there is one
    json_length : the header `JSON_LENGTH`; None if all of the body is JSON

    Raises
    ------
    Problem
        400 or 422, if the request is invalid; names the field.
    """
    json, binary = _split(body, json_length)
    inference = _parse(json)
    images = _decode_images(inference.inputs[0], binary, model.classifier.preprocessing.size)
    await asyncio.sleep(0)
    logits = model.classifier.logits(images)
    await asyncio.sleep(0)
    classification = model.decide(logits)
    return classification, _render(classification, inference)


def _split(body: bytes, json_length: str | None) -> tuple[bytes, bytes]:
    """The JSON, and the binary tensor after it."""
    if json_length is None:
        return body, b""
    is_number = json_length.isdecimal() and len(json_length) < 10
    if not is_number or int(json_length) > len(body):
        raise _invalid(JSON_LENGTH, f"{json_length!r}; expected 0 to {len(body)}, the body's bytes")
    return body[: int(json_length)], body[int(json_length) :]


def _parse(json: bytes) -> Inference:
    try:
        inference = Inference.model_validate_json(json)
    except ValidationError as error:
        raise problem_details.invalid_json(error) from None
    for i, output in enumerate(inference.outputs):
        if output.name not in ("probabilities", "predicted"):
            raise _invalid(f"outputs[{i}].name", "expected probabilities or predicted")
    return inference


def _decode_images(tensor: Input, binary: bytes, size: tuple[int, int]) -> UInt8Array:
    """Images from the input tensor: uint8 (n, height, width) of the model's input size."""
    if tensor.name != "images":
        raise _invalid("inputs[0].name", "expected images")
    if tensor.datatype != "UINT8":
        raise _invalid("inputs[0].datatype", "expected UINT8")
    if len(tensor.shape) != 3 or tensor.shape[0] < 1 or tuple(tensor.shape[1:]) != size:
        raise _invalid("inputs[0].shape", f"expected {[-1, *size]}")
    count = math.prod(tensor.shape)
    if tensor.parameters.binary_data_size is None:
        return _decode_pixels(tensor.data, count).reshape(tensor.shape)
    declared = tensor.parameters.binary_data_size
    if not declared == count == len(binary):
        raise _invalid(
            "inputs[0].parameters.binary_data_size",
            f"{declared}; {len(binary)} bytes follow the JSON, and the shape has {count}",
        )
    return np.frombuffer(binary, np.uint8).reshape(tensor.shape)


def _decode_pixels(data: list[Any] | None, count: int) -> UInt8Array:
    # dtype object: in an array of texts each would take as much memory as the longest.
    values = np.array(data, object).ravel().tolist()
    if len(values) == count and set(map(type, values)) == {int}:
        with suppress(ValueError):  # a value is not in 0 to 255
            return np.frombuffer(bytes(values), np.uint8)
    raise _invalid("inputs[0].data", f"expected {count} whole numbers from 0 to 255")


def _render(classification: Classification, inference: Inference) -> Response:
    """The response with the outputs that the request names, each in JSON or binary."""
    outputs, tensors = [], []
    for output in inference.outputs or [Output(name="probabilities"), Output(name="predicted")]:
        description, values, content = _output(classification, output.name)
        binary = output.parameters.binary_data
        if inference.parameters.binary_data_output if binary is None else binary:
            description["parameters"] = {"binary_data_size": len(content)}
            tensors.append(content)
        else:
            description["data"] = values
        outputs.append(description)
    document = {
        "model_name": NAME,
        "model_version": classification.model.version,
        **({"id": inference.id} if inference.id else {}),
        "outputs": outputs,
    }
    json = to_json(document)
    if not tensors:
        return Response(json, media_type="application/json")
    return Response(
        json + b"".join(tensors),
        headers={JSON_LENGTH: str(len(json))},
        media_type="application/octet-stream",
    )


def _output(classification: Classification, name: str) -> tuple[dict[str, Any], list[Any], bytes]:
    """An output tensor's description, its values for JSON, and its binary content."""
    if name == "predicted":
        names = [name.encode() for name in classification.names]
        content = b"".join(struct.pack("<I", len(name)) + name for name in names)
        description = {"name": "predicted", "datatype": "BYTES", "shape": [len(names)]}
        return description, classification.names, content
    tensor = np.array(classification.probabilities, "<f4")
    description = {"name": name, "datatype": "FP32", "shape": list(tensor.shape)}
    return description, tensor.ravel().tolist(), tensor.tobytes()


def _invalid(field: str, detail: str) -> Problem:
    return Problem(400, f"{field}: {detail}", [(field, detail)])
