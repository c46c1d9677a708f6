"""NVIDIA's client, which nobody here wrote, against the Open Inference Protocol."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from digits.evaluation import metrics
from digits.model.classifier import Classifier
from digits.storage import model_store
from serving import app
from serving.app_state import AppState
from serving.live_model import LiveModel
from serving.worker_pool import WorkerPool
from tests.helpers.servers import Server, serve_here

pytestmark = pytest.mark.slow(2)

NAME = "digit-classifier"
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.url.removeprefix("http://")) as found:
        yield found


def tensor(images: np.ndarray = IMAGES, binary: bool = True) -> InferInput:
    found = InferInput("images", list(images.shape), "UINT8")
    found.set_data_from_numpy(images, binary_data=binary)
    return found


def test_it_lives_and_is_ready(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert not client.is_model_ready("another")


def test_it_is_not_ready_once_it_is_about_to_stop(model_folder: Path) -> None:
    live_model = LiveModel(model_store.locate(str(model_folder)))
    state = AppState(live_model, WorkerPool(1, 1), draining=True)
    expected = {"/v2/health/live": 200, "/livez": 200, "/v2/models/other/ready": 404}
    expected |= dict.fromkeys(("/v2/health/ready", f"/v2/models/{NAME}/ready"), 503)
    expected |= dict.fromkeys(("/readyz", "/ping"), 503)
    with serve_here(app.create(state, None)) as (host, port):
        for path, status in expected.items():
            with closing(HTTPConnection(host, port)) as connection:
                connection.request("GET", path)
                assert (path, connection.getresponse().status) == (path, status)


def test_metadata(client: InferenceServerClient, classifier: Classifier) -> None:
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata(NAME)
    assert found["versions"] == [classifier.id[:12]]
    assert found["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 8, 8]}]
    assert [each["name"] for each in found["outputs"]] == ["probabilities", "predicted"]


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False, None])
@pytest.mark.parametrize("version", [True, False])
def test_inference(
    client: InferenceServerClient,
    classifier: Classifier,
    binary_input: bool,
    binary_output: bool | None,
    version: bool,
) -> None:
    outputs = binary_output is not None and [
        InferRequestedOutput(name, binary_data=binary_output)
        for name in ("predicted", "probabilities")
    ]
    found = client.infer(
        NAME,
        [tensor(binary=binary_input)],
        model_version=classifier.id[:12] if version else "",
        outputs=outputs or None,
        request_id="7",
    )
    expected = metrics.softmax(classifier.logits(IMAGES))
    np.testing.assert_allclose(found.as_numpy("probabilities"), expected, atol=1e-6)
    names = [classifier.classes[k].encode() for k in expected.argmax(axis=1)]
    assert [
        each if isinstance(each, bytes) else each.encode() for each in found.as_numpy("predicted")
    ] == names
    assert found.get_response()["id"] == "7"
    assert found.get_response()["model_version"] == classifier.id[:12]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compressed_requests(client: InferenceServerClient, algorithm: str, binary: bool) -> None:
    given = tensor(binary=binary)
    found = client.infer(
        NAME,
        [given],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    expected = client.infer(NAME, [given]).as_numpy("probabilities")
    np.testing.assert_array_equal(found.as_numpy("probabilities"), expected)


def test_one_output_of_the_two(client: InferenceServerClient) -> None:
    found = client.infer(NAME, [tensor()], outputs=[InferRequestedOutput("predicted")])
    assert found.as_numpy("predicted").shape == (5,)
    assert found.as_numpy("probabilities") is None


def test_errors_reach_the_client(client: InferenceServerClient) -> None:
    other = InferInput("pixels", [1, 8, 8], "UINT8")
    other.set_data_from_numpy(IMAGES[:1])
    for words, options, said in (
        (("another", [tensor()]), {}, "There is no model another"),
        (
            (NAME, [tensor()]),
            {"model_version": "9"},
            "There is no model digit-classifier, version 9",
        ),
        ((NAME, [tensor(IMAGES[:, :7])]), {}, "inputs[0].shape: expected [-1, 8, 8]"),
        ((NAME, [other]), {}, "inputs[0].name: expected images"),
        ((NAME, [tensor()]), {"outputs": [InferRequestedOutput("x")]}, "outputs[0].name: expected"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(*words, **options)
        assert said in str(caught.value)


def request(**changes: Any) -> dict[str, Any]:
    given = {"name": "images", "datatype": "UINT8", "shape": [1, 8, 8], "data": [0] * 64}
    return {"inputs": [given | changes]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        (request(shape=[8, 8]), "inputs[0].shape"),
        (request(shape=[-1, 8, 8]), "inputs[0].shape"),
        (request(shape=[2**62, 8, 8]), "inputs[0].data"),
        (request(shape=[10**4298, 8, 8]), "inputs[0].shape[0]"),  # Python writes 4,300 digits
        (request(shape=[0, 8, 8], data=[]), "inputs[0].shape"),
        (request(datatype="FP32"), "inputs[0].datatype"),
        (request(data=None), "inputs[0].data"),
        (request(data=[0] * 63), "inputs[0].data"),
        (request(data=[256] * 64), "inputs[0].data"),
        (request(data=[-1] * 64), "inputs[0].data"),
        (request(data=[0.5] * 64), "inputs[0].data"),
        (request(data=["0"] * 64), "inputs[0].data"),
        (request(data=[True] * 64), "inputs[0].data"),
        (request(data=[True, 0, 255, *[0] * 61]), "inputs[0].data"),
        (request(data=[10**30] * 64), "inputs[0].data"),
        (request(data=[[0], [0, 1]]), "inputs[0].data"),
        (request(parameters={"binary_data_size": 64}), "inputs[0].parameters.binary_data_size"),
    ],
)
def test_another_form_is_refused_by_field(server: Server, body: dict[str, Any], field: str) -> None:
    answer = server.ask(f"/v2/models/{NAME}/infer", body)
    assert answer.status in (400, 422)
    assert [each["field"] for each in answer.json["errors"]] == [field]
    assert answer.json["error"] == answer.json["detail"]


@pytest.mark.parametrize("length", ["-1", "x", "100000", "1.5", "9" * 5000])
def test_a_header_length_that_can_not_be_is_refused(server: Server, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    answer = server.ask(f"/v2/models/{NAME}/infer", request(), **headers)
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == "Inference-Header-Content-Length"


@pytest.mark.parametrize(("declared", "sent"), [(63, 64), (65, 64), (64, 63), (64, 65)])
def test_a_tensor_of_another_size_than_is_declared_is_refused(
    server: Server, declared: int, sent: int
) -> None:
    head = json.dumps(request(parameters={"binary_data_size": declared})).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = server.ask(f"/v2/models/{NAME}/infer", head + bytes(sent), **headers)
    assert answer.status == 400
    told = f"{declared}; {sent} bytes follow the JSON, and the shape has 64"
    field = "inputs[0].parameters.binary_data_size"
    assert answer.json["errors"] == [{"field": field, "detail": told}]


def test_texts_as_data_take_no_more_memory_than_they_have(server: Server) -> None:
    before = server.peak_bytes
    server.ask(f"/v2/models/{NAME}/infer", request(data=["x" * 400_000, *[""] * 300]))
    assert server.peak_bytes < before + 50e6


def test_nested_data_is_the_same_as_flat(server: Server) -> None:
    pixels = IMAGES[:1]
    flat, nested = (
        server.ask(f"/v2/models/{NAME}/infer", request(data=data)).json
        for data in (pixels.ravel().tolist(), pixels.tolist())
    )
    assert flat == nested
