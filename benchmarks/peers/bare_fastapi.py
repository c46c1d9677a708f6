"""The simplest server of an ONNX model: uvicorn bare_fastapi:app"""

import io
import os

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from PIL import Image

app = FastAPI()
session = onnxruntime.InferenceSession(os.environ["MODEL"])


@app.post("/predict")
async def predict(request: Request) -> dict[str, object]:
    pixels = np.asarray(Image.open(io.BytesIO(await request.body())))
    logits = session.run(["logits"], {"images": pixels[None]})[0][0]
    odds = np.exp(logits - logits.max())
    probabilities = (odds / odds.sum()).tolist()
    return {"predicted": str(int(logits.argmax())), "probabilities": probabilities}
