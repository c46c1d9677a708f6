"""LitServe, as its documentation shows it: python lit_serve.py"""

import base64
import io
import os
from typing import Any

import litserve
import numpy as np
import onnxruntime
from PIL import Image


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"])

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads the types
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(request["image"]))))[None]

    def predict(self, pixels: Any) -> Any:
        return self.session.run(["logits"], {"images": pixels})[0][0]

    def encode_response(self, logits: Any) -> dict[str, object]:
        odds = np.exp(logits - logits.max())
        probabilities = (odds / odds.sum()).tolist()
        return {"predicted": str(int(logits.argmax())), "probabilities": probabilities}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(), accelerator="cpu")
    server.run(port=int(os.environ["PORT"]), generate_client_file=False)
