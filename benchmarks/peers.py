"""The server against others of the field, with the same model file and an image of MNIST's.

python -m benchmarks.peers

Needs wrk, which is the client, and uv, which installs each peer from PyPI into .peers/. The scripts
in benchmarks/peers/ serve the model as the documentation of each peer shows it. All servers run at
once and take turns. LitServe gets the image in JSON, as base64; MLServer gets the pixels in JSON;
the others get the image as PNG. Processor time is that of a server's processes, by the accounts of
the operating system.
"""

import base64
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks import measure, server
from digits.core import command_line, errors
from digits.core.errors import InputError

RUNS = 5
SECONDS = 2  # of each measurement
CLIENTS = (1, 32)
START_S = 120
ENVIRONMENTS = measure.ROOT / ".peers"
SCRIPTS = measure.ROOT / "benchmarks" / "peers"
BASE = ("onnxruntime", "pillow", "numpy")
PACKAGES = {
    "FastAPI": ("fastapi", "uvicorn[standard]"),
    "LitServe": ("litserve",),
    "BentoML": ("bentoml",),
    "MLServer": ("mlserver", "uvloop<0.22"),  # 1.7.1 fails to start with a later uvloop
}
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}  # in milliseconds


@dataclass(frozen=True)
class Peer:
    command: list[str]
    port: int
    path: str
    body: bytes
    content_type: str
    results: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    command_line.parser("benchmarks.peers", __doc__).parse_args()
    for program in ("wrk", "uv"):
        if shutil.which(program) is None:
            raise InputError(f"{program} is not installed")
    for name, packages in PACKAGES.items():
        install(name, packages)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        found = peers(folder)
        running = {name: stack.enter_context(start(each)) for name, each in found.items()}
        for turn in range(RUNS + 1):  # the first is to warm up
            for name, each in found.items():
                for clients in CLIENTS:
                    values = ask(each, running[name], clients, folder)
                    for key, value in values.items() if turn else ():
                        each.results.setdefault(key, []).append(round(value, 4))
    for name, each in found.items():
        print(name, *(f"{key} {measure.spread(each.results[key])}" for key in each.results))
    versions = {name: version(name, packages[0]) for name, packages in PACKAGES.items()}
    measure.save(
        "peers",
        {
            "servers": {name: each.results for name, each in found.items()},
            "versions": versions,
            "seconds": SECONDS,
            "clients": CLIENTS[-1],
        },
    )


def install(name: str, packages: tuple[str, ...]) -> None:
    if not python(name).exists():
        subprocess.run(["uv", "venv", "-q", str(ENVIRONMENTS / name)], check=True)
        command = ["uv", "pip", "install", "-q", "--python", str(python(name)), *packages, *BASE]
        subprocess.run(command, check=True)


def python(name: str) -> Path:
    return ENVIRONMENTS / name / "bin" / "python"


def version(name: str, package: str) -> str:
    program = f"import importlib.metadata as m; print(m.version({package!r}))"
    output = subprocess.run([python(name), "-c", program], check=True, capture_output=True)
    return output.stdout.decode().strip()


def peers(folder: Path) -> dict[str, Peer]:
    """All servers, each with its request; MLServer's settings go to the folder."""
    (png, kind, _), path = server.requests()["image file"]
    text = json.dumps({"image": base64.b64encode(png).decode()}).encode()
    image = np.load(measure.PREPARED / "test-images.npy")[:1]
    tensor = {"name": "images", "shape": image.shape, "datatype": "UINT8"}
    pixels = json.dumps({"inputs": [tensor | {"data": image.ravel().tolist()}]}).encode()
    ports = {"http_port": 7104, "grpc_port": 7105, "metrics_port": 7106}
    settings = ports | {"metrics_dir": str(folder), "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "digit-classifier", "implementation": "ml_server.Digits"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    programs = {name: python(name).parent for name in PACKAGES}
    ours = [sys.executable, "-m", "serving", "--model", server.MODEL, "--port"]
    infer = "/v2/models/digit-classifier/infer"
    return {
        "this server": Peer([*ours, "7100"], 7100, path, png, kind),
        "this server, pixels as JSON": Peer(
            [*ours, "7107"], 7107, infer, pixels, "application/json"
        ),
        "constant": Peer(
            [*server.BARE[:-1], "7108"], 7108, "/constant", png, kind
        ),
        "FastAPI": Peer(
            [f"{programs['FastAPI']}/uvicorn", "bare_fastapi:app", "--port", "7101"],
            7101, "/predict", png, kind,
        ),
        "LitServe": Peer(
            [str(python("LitServe")), "lit_serve.py"],
            7102, "/predict", text, "application/json",
        ),
        "BentoML": Peer(
            [f"{programs['BentoML']}/bentoml", "serve", "bento:Digits", "--port", "7103"],
            7103, "/predict", png, kind,
        ),
        "MLServer": Peer(
            [f"{programs['MLServer']}/mlserver", "start", str(folder)],
            7104, infer, pixels, "application/json",
        ),
    }  # fmt: skip


@contextmanager
def start(peer: Peer) -> Iterator[psutil.Process]:
    """Start a server and wait until it answers."""
    ours = peer.command[0] == sys.executable
    environment = {
        "MODEL": str(measure.ROOT / server.MODEL / "model.onnx"),
        "PORT": str(peer.port),
        "PYTHONPATH": str(measure.ROOT if ours else SCRIPTS),
        "BENTOML_DO_NOT_TRACK": "true",
        "PATH": f"{Path(peer.command[0]).parent}:{os.environ['PATH']}",
    }
    process = subprocess.Popen(
        peer.command,
        cwd=measure.ROOT if ours else SCRIPTS,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    family = psutil.Process(process.pid)
    try:
        request = server.post(peer.path, peer.body, peer.content_type, {})
        deadline = time.monotonic() + START_S
        while not answers(peer.port, request):
            assert time.monotonic() < deadline, peer.command
            time.sleep(0.5)
        yield family
    finally:
        for each in [*family.children(recursive=True), family]:
            each.kill()
        process.wait()


def answers(port: int, request: bytes) -> bool:
    try:
        server.answer_length(port, request)
    except ConnectionError:
        return False
    return True


def ask(peer: Peer, process: psutil.Process, clients: int, folder: Path) -> Mapping[str, float]:
    """Requests per second, latencies and processor time of a request, in ms, by wrk."""
    (folder / "body").write_bytes(peer.body)
    (folder / "wrk.lua").write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{peer.content_type}"\n'
        f'wrk.body = io.open("{folder}/body", "rb"):read("*all")\n'
    )
    url = f"http://127.0.0.1:{peer.port}{peer.path}"
    options = ["-t1", f"-c{clients}", f"-d{SECONDS}s", "--latency", "-s", str(folder / "wrk.lua")]
    before = cpu_s(process)
    output = subprocess.run(["wrk", *options, url], check=True, capture_output=True, text=True)
    used = cpu_s(process) - before
    text = output.stdout
    assert "Non-2xx" not in text, f"{peer.command}\n{text}"
    requests = int(re.findall(r"(\d+) requests in", text)[0])
    latency = {
        percent: float(value) * UNITS[unit]
        for percent, value, unit in re.findall(r"\n +(50|99)% +([\d.]+)(us|ms|s) *\n", text)
    }
    if clients == 1:
        return {"median_ms_alone": latency["50"]}
    return {
        "requests_per_s": float(re.findall(r"Requests/sec: +([\d.]+)", text)[0]),
        "median_ms": latency["50"],
        "p99_ms": latency["99"],
        "cpu_ms": 1000 * used / requests,
    }


def cpu_s(process: psutil.Process) -> float:
    """Processor time of a process and its descendants."""
    times = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
    return float(math.fsum(part for time_ in times for part in (time_.user, time_.system)))


if __name__ == "__main__":
    errors.run(main)
