"""Export a network to the model folder that is evaluated and served.

The folder holds model.onnx, golden.npz and model.json: see `digits.model.classifier`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from digits.core import files
from digits.core.arrays import Float32Array, UInt8Array
from digits.core.errors import InputError
from digits.core.workers import CHUNK
from digits.data.dataset import Labelled
from digits.imaging.preprocessing import Preprocessing
from digits.model import classifier
from digits.model.guard import DOUBT, GuardedNetwork
from digits.model.network import Dropout, Network

GOLDEN_PER_CLASS = 3
OPSET = 20
IR_VERSION = 10


def to_onnx(network: Network | GuardedNetwork) -> bytes:
    """Convert a network to one ONNX file; the same weights give the same bytes.

    Input `images`: uint8 (n, height, width), pixels as they are stored, without normalisation.
    Output `logits`: float32 (n, classes).

    (torch.onnx.export would take ten seconds, nearly all of them for its imports.)
    """
    graph = _Graph()
    pixels = graph.add("Cast", "images", to=TensorProto.FLOAT)
    if isinstance(network, GuardedNetwork):
        graph.guarded(network, pixels)
    else:
        graph.network(network, pixels)
    graph.nodes[-1].output[0] = "logits"
    shapes = ["n", *network.image_size], ["n", len(network.classes)]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, shapes[0])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shapes[1])
    whole = helper.make_graph(graph.nodes, "digit-classifier", [images], [output], graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(whole, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Graph:
    """An ONNX graph under construction: its nodes and constants so far."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Tensor | list[int]) -> str:
        array = value.detach().numpy() if isinstance(value, Tensor) else np.array(value, np.int64)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weights(self, *tensors: Tensor | None) -> list[str]:
        return [self.constant(tensor) for tensor in tensors if tensor is not None]

    def network(self, network: Network, pixels: str) -> str:
        x = self.add("Sub", pixels, self.constant(network.mean))
        x = self.add("Div", x, self.constant(network.std))
        x = self.add("Unsqueeze", x, self.constant([1]))
        members = [self.layer(member, x) for member in network.members]
        mean = self.add("Mean", *members) if len(members) > 1 else members[0]
        return self.add("Mul", mean, self.constant(network.logit_scale))

    def guarded(self, network: GuardedNetwork, pixels: str) -> str:
        logits = self.network(network.classifier, pixels)
        detected = self.network(network.detector, pixels)
        classes = len(network.classes)
        answer = self.add("ArgMax", logits, axis=1)
        shown = self.add("GatherElements", detected, answer, axis=1)
        none = self.add("Gather", detected, self.constant([classes]), axis=1)
        one, number, *limits = (
            self.constant(torch.tensor(x)) for x in (1.0, float(classes), *DOUBT)
        )
        odds = self.add("Exp", self.add("Sub", shown, none))
        doubt = self.add("Clip", self.add("Reciprocal", self.add("Add", one, odds)), *limits)
        trust, equal = self.add("Sub", one, doubt), self.add("Div", doubt, number)
        mixed = self.add("Add", self.add("Mul", trust, self.add("Softmax", logits)), equal)
        return self.add("Log", mixed)

    def layer(self, layer: nn.Module, x: str) -> str:
        match layer:
            case nn.Sequential():
                for part in layer:
                    x = self.layer(part, x)
                return x
            case nn.Conv2d():
                weights = self.weights(layer.weight, layer.bias)
                return self.add("Conv", x, *weights, pads=[*layer.padding, *layer.padding])
            case nn.BatchNorm2d():
                state = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
                weights = self.weights(*state)
                return self.add("BatchNormalization", x, *weights, epsilon=layer.eps)
            case nn.MaxPool2d() | nn.AvgPool2d():
                kind = "MaxPool" if isinstance(layer, nn.MaxPool2d) else "AveragePool"
                sizes = {"kernel_shape": layer.kernel_size, "strides": layer.stride}
                return self.add(kind, x, **sizes, ceil_mode=int(layer.ceil_mode))
            case nn.Linear():
                return self.add("Gemm", x, *self.weights(layer.weight, layer.bias), transB=1)
            case nn.ReLU():
                return self.add("Relu", x)
            case nn.Flatten():
                return self.add("Flatten", x)
            case Dropout():
                return x
        raise AssertionError(f"no ONNX node for {layer}")


def compare(
    network: Network | GuardedNetwork, model: bytes, images: UInt8Array, workers: int
) -> None:
    """Run torch and ONNX Runtime on the same images, and compare their answers.

    Raises
    ------
    InputError
        If a prediction differs, or a logit differs by more than `classifier.TOLERANCE` of the
        largest one.
    """
    logits = classifier.run(classifier.session(model), images, workers)
    expected = torch_logits(network, images, workers)
    comparison = classifier.compare(logits, expected)
    if not comparison.agrees:
        reason = (
            f"torch and ONNX Runtime disagree on {comparison.differing} of {len(images)} "
            f"predictions; their logits differ by {comparison.gap:.1e} of the largest, expected at "
            f"most {classifier.TOLERANCE:.0e}"
        )
        if comparison.gap <= classifier.TOLERANCE:
            reason += (
                ". There, the network holds two classes to be equally likely: it has learnt too "
                "little. Train it longer, or with another train.optimizer.lr"
            )
        raise InputError(reason)
    print(
        f"torch and ONNX Runtime agree on {len(images)} predictions; their logits differ by at "
        f"most {comparison.gap:.1e} of the largest"
    )


def torch_logits(
    network: Network | GuardedNetwork, images: UInt8Array, threads: int
) -> Float32Array:
    """The network's own logits, float32 (n, classes); of one thread, the same on any processor."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        chunks = torch.split(torch.from_numpy(images), CHUNK)
        logits: Float32Array = torch.cat([network(chunk.float()) for chunk in chunks]).numpy()
    return logits


def preprocessing(network: Network, method: str) -> Preprocessing:
    """Describe how an image becomes the network's input.

    Raises `InputError` if the method is unknown.
    """
    mean, std = (round(value.item(), 6) for value in (network.mean, network.std))
    normalisation = {"mean": mean, "std": std, "where": "in the graph"}
    form = {"size": network.image_size, "method": method, "background": 0}
    return Preprocessing.parse({**form, "normalisation": normalisation}, "preprocessing")


def write_folder(
    folder: Path,
    network: Network | GuardedNetwork,
    model: bytes,
    form: Preprocessing,
    test: Labelled,
) -> None:
    """Write the files of the model folder.

    Parameters
    ----------
    folder : exists
    network : in evaluation mode
    model : from `to_onnx`
    form : from `preprocessing`
    test : the test set, from which the golden images are taken
    """
    golden = np.concatenate(
        [np.flatnonzero(test.labels == k)[:GOLDEN_PER_CLASS] for k in range(len(network.classes))]
    )
    files.write(folder / "model.onnx", model)
    images = test.images[golden]
    logits = torch_logits(network, images, threads=1)  # ONNX Runtime rounds by the processor
    np.savez(folder / "golden.npz", images=images, logits=logits)
    description = {
        "architecture": network.architecture.model_dump(),
        "classes": network.classes,
        "parameters": sum(p.numel() for p in network.parameters()),
        "preprocessing": form.model_dump(),
        "files": {name: files.sha256(folder / name) for name in ("model.onnx", "golden.npz")},
    }
    files.write(folder / "model.json", files.canonical_json(description))
