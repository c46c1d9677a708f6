"""The Open Inference Protocol (KServe's v2) over REST, with Triton's binary tensors.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import math
import struct
from contextlib import suppress
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import to_json

from digits.core.arrays import UInt8Array
from digits.model.classifier import Classifier
from serving import problems, request_body
from serving.live_model import Served
from serving.problems import Problem
from serving.service import Answer, service_of

NAME = "digit-classifier"
LENGTH = "Inference-Header-Content-Length"  # of the JSON before the binary tensors

router = APIRouter(prefix="/v2", include_in_schema=False)  # described where the links go


class _Strict(BaseModel):
    """Parameters that are not known are not looked at, as the protocol has it."""

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
    """An inference request without its binary tensors."""

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
    service_of(request).check_ready()
    return {"ready": True}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model(request: Request) -> dict[str, Any]:
    served = _find(request)
    size, classes = served.classifier.preprocessing.size, len(served.classifier.classes)
    return {
        "name": NAME,
        "versions": [served.version],
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
    _find(request)
    service_of(request).check_ready()
    return {"name": NAME, "ready": True}


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request) -> Response:
    service, served = service_of(request), _find(request)
    body = await request_body.read(request, service.reading)
    exchange = _Exchange(body, request.headers.get(LENGTH))
    return await service.answer(exchange.images, exchange.response, served)


def _find(request: Request) -> Served:
    served = service_of(request).current.served
    name, version = request.path_params["name"], request.path_params.get("version", served.version)
    if (name, version) != (NAME, served.version):
        there = f"{NAME}, version {served.version}"
        raise Problem(404, f"There is no model {name}, version {version}; there is {there}")
    return served


class _Exchange:
    """A request's body, and the answer in the form that it asks for."""

    def __init__(self, body: bytes, length: str | None) -> None:
        if length is not None and not (
            length.isdecimal() and len(length) < 10 and int(length) <= len(body)
        ):
            raise _refuse(LENGTH, f"is {length!r}; expected a part of the {len(body)} bytes")
        end = len(body) if length is None else int(length)
        self.header, self.binary = body[:end], body[end:]

    def images(self, classifier: Classifier) -> UInt8Array:
        try:
            self.asked = Inference.model_validate_json(self.header)
        except ValidationError as error:
            raise problems.refuse_json(error) from None
        given, expected = self.asked.inputs[0], classifier.preprocessing.size
        for i, output in enumerate(self.asked.outputs):
            if output.name not in ("probabilities", "predicted"):
                raise _refuse(f"outputs[{i}].name", "expected probabilities or predicted")
        if given.name != "images":
            raise _refuse("inputs[0].name", "expected images")
        if given.datatype != "UINT8":
            raise _refuse("inputs[0].datatype", "expected UINT8")
        if len(given.shape) != 3 or given.shape[0] < 1 or tuple(given.shape[1:]) != expected:
            raise _refuse("inputs[0].shape", f"expected {[-1, *expected]}")
        size = math.prod(given.shape)
        if given.parameters.binary_data_size is None:
            return _pixels(given.data, size).reshape(given.shape)
        if not given.parameters.binary_data_size == size == len(self.binary):
            raise _refuse(
                "inputs[0].parameters.binary_data_size",
                f"{len(self.binary)} bytes follow the JSON; the shape has {size}",
            )
        return np.frombuffer(self.binary, np.uint8).reshape(given.shape)

    def response(self, answer: Answer) -> Response:
        default = self.asked.parameters.binary_data_output
        outputs, binary = [], []
        for asked in self.asked.outputs or [Output(name="probabilities"), Output(name="predicted")]:
            found, values, content = _output(answer, asked.name)
            wanted = asked.parameters.binary_data
            if default if wanted is None else wanted:
                found["parameters"] = {"binary_data_size": len(content)}
                binary.append(content)
            else:
                found["data"] = values
            outputs.append(found)
        document = {
            "model_name": NAME,
            "model_version": answer.served.version,
            **({"id": self.asked.id} if self.asked.id else {}),
            "outputs": outputs,
        }
        header = to_json(document)
        if not binary:
            return Response(header, media_type="application/json")
        return Response(
            header + b"".join(binary),
            headers={LENGTH: str(len(header))},
            media_type="application/octet-stream",
        )


def _pixels(data: list[Any] | None, size: int) -> UInt8Array:
    # Objects: else each of many short strings would take as much as the longest.
    values = np.array(data, object).ravel().tolist()
    if len(values) == size and set(map(type, values)) == {int}:
        with suppress(ValueError):  # not from 0 to 255
            return np.frombuffer(bytes(values), np.uint8)
    raise _refuse("inputs[0].data", f"expected {size} whole numbers from 0 to 255")


def _output(answer: Answer, name: str) -> tuple[dict[str, Any], list[Any], bytes]:
    """A tensor's description, its values, and these as bytes."""
    if name == "predicted":
        names = [each.encode() for each in answer.names]
        content = b"".join(struct.pack("<I", len(each)) + each for each in names)
        found = {"name": name, "datatype": "BYTES", "shape": [len(names)]}
        return found, answer.names, content
    tensor = np.array(answer.probabilities, "<f4")
    found = {"name": name, "datatype": "FP32", "shape": list(tensor.shape)}
    return found, tensor.ravel().tolist(), tensor.tobytes()


def _refuse(field: str, detail: str) -> Problem:
    return Problem(400, f"{field}: {detail}", [(field, detail)])
