"""What benchmarks/server.py compares with: uvicorn benchmarks.endpoints:app"""

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
    """Reads the body, and answers always the same."""
    await request.body()
    return {"predicted": "7", "confidence": 0.99}


@app.post("/torch")
async def eager(request: Request) -> dict[str, object]:
    """What one writes first: decode, run the network, answer."""
    pixels = np.asarray(Image.open(io.BytesIO(await request.body())))
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(pixels)[None].float()).softmax(1)[0]
    return {
        "predicted": str(int(probabilities.argmax())),
        "probabilities": dict(zip("0123456789", probabilities.tolist(), strict=True)),
    }
