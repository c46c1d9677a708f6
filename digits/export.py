"""From weights to the folder that is evaluated and served: model.onnx, golden.npz, model.json."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from digits import classifier, files
from digits.classifier import Floats
from digits.compute import CHUNK
from digits.data import Labelled
from digits.errors import InputError
from digits.model import Network
from digits.preprocessing import Preprocessing

GOLDEN_PER_CLASS = 3


class _FromPixels(nn.Module):
    """The graph's input is the image as it is stored: whoever runs it has nothing to prepare."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.float())
        return logits


def to_onnx(network: Network) -> bytes:
    """The network as one ONNX file; the same weights give the same bytes in any folder.

    Input `images`: uint8 (n, height, width). Output `logits`: float32 (n, classes).
    """
    example = torch.zeros((2, *network.image_size), dtype=torch.uint8)
    program = torch.onnx.export(
        _FromPixels(network).eval(),
        (example,),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: torch.export.Dim("n")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # with dynamo=True
    model = program.model_proto
    _strip(model.graph)  # stack traces: they tell the folder that the file was made in
    for function in model.functions:
        _strip(function)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _strip(graph: Any) -> None:
    for part in (graph, *graph.node, *graph.value_info, *getattr(graph, "initializer", ())):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def compare(network: Network, model: bytes, images: npt.NDArray[np.uint8], workers: int) -> Floats:
    """Run torch and ONNX Runtime on the same images; the logits of the latter.

    Raises
    ------
    InputError
        If a prediction differs, or a logit by more than `classifier.TOLERANCE` of the largest one.
    """
    found = classifier.run(classifier.session(model), images, workers)
    torch.set_num_threads(workers)
    with torch.inference_mode():
        chunks = torch.split(torch.from_numpy(images), CHUNK)
        expected = torch.cat([network(chunk.float()) for chunk in chunks]).numpy()
    differing, gap, agree = classifier.compare(found, expected)
    if not agree:
        raise InputError(
            f"torch and ONNX Runtime disagree on {differing} of {len(images)} predictions; their "
            f"logits differ by {gap:.1e} of the largest, expected at most "
            f"{classifier.TOLERANCE:.0e}"
        )
    print(f"torch and ONNX Runtime agree on {len(images)} predictions, logits within {gap:.1e}")
    return found


def preprocessing(network: Network, method: str) -> Preprocessing:
    """How an image becomes the network's input; raises `InputError` on an unknown method."""
    normalisation = {"mean": network.mean.item(), "std": network.std.item()}
    return Preprocessing.parse(
        {
            "size": network.image_size,
            "method": method,
            "background": 0,
            "normalisation": {
                **{name: round(value, 6) for name, value in normalisation.items()},
                "where": "in the graph",
            },
        },
        "preprocessing",
    )


def write_folder(
    folder: Path,
    network: Network,
    model: bytes,
    form: Preprocessing,
    test: Labelled,
    logits: Floats,
) -> None:
    """Write the model folder; `digits.classifier` says what is in it."""
    golden = np.concatenate(
        [np.flatnonzero(test.labels == k)[:GOLDEN_PER_CLASS] for k in range(len(network.classes))]
    )
    files.write(folder / "model.onnx", model)
    np.savez(folder / "golden.npz", images=test.images[golden], logits=logits[golden])
    description = {
        "architecture": network.architecture.model_dump(),
        "classes": network.classes,
        "parameters": sum(p.numel() for p in network.parameters()),
        "preprocessing": form.model_dump(),
        "files": {name: files.sha256(folder / name) for name in ("model.onnx", "golden.npz")},
    }
    files.write(folder / "model.json", files.canonical_json(description))
