"""The endpoints with which benchmarks/server.py compares: uvicorn benchmarks.endpoints:app"""

import io

import numpy as np
import torch
from fastapi import FastAPI, Request
from PIL import Image

from benchmarks.measure import ROOT
from digits.model.network import load_network

app = FastAPI()
network = load_network(ROOT / "models" / "weights.safetensors").eval()


@app.post("/constant")
async def constant(request: Request) -> dict[str, object]:
    """Read the body and always return the same answer."""
    await request.body()
    return {"predicted": "7", "confidence": 0.99}


@app.post("/torch")
async def eager(request: Request) -> dict[str, object]:
    """The simplest server: decode the image, run the network in PyTorch, return the answer."""
    pixels = np.asarray(Image.open(io.BytesIO(await request.body())))
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(pixels)[None].float()).softmax(1)[0]
    return {
        "predicted": str(int(probabilities.argmax())),
        "probabilities": dict(zip("0123456789", probabilities.tolist(), strict=True)),
    }
