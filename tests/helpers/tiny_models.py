"""Models of a few bytes: an ONNX graph of one matrix, described and evaluated as real ones are.

Example:

    files = model(seed=1)                    # model.onnx, golden.npz, model.json, evaluation.json
    id = digest(files["model.json"])
"""

import hashlib
import io
import json
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from digits.model import classifier
from tests.helpers.metrics_files import metrics_files

SIZE = (8, 8)


def model(seed: int) -> dict[str, bytes]:
    """The files of a model folder and its evaluation.json, by name."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(64, 10)).astype(np.float32)
    images = random.integers(0, 256, (30, *SIZE), dtype=np.uint8)
    graph = onnx_graph(matrix)
    golden = io.BytesIO()
    np.savez(golden, images=images, logits=classifier.run(classifier.session(graph), images))
    files = {"model.onnx": graph, "golden.npz": golden.getvalue()}
    description = {
        "architecture": {},
        "classes": list("0123456789"),
        "parameters": matrix.size,
        "preprocessing": {
            "size": SIZE,
            "method": "resize",
            "background": 0,
            "normalisation": {"mean": 0.0, "std": 1.0, "where": "in the graph"},
        },
        "files": {name: digest(content) for name, content in files.items()},
    }
    files["model.json"] = json.dumps(description).encode()
    evaluation = metrics_files(range(seed), model=digest(files["model.json"]))["evaluation.json"]
    return files | {"evaluation.json": evaluation}


def onnx_graph(matrix: np.ndarray) -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["rows"]),
            helper.make_node("MatMul", ["rows", "matrix"], ["logits"]),
        ],
        "digits",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    opsets = [helper.make_opsetid("", 17)]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return made.SerializeToString()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def changed(contents: Mapping[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    """A model with another file in it, which its description and its evaluation name."""
    description = json.loads(contents["model.json"])
    description["files"][name] = digest(content)
    described = json.dumps(description).encode()
    evaluation = json.loads(contents["evaluation.json"]) | {"model": digest(described)}
    return dict(contents) | {
        name: content,
        "model.json": described,
        "evaluation.json": json.dumps(evaluation).encode(),
    }


def wrong_golden(contents: Mapping[str, bytes]) -> bytes:
    """A model's golden images, with logits that it does not answer."""
    with np.load(io.BytesIO(contents["golden.npz"])) as found:
        images, logits = found["images"], found["logits"]
    file = io.BytesIO()
    np.savez(file, images=images, logits=np.roll(logits, 1, axis=1))
    return file.getvalue()
