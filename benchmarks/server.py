"""Latency, throughput and memory of the server, against two simple endpoints.

python -m benchmarks.server

The endpoints use the same framework. One reads the body and returns a constant: no server of this
framework is faster. The other is the simplest server, eager PyTorch in a FastAPI handler. The
server and the endpoints run in two processes, on uvicorn with the same settings, and take turns.
Clients keep their connections open.
"""

import io
import json
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
from PIL import Image

from benchmarks import measure
from digits.core import command_line, errors

RUNS = 5
SECONDS = 4.0  # length of each measurement
CLIENTS = 32
REQUESTS = 100_000  # between the two measurements of memory
MODEL = "models/digit-classifier"
SERVING = (sys.executable, "-m", "serving", "--model", MODEL, "--port", "0")
BARE = (sys.executable, "-m", "uvicorn", "benchmarks.endpoints:app", "--port", "0")


@dataclass(frozen=True)
class Measured:
    """Latencies of the answers in seconds, and the server's processor time for all of them."""

    latencies: list[float]
    cpu_s: float

    @property
    def rate(self) -> float:
        return len(self.latencies) / SECONDS

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.latencies)


@dataclass(frozen=True)
class Server:
    port: int
    process: psutil.Process

    def ask(self, request: bytes, clients: int, seconds: float) -> Measured:
        before = self.process.cpu_times()
        latencies = ask(self.port, request, clients, seconds)
        after = self.process.cpu_times()
        return Measured(latencies, after.user + after.system - before.user - before.system)

    @property
    def megabytes(self) -> float:
        return float(self.process.memory_info().rss / 1e6)


def main() -> None:
    command_line.parser("benchmarks.server", __doc__).parse_args()
    bodies = requests()
    with ExitStack() as stack:
        ours, bare = (stack.enter_context(start(command)) for command in (SERVING, BARE))
        latency, rate, cpu = (defaultdict[str, list[float]](list) for _ in range(3))
        for _ in range(RUNS):
            for name, (body, path) in bodies.items():
                for server, target in ((ours, path), (bare, "/constant"), (bare, "/torch")):
                    if target == "/torch" and name != "image file":
                        continue
                    request = post(target, *body)
                    key = f"{name}, {target if server is bare else 'ours'}"
                    alone = server.ask(request, 1, SECONDS)
                    many = server.ask(request, CLIENTS, SECONDS)
                    latency[key].append(alone.median_ms)
                    rate[key].append(many.rate)
                    cpu[key].append(1000 * many.cpu_s / len(many.latencies))
        memory = grow(ours, post(bodies["image file"][1], *bodies["image file"][0]))
    for key in latency:
        print(
            f"{key:<24} {measure.spread(latency[key])} ms with one client, "
            f"{measure.spread(rate[key])} requests/s, {measure.spread(cpu[key])} ms of a core"
        )
    typical = {key: statistics.median(values) for key, values in rate.items()}
    shares = {n: round(typical[f"{n}, ours"] / typical[f"{n}, /constant"], 3) for n in bodies}
    print(f"share of the constant's throughput: {shares}")
    print(f"memory after 5,000 requests and {REQUESTS:,} more: {memory} MB")
    results = {
        "latency_ms": {key: measure.rounded(values, 4) for key, values in latency.items()},
        "requests_per_s": {key: measure.rounded(values, 4) for key, values in rate.items()},
        "cpu_ms": {key: measure.rounded(values, 4) for key, values in cpu.items()},
        "share_of_constant": shares,
        "memory_mb": memory,
        "clients": CLIENTS,
        "seconds": SECONDS,
    }
    measure.save("server", results)


def requests() -> dict[str, tuple[tuple[bytes, str, dict[str, str]], str]]:
    """Bodies that contain a test image, each with its path: (content, type, headers), path."""
    image = np.load(measure.PREPARED / "test-images.npy")[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    pixels = json.dumps({"images": [image.tolist()]}).encode()
    shape = [1, *image.shape]
    tensor = {"name": "images", "datatype": "UINT8", "shape": shape}
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": image.size}}]})
    length = {"Inference-Header-Content-Length": str(len(header))}
    binary = header.encode() + image.tobytes()
    return {
        "image file": ((file.getvalue(), "image/png", {}), "/predict"),
        "pixels": ((pixels, "application/json", {}), "/predict"),
        "tensor": (
            (binary, "application/octet-stream", length),
            "/v2/models/digit-classifier/infer",
        ),
    }


def post(path: str, body: bytes, kind: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of a request."""
    fields = {"Host": "x", "Content-Type": kind, "Content-Length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def start(command: tuple[str, ...]) -> Iterator[Server]:
    """A server on a free port, which its first lines name."""
    process = subprocess.Popen(
        command, cwd=measure.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        output = ""
        while not (port := re.search(r"running on http://\S+:(\d+)", output)):
            line = process.stderr.readline()
            assert line, output
            output += line
        yield Server(int(port[1]), psutil.Process(process.pid))
    finally:
        process.kill()
        process.wait()


def ask(port: int, request: bytes, clients: int, seconds: float) -> list[float]:
    """Latencies of a request, which each client sends again as soon as it is answered.

    All answers must have status 200 and the same length, so that the end of one is easy to see.
    """
    length, latencies = answer_length(port, request), []
    with selectors.DefaultSelector() as selector:
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(request)
            selector.register(connection, selectors.EVENT_READ, [time.perf_counter(), b""])
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            for key, _ in selector.select():
                key.data[1] += key.fileobj.recv(65536)  # type: ignore[union-attr]
                if len(key.data[1]) < length:
                    continue
                assert len(key.data[1]) == length, key.data[1]
                assert key.data[1].startswith(b"HTTP/1.1 200 "), key.data[1]
                now = time.perf_counter()
                latencies.append(now - key.data[0])
                key.data[:] = [now, b""]
                key.fileobj.sendall(request)  # type: ignore[union-attr]
        for connection in connections:
            connection.close()
    return latencies


def answer_length(port: int, request: bytes) -> int:
    """Bytes of the answer to a request, including its header."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        answer = b""
        while not (header := re.search(rb"content-length: (\d+).*?\r\n\r\n", answer, re.S | re.I)):
            answer += connection.recv(65536)
        return header.end() + int(header[1])


def grow(server: Server, request: bytes) -> list[float]:
    """Memory after 5,000 requests, and after `REQUESTS` more."""
    megabytes = []
    for goal in (5_000, REQUESTS):
        done = 0
        while done < goal:
            done += len(ask(server.port, request, CLIENTS, SECONDS))
        megabytes.append(round(server.megabytes, 1))
    return megabytes


if __name__ == "__main__":
    errors.run(main)
