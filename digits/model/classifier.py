"""Load a model folder and classify images with it: the only inference path, without torch.

The folder holds `model.onnx`, `golden.npz` (golden images and the logits expected for them) and
`model.json` (architecture, classes, preprocessing, and the sha256 of the other two files). The
sha256 of `model.json` is the model's id.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from digits.core.arrays import Float32Array, UInt8Array
from digits.core.errors import InputError
from digits.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Images in one call: fixed, since rounding may depend on it; few, so that they fit into a cache.
BATCH = 64
TOLERANCE = 1e-4  # as a share of the largest logit; processors and libraries round differently


@dataclass(frozen=True)
class Classifier:
    """A loaded model.

    Parameters
    ----------
    id : sha256 of model.json
    classes : their names, in the order of the logits
    preprocessing : the form of its images
    parameters : the number of its weights
    architecture : the `model` section of params.yaml that it was trained with
    session : ONNX Runtime's
    """

    id: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    parameters: int
    architecture: dict[str, Any]
    session: "InferenceSession"

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a model folder.

        Raises
        ------
        InputError
            If a file is missing, or its sha256 is not the one in `model.json`.
        """
        folder = Path(folder)
        try:
            description = (folder / "model.json").read_bytes()
            model = json.loads(description)
            contents = {name: (folder / name).read_bytes() for name in model["files"]}
            for name, content in contents.items():
                _check_digest(folder / name, content, model["files"][name])
            return cls(
                hashlib.sha256(description).hexdigest(),
                tuple(model["classes"]),
                Preprocessing.parse(
                    model["preprocessing"], f"{folder / 'model.json'}: preprocessing"
                ),
                int(model["parameters"]),
                dict(model["architecture"]),
                session(contents["model.onnx"]),
            )
        except FileNotFoundError as error:
            raise InputError(f"{error.filename} does not exist. Run: dvc repro") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / 'model.json'} describes no model: {error!r}") from None

    def logits(self, images: UInt8Array, workers: int = 1) -> Float32Array:
        """Compute the scores before softmax.

        Parameters
        ----------
        images : uint8 (n, height, width), of the model's size; 0 is background
        workers : threads; the result is the same for any number

        Returns
        -------
        float32 (n, classes)

        Raises
        ------
        InputError
            If the images have another dtype or size.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.preprocessing.size:
            raise InputError(
                f"images are {images.dtype} {images.shape}; expected uint8 (n, "
                f"{', '.join(map(str, self.preprocessing.size))})"
            )
        return run(self.session, images, workers)


def session(model: bytes) -> "InferenceSession":
    """Load an ONNX model; each call runs on one thread."""
    import onnxruntime  # 0.06 s, of which a --help has no need

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model: "InferenceSession", images: UInt8Array, workers: int = 1) -> Float32Array:
    """Compute logits in batches of a fixed size, on several threads; see `Classifier.logits`."""

    def classify(batch: UInt8Array) -> Float32Array:
        logits: Float32Array = model.run(["logits"], {"images": batch})[0]
        return logits

    if len(images) <= BATCH:  # starting a thread takes longer than classifying an image
        return classify(images)
    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    if workers == 1:  # handing each batch to a thread takes 2 % of the time
        return np.concatenate([*map(classify, batches)])
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(classify, batches)))


@dataclass(frozen=True)
class Comparison:
    """How two sets of logits for the same images differ.

    Parameters
    ----------
    differing : images with different predictions
    gap : largest difference of two logits, as a share of the largest logit
    """

    differing: int
    gap: float

    @property
    def agrees(self) -> bool:
        """Whether all predictions are the same and the logits within `TOLERANCE`."""
        return not self.differing and self.gap <= TOLERANCE  # a gap of NaN does not agree


def compare(logits: Float32Array, expected: Float32Array) -> Comparison:
    """Compare two sets of logits, (n, classes) each, for the same images."""
    differing = int((logits.argmax(1) != expected.argmax(1)).sum())
    gap = float(np.abs(logits - expected).max() / np.abs(expected).max())
    return Comparison(differing, gap)


def _check_digest(path: Path, content: bytes, expected: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise InputError(
            f"{path}: sha256 {digest}; model.json says {expected}. Run: dvc repro export"
        )
