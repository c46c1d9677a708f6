"""Processor time of a sweep whose 1,005 runs are complete: find them, compare them, draw them.

python -m benchmarks.sweep

The repository is this checkout with experiments whose metrics are made up. The baseline, in the
same run: the same command for the five runs of one setting.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks import measure, ui
from digits.core import command_line, errors, files, params
from digits.data import dataset
from ops.sweep import settings
from ops.sweep.__main__ import plan
from ops.tools import git

LEARNING_RATES = [round(0.05 * n, 2) for n in range(1, 21)]
EMAS = [round(0.99 + 0.0009 * n, 4) for n in range(10)]
SEEDS = 5
REPEATS = 7
SWEEPS: Mapping[str, Mapping[str, list[float]]] = {
    "one": {},
    "many": {"train.optimizer.lr": LEARNING_RATES, "train.ema": EMAS},
}


def main() -> None:
    command_line.parser("benchmarks.sweep", __doc__).parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_repository(Path(temporary) / "repository")
        for name in SWEEPS:
            command = partial(sweep, folder, name)
            times = [measure.cpu_seconds(command) for _ in range(REPEATS)]
            results[name] = {"cpu_s": measure.rounded(times, 2)}
            print(f"{name}: {measure.spread(times)} s of processor")
    ratio = median(results["many"]["cpu_s"]) / median(results["one"]["cpu_s"])
    runs = SEEDS * (1 + len(LEARNING_RATES) * len(EMAS))
    measure.save("sweep", {"runs": runs, **results, "ratio": round(ratio, 2)})


def make_repository(folder: Path) -> Path:
    """This checkout with a commit of made-up metrics, and experiments of it for each sweep."""
    ui.make_repository(folder, commits=1, experiments=0)
    ui.run_git(folder, "config", "user.name", "A user")
    ui.run_git(folder, "config", "user.email", "user@example.com")
    for name, grid in SWEEPS.items():
        file = {"seeds": SEEDS, "grid": grid}
        files.write(folder / f"{name}.yaml", yaml.safe_dump(file))
    labels = dataset.load(measure.PREPARED, "test").labels
    maker = ui.Maker(folder, labels, random.Random(0))
    base = ui.run_git(folder, "rev-parse", "HEAD").strip()
    stream = b""
    for name in SWEEPS:
        planned = plan(
            settings.load(folder / f"{name}.yaml", params.read_yaml(folder / "params.yaml"))
        )
        for setting, trials in planned.items():
            lr, ema = setting.params["train"]["optimizer"]["lr"], setting.params["train"]["ema"]
            for seed, trial in enumerate(trials):
                ref = git.experiment_reference(trial.name, base)
                made_up = ui.Setting(lr, ema, seed)
                stream += maker.commit(ref, 1, "made up", made_up, f"from {base}\n")
    ui.fast_import(folder, stream)
    return folder


def sweep(folder: Path, name: str) -> None:
    words = [sys.executable, "-m", "ops.sweep", f"{name}.yaml"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    errors.run(main)
