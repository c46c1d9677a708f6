"""Speed of two workers and of two processes, against one.

python -m benchmarks.scaling

The `train` stage runs with two epochs and with one: the difference is the time of an epoch. The
variants take turns, so that a slow machine slows all of them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import measure
from digits.core import command_line, errors

VARIANTS = {"1 worker": (1, 1), "2 workers": (1, 2), "2 processes": (2, 1)}
RUNS = 3


def main() -> None:
    command_line.parser("benchmarks.scaling", __doc__).parse_args()
    epochs: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(RUNS):
        for name, (processes, workers) in VARIANTS.items():
            long, short = (stage_seconds(n, processes, workers) for n in (2, 1))
            epochs[name].append(long - short)
            print(f"{name}: an epoch in {epochs[name][-1]:.1f} s")
    ratios = {
        name: measure.ratios(epochs["1 worker"], values)
        for name, values in epochs.items()
        if name != "1 worker"
    }
    for name, values in ratios.items():
        print(f"{name:<12} {measure.spread(values)} times as fast as one")
    results = {
        "epoch_s": {name: measure.rounded(values, 2) for name, values in epochs.items()},
        "ratio": ratios,
    }
    measure.save("scaling", results)


def stage_seconds(epochs: int, processes: int, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        measure.write_params(Path(folder, "params.yaml"), {"train.epochs": epochs})
        words = [sys.executable, "-m", "ops.launch", "stages.train"]
        words += ["--data", str(measure.PREPARED), "--weights", "weights", "--metrics", "metrics"]
        environment = os.environ | {
            "PYTHONPATH": str(measure.ROOT),
            "DIGITS_COMPUTE_PROCESSES": str(processes),
            "DIGITS_COMPUTE_WORKERS": str(workers),
        }
        words += ["--curve", "curve", "--resume", "resume"]
        return measure.seconds(
            lambda: subprocess.run(
                words, cwd=folder, env=environment, check=True, capture_output=True
            )
        )


if __name__ == "__main__":
    errors.run(main)
