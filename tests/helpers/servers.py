"""Servers in processes of their own, started as a person would, and what is asked of them.

Example:

    with serve(model_folder, tmp_path, "--queue", "1") as server:     # python -m serving
        answer = server.ask("/predict", image_file(pixels))
        assert answer.status == 200
"""

import http.client
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvicorn
from PIL import Image
from starlette.types import ASGIApp

from serving.http_protocol import HttpProtocol
from tests.helpers import warm_python
from tests.helpers.small import ROOT
from tests.helpers.tiny_models import model
from tests.helpers.wait import until

DEADLINE_S = 60
SERVING = (sys.executable, "-m", "serving")  # for tests of memory, of signals and of starting


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=DEADLINE_S)

    def ask(self, path: str, body: Any = None, kind: str | None = None, **headers: str) -> Answer:
        """GET, or POST a body; a mapping goes as JSON."""
        connection = self.connect()
        if isinstance(body, Mapping):
            body, kind = json.dumps(body), "application/json"
        try:
            given = headers | ({"Content-Type": kind} if kind else {})
            connection.request("GET" if body is None else "POST", path, body, given)
            found = connection.getresponse()
            return Answer(found.status, found.headers, found.read())
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        lines = self.ask("/metrics").body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextmanager
def serve(
    source: str | Path,
    folder: Path,
    *words: str,
    command: Sequence[str] = (),
    **environment: str,
) -> Iterator[Server]:
    """`python -m serving` on a free port; what it says goes to a file in the folder."""
    log = folder / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(command or (warm_python.python(), "-m", "serving")),
                "--model",
                str(source),
                "--port",
                "0",
                *words,
            ],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
    try:

        def url() -> str | None:
            assert process.poll() is None, log.read_text()
            found = re.search(r"running on (http://\S+)", log.read_text())
            return found and found[1]

        yield Server(until(url), process, log)
    finally:
        process.kill()
        process.wait()


@contextmanager
def serve_here(app: ASGIApp, **settings: Any) -> Iterator[tuple[str, int]]:
    """An application on a free port of this process, so that what a test patches holds for it."""
    config = uvicorn.Config(
        app,
        port=0,
        loop="uvloop",
        http=HttpProtocol,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
        **settings,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join()


def write_model(folder: Path, seed: int = 1) -> Path:
    """A model folder of a few bytes; it takes images of 8 x 8 pixels."""
    folder.mkdir(parents=True)
    for name, content in model(seed).items():
        (folder / name).write_bytes(content)
    return folder


def image_file(pixels: np.ndarray, kind: str = "PNG", mode: str = "", **options: Any) -> bytes:
    """An image's file; `mode` is one of Pillow's."""
    file, image = io.BytesIO(), Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def form(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """A form with files in a field `image`; its body and its content type."""
    parts = [
        b'--frontier\r\nContent-Disposition: form-data; name="image"; filename="%b"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%b\r\n" % (name.encode(), content)
        for name, content in files.items()
    ]
    return b"".join(parts) + b"--frontier--\r\n", "multipart/form-data; boundary=frontier"
