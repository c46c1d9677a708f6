"""A model folder as something that classifies: the one inference path, without torch.

The folder holds `model.onnx`, `golden.npz` (images with the logits expected) and `model.json`
(architecture, classes, preprocessing, and the sha256 of the other two). The sha256 of `model.json`
is the model's id.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime

from digits.core.arrays import Float32Array, UInt8Array
from digits.core.errors import InputError
from digits.core.workers import CHUNK
from digits.imaging.preprocessing import Preprocessing

TOLERANCE = 1e-4  # of the largest logit's magnitude; processors and libraries round differently


@dataclass(frozen=True)
class Classifier:
    """A loaded model: id, names of its classes, form of its images, number of its weights.

    `architecture` is the `model` section of params.yaml that it was made by.
    """

    id: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    parameters: int
    architecture: dict[str, Any]
    session: onnxruntime.InferenceSession

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a model folder.

        Raises
        ------
        InputError
            If a file is absent, or is not the one that `model.json` names by its digest.
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
        """Scores before softmax.

        Parameters
        ----------
        images : uint8 (n, height, width) of the model's size, 0 is background
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


def session(model: bytes) -> onnxruntime.InferenceSession:
    """An ONNX model, ready to run on one thread a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model: onnxruntime.InferenceSession, images: UInt8Array, workers: int = 1) -> Float32Array:
    """Logits in chunks of a fixed size, on several threads; see `Classifier.logits`."""

    def classify(chunk: UInt8Array) -> Float32Array:
        found: Float32Array = model.run(["logits"], {"images": chunk})[0]
        return found

    if len(images) <= CHUNK:  # to start a thread takes longer than to classify an image
        return classify(images)
    chunks = [images[i : i + CHUNK] for i in range(0, len(images), CHUNK)]
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(classify, chunks)))


def _check_digest(path: Path, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InputError(
            f"{path}: sha256 {found}; model.json says {expected}. Run: dvc repro export"
        )


def compare(found: Float32Array, expected: Float32Array) -> tuple[int, float, bool]:
    """Two answers to the same images, float32 (n, classes) each.

    Returns
    -------
    how many predictions differ, by how much the logits do, as a share of the largest one, and
    whether that is agreement: the same predictions, and logits within `TOLERANCE`
    """
    differing = int((found.argmax(1) != expected.argmax(1)).sum())
    gap = float(np.abs(found - expected).max() / np.abs(expected).max())
    return differing, gap, not differing and gap <= TOLERANCE
