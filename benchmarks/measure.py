"""What the benchmarks share: the machine's description, recipes, results, timing."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from digits.core import files, kernels, params
from digits.data import dataset
from digits.data.dataset import Labelled
from digits.model.network import Architecture, initial_network
from digits.training import loop
from digits.training.calibration import calibrate
from digits.training.loop import Trained
from digits.training.recipe import Recipe, resolve

kernels.pin()  # before the first operation, which is when torch chooses its kernels

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PREPARED = ROOT / "data" / "prepared"  # from `dvc repro fetch prepare`


def machine() -> dict[str, Any]:
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return gpu | {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def save(name: str, results: Mapping[str, Any]) -> None:
    """Write a benchmark's results and a description of the machine."""
    content = files.canonical_json({"machine": machine(), **results})
    files.write(RESULTS / f"{name}.json", content)
    print(f"\nwritten: benchmarks/results/{name}.json")


def load(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return {}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def write_params(path: Path, changes: Mapping[str, Any]) -> None:
    """Write the committed params.yaml with some dotted keys changed."""
    document = params.override(params.read_yaml(ROOT / "params.yaml"), changes)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def configuration(changes: Mapping[str, Any]) -> tuple[Architecture, Recipe]:
    """Architecture and recipe of the committed params.yaml, with some dotted keys changed."""
    document = params.override(params.read_yaml(ROOT / "params.yaml"), changes)
    return Architecture.parse(document["model"]), Recipe.parse(document["train"])


def train(
    changes: Mapping[str, Any], train: Labelled, val: Labelled, workers: int
) -> tuple[Trained, float]:
    """Train and calibrate as the stage does; return the result and the seconds of training."""
    architecture, recipe = configuration(changes)
    classes = dataset.load_source(PREPARED).classes
    network = initial_network(architecture, classes, train.images, recipe.seed)
    started = time.perf_counter()
    trained = loop.train(network, resolve(recipe), train, val, workers)
    elapsed = time.perf_counter() - started
    calibrated = calibrate(trained.network, trained.best.calibration)
    return replace(trained, network=calibrated), elapsed


def peak_mb(command: list[str], folder: Path) -> float:
    """Peak resident memory of a command's largest process.

    Another process starts the command, since the peak covers all children that a process ever had.
    """
    program = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, capture_output=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-c", program, *command]
    output = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes, Linux in kilobytes
    return round(int(output) * unit / 1e6, 1)


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def cpu_seconds(call: Callable[[], object]) -> float:
    """The processor time of the commands that a call runs and waits for."""
    before = os.times()
    call()
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def rounded(values: Iterable[float], digits: int = 1) -> list[float]:
    return [round(value, digits) for value in values]


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """The quotient of each pair."""
    return rounded((a / b for a, b in zip(ours, others, strict=True)), 3)


def add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[0, 1, 2, 3, 4],
        metavar="N",
        help="values of train.seed (0 1 2 3 4)",
    )


def spread(values: list[float]) -> str:
    """Mean and standard deviation, with n."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.5g} ± {deviation:.2g} (n={len(values)})"
