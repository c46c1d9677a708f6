"""BentoML, as its documentation shows it: bentoml serve bento:Digits"""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnxruntime
from PIL import Image


@bentoml.service
class Digits:
    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"])

    @bentoml.api(route="/predict")
    def predict(self, image: Path, /) -> dict[str, Any]:
        pixels = np.asarray(Image.open(image))
        logits = self.session.run(["logits"], {"images": pixels[None]})[0][0]
        odds = np.exp(logits - logits.max())
        return {
            "predicted": str(int(logits.argmax())),
            "probabilities": (odds / odds.sum()).tolist(),
        }
