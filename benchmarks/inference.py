"""Images per second of `digits predict`, against the libraries that it uses.

python -m benchmarks.inference [--only npy png memory ray]

npy: from one .npy file to Parquet, start-up included, against ONNX Runtime alone and against eager
PyTorch on arrays in memory. Both use all cores and their best batch size; PyTorch also runs image
by image. png: from a folder of PNG files, with one worker and with all, with and without start-up.
memory: of the largest process, with ten thousand and with a million images. ray: with two workers
and with one, without start-up. The variants take turns, so that a slow machine slows all of them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image

from benchmarks import measure, unpinned
from digits.core import command_line, errors
from digits.core.arrays import UInt8Array
from digits.core.workers import WORKERS_VARIABLE, count_workers
from digits.data import dataset
from digits.model.network import load_network

MODEL = measure.ROOT / "models" / "digit-classifier"
WEIGHTS = measure.ROOT / "models" / "weights.safetensors"
RUNS = 5
IMAGES = 500_000  # in one run from .npy; enough to make start-up a small part
SAMPLE = 20_000  # images in one run of a library alone
FILES = 10_000
FEW_FILES = 1_000  # the run is mostly start-up; two chunks, so that both workers start
BATCHES = (1, 16, 64, 128, 256, 500, 1000, 2000)

Classify = Callable[[UInt8Array], object]


def main() -> None:
    only = parse_args().only
    unpinned.here()
    results = measure.load("inference")
    results.pop("machine", None)
    with tempfile.TemporaryDirectory() as folder:
        for name in only:
            results[name] = MEASURES[name](Path(folder))
            shutil.rmtree(Path(folder, "out"), ignore_errors=True)
            measure.save("inference", results)


def measure_npy(folder: Path) -> dict[str, Any]:
    file = save_npy(folder, IMAGES)
    sample = some_images(SAMPLE)
    runtime, eager = best(onnxruntime_ways(), sample), best(torch_ways(), sample)
    one_by_one = torch_ways()["batches of 1"]
    ours, alone, torchs, singles = [], [], [], []
    for _ in range(RUNS):
        ours.append(IMAGES / predict_seconds(folder, file))
        alone.append(rate(runtime[1], sample))
        torchs.append(rate(eager[1], sample))
        singles.append(rate(one_by_one, sample[: SAMPLE // 10]))
    share = measure.ratios(ours, alone)
    times = measure.ratios(ours, torchs)
    print(f"from .npy            {measure.spread(ours)} images/s")
    print(f"ONNX Runtime alone   {measure.spread(alone)} images/s, {runtime[0]}")
    print(f"eager torch          {measure.spread(torchs)} images/s, {eager[0]}")
    print(f"image by image       {measure.spread(singles)} images/s")
    print(f"ratios to these      {measure.spread(share)}, {measure.spread(times)}, ", end="")
    print(measure.spread(measure.ratios(ours, singles)))
    return {
        "images": IMAGES,
        "images_per_s": measure.rounded(ours),
        "onnxruntime_images_per_s": measure.rounded(alone),
        "onnxruntime_at": runtime[0],
        "torch_images_per_s": measure.rounded(torchs),
        "torch_at": eager[0],
        "share_of_onnxruntime": share,
        "times_torch": times,
        "torch_one_by_one_images_per_s": measure.rounded(singles),
        "times_torch_one_by_one": measure.ratios(ours, singles),
    }


def measure_png(folder: Path) -> dict[str, Any]:
    scans, few = (save_png(folder, files) for files in (FILES, FEW_FILES))
    workers = count_workers()
    one, every, beyond = [], [], []
    for _ in range(RUNS):
        alone, together = (predict_seconds(folder, scans, workers=n) for n in (1, workers))
        starts = [predict_seconds(folder, few, workers=n) for n in (1, workers)]
        one.append(FILES / alone)
        every.append(FILES / together)
        beyond.append((alone - starts[0]) / (together - starts[1]))
    print(f"from PNG files       {measure.spread(every)} images/s with {workers} workers")
    print(f"                     {measure.spread(one)} images/s with one")
    print(f"without start-up     {measure.spread(beyond)} times as fast as with one")
    return {
        "files": FILES,
        "workers": workers,
        "images_per_s": measure.rounded(every),
        "one_worker_images_per_s": measure.rounded(one),
        "ratio": measure.ratios(every, one),
        "ratio_beyond_start": measure.rounded(beyond, 3),
    }


def measure_memory(folder: Path) -> dict[str, Any]:
    peaks = {}
    for images in (10_000, 1_000_000):
        file = save_npy(folder, images)
        peaks[str(images)] = [
            measure.peak_mb(command(folder, file), measure.ROOT) for _ in range(3)
        ]
        print(f"memory               {measure.spread(peaks[str(images)])} MB at {images:,} images")
    return {"peak_mb": peaks}


def measure_ray(folder: Path) -> dict[str, Any]:
    seconds: dict[int, list[float]] = {1: [], 2: []}
    files = [save_npy(folder, images) for images in (IMAGES, 20_000)]
    for _ in range(RUNS):
        for workers, runs in seconds.items():
            long, short = (
                predict_seconds(folder, file, "--engine", "ray", workers=workers) for file in files
            )
            runs.append(long - short)
    ratio = measure.ratios(seconds[1], seconds[2])
    print(f"Ray                  {measure.spread(ratio)} times as fast with 2 workers as with 1")
    return {
        "images": IMAGES - 20_000,
        "seconds": {str(workers): measure.rounded(runs) for workers, runs in seconds.items()},
        "ratio": ratio,
    }


MEASURES = {
    "npy": measure_npy,
    "png": measure_png,
    "memory": measure_memory,
    "ray": measure_ray,
}


def some_images(n: int) -> UInt8Array:
    images = dataset.load(measure.PREPARED, "test").images
    return np.resize(images, (n, *images.shape[1:]))


def save_npy(folder: Path, n: int) -> Path:
    path = folder / f"{n}.npy"
    if not path.exists():
        np.save(path, some_images(n))
    return path


def save_png(folder: Path, n: int) -> Path:
    path = folder / f"{n}-png"
    path.mkdir()
    for i, image in enumerate(some_images(n)):
        Image.fromarray(image).save(path / f"{i:05}.png")
    return path


def command(folder: Path, source: Path, *words: str) -> list[str]:
    """The command of a run; an earlier output is removed."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    paths = [str(source), str(out / "rows.parquet"), "--model", str(MODEL)]
    return [sys.executable, "-m", "ops.predict", *paths, *words]


def predict_seconds(folder: Path, source: Path, *options: str, workers: int | None = None) -> float:
    words = command(folder, source, *options)
    environment = dict(os.environ)
    if workers:
        environment[WORKERS_VARIABLE] = str(workers)
    return measure.seconds(
        lambda: subprocess.run(
            words, cwd=measure.ROOT, env=environment, check=True, capture_output=True
        )
    )


def onnxruntime_ways() -> dict[str, Classify]:
    """Ways to use all cores: one call at a time with a thread on each, or one call on each."""
    workers = count_workers()
    content = (MODEL / "model.onnx").read_bytes()

    def session(threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    whole, single = session(workers), session(1)

    def by_threads(images: UInt8Array, batch: int) -> None:
        for part in batches(images, batch):
            whole.run(None, {"images": part})

    def by_calls(images: UInt8Array, batch: int) -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda part: single.run(None, {"images": part}), batches(images, batch)))

    ways: dict[str, Classify] = {}
    for batch in BATCHES:
        ways[f"batches of {batch}"] = partial(by_threads, batch=batch)
        ways[f"batches of {batch}, {workers} at once"] = partial(by_calls, batch=batch)
    return ways


def torch_ways() -> dict[str, Classify]:
    network = load_network(WEIGHTS).eval()
    torch.set_num_threads(count_workers())

    def classify(images: UInt8Array, batch: int) -> None:
        with torch.inference_mode():
            for part in batches(images, batch):
                network(torch.from_numpy(part).float())

    return {f"batches of {batch}": partial(classify, batch=batch) for batch in BATCHES}


def batches(images: UInt8Array, size: int) -> list[UInt8Array]:
    return [images[i : i + size] for i in range(0, len(images), size)]


def best(ways: dict[str, Classify], images: UInt8Array) -> tuple[str, Classify]:
    """The fastest way: each is tried once, on a tenth of the images."""
    rates = {name: rate(way, images[: len(images) // 10]) for name, way in ways.items()}
    name = max(rates, key=lambda name: rates[name])
    return name, ways[name]


def rate(classify: Classify, images: UInt8Array) -> float:
    classify(images[:500])  # warm-up
    return len(images) / measure.seconds(lambda: classify(images))


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.inference", __doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=MEASURES,
        default=list(MEASURES),
        help="measure these and keep the other results (all)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
