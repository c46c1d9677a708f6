"""Time to make the pages of a repository with 300 commits and 200 experiments.

python -m benchmarks.ui [--keep FOLDER]

The repository is this checkout, then commits and experiments with made-up metrics of plausible
size. The site is written with nothing kept, then again; the server answers each kind of page, also
just after a change of the repository. The baseline, in the same run: the same code in a repository
with one commit.
"""

import argparse
import hashlib
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import measure
from digits.core import command_line, errors, files, params
from digits.data import dataset

COMMITS, EXPERIMENTS = 300, 200
STARTED = 1_700_000_000  # seconds since 1970
AGAIN = 5
ASKED = 9  # times for each page
HARD, SOMETIMES = 80, 500  # images that most models get wrong, and that some do
LEARNING_RATES = (0.1, 0.2, 0.3, 0.4, 0.6)
EMAS = (0.99, 0.995, 0.998)
SUBJECTS = ("A longer warm-up", "Less weight decay", "Label smoothing", "Wider layers", "New scans")
PAGES = ("index.html", "pipeline.html", "runs.html", "compare.html", "versions.html", "data.html")


@dataclass(frozen=True)
class Setting:
    lr: float
    ema: float
    seed: int


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.keep or Path(temporary)
        results: dict[str, Any] = {}
        for name, commits, experiments in (("one", 1, 0), ("many", COMMITS, EXPERIMENTS)):
            folder = make_repository(root / name, commits, experiments)
            results[name] = site_seconds(folder) | {"page_s": page_seconds(folder)}
            report(name, results[name])
    ratio = {
        name: round(
            statistics.median(results["many"][name]) / statistics.median(results["one"][name]), 2
        )
        for name in ("site_first_cpu_s", "site_again_cpu_s")
    }
    measure.save("ui", {"commits": COMMITS, "experiments": EXPERIMENTS, **results, "ratio": ratio})


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.ui", __doc__)
    parser.add_argument(
        "--keep", metavar="FOLDER", type=command_line.path, help="make the repositories here"
    )
    return parser.parse_args()


def make_repository(folder: Path, commits: int, experiments: int) -> Path:
    """This checkout's files, then commits and experiments that each have other metrics."""
    folder.mkdir(parents=True)
    listing = ["git", "ls-files"]
    for name in subprocess.check_output(listing, cwd=measure.ROOT, text=True).splitlines():
        if not name.startswith("metrics/plots/") and (measure.ROOT / name).is_file():
            files.write(folder / name, (measure.ROOT / name).read_bytes())
    run_git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "prepared").symlink_to(measure.PREPARED)
    random_numbers = random.Random(0)
    labels = dataset.load(measure.PREPARED, "test").labels
    maker = Maker(folder, labels, random_numbers)
    run_git(folder, "add", "--all")
    run_git(
        folder, *("-c", "user.name=A user", "-c", "user.email=user@example.com"),
        *("commit", "--quiet", "--message", "The code"), GIT_COMMITTER_DATE=f"{STARTED - 1} +0000",
    )  # fmt: skip
    head = run_git(folder, "rev-parse", "HEAD").strip()
    stream = b""
    for i in range(commits):
        setting = Setting(0.4, 0.995, i)
        origin = f"from {head}\n" if i == 0 else ""
        subject = SUBJECTS[i % len(SUBJECTS)]
        stream += maker.commit("refs/heads/main", i, subject, setting, origin)
    fast_import(folder, stream)
    run_git(folder, "reset", "--quiet", "--hard")
    hashes = run_git(folder, "rev-list", "--reverse", "main").split()
    stream = b""
    for i in range(experiments):
        base = hashes[-1 - i // 50]
        setting = Setting(
            LEARNING_RATES[i % len(LEARNING_RATES)],
            EMAS[i // len(LEARNING_RATES) % len(EMAS)],
            i // (len(LEARNING_RATES) * len(EMAS)),
        )
        name = f"lr={setting.lr}_ema={setting.ema}-seed{setting.seed}-{i}"
        ref = f"refs/exps/{base[:2]}/{base[2:]}/{name}"
        message = f"dvc: commit experiment {i}"
        stream += maker.commit(ref, commits + i, message, setting, f"from {base}\n")
    fast_import(folder, stream)
    return folder


class Maker:
    """Makes commits, as `git fast-import` reads them."""

    def __init__(self, folder: Path, labels: np.ndarray, numbers: random.Random) -> None:
        self._folder = folder
        self._labels = labels
        self._numbers = numbers
        self._params = (folder / "params.yaml").read_text(encoding="utf-8")
        self._lock = (folder / "dvc.lock").read_text(encoding="utf-8")
        outs = [
            out for stage in yaml.safe_load(self._lock)["stages"].values() for out in stage["outs"]
        ]
        self._locked = {out["path"]: out["md5"] for out in outs}
        self._training = json.loads((folder / "metrics" / "train.json").read_bytes())
        self._scores = json.loads((folder / "metrics" / "evaluation.json").read_bytes())
        order = list(range(len(labels)))
        numbers.shuffle(order)
        self._hard, self._sometimes = order[:HARD], order[HARD : HARD + SOMETIMES]

    def commit(self, ref: str, number: int, message: str, setting: Setting, origin: str) -> bytes:
        changed = params.override(
            params.read_yaml(self._folder / "params.yaml"),
            {
                "train.optimizer.lr": setting.lr,
                "train.ema": setting.ema,
                "train.seed": setting.seed,
            },
        )
        contents = self._metrics(setting)
        lock = self._lock
        for path, content in contents.items():
            if path in self._locked:
                lock = lock.replace(self._locked[path], hashlib.md5(content).hexdigest())
        contents |= {"params.yaml": yaml.safe_dump(changed).encode(), "dvc.lock": lock.encode()}
        head = (
            f"commit {ref}\ncommitter A user <user@example.com> {STARTED + 3600 * number} +0000\n"
            f"data {len(message)}\n{message}\n{origin}"
        )
        parts = [head.encode()]
        for path, content in contents.items():
            parts += [f"M 100644 inline {path}\ndata {len(content)}\n".encode(), content, b"\n"]
        return b"".join([*parts, b"\n"])

    def _metrics(self, setting: Setting) -> dict[str, bytes]:
        numbers, labels = self._numbers, self._labels
        often = 0.3 + 0.25 * abs(setting.lr - 0.4)
        wrong = sorted(
            [i for i in self._hard if numbers.random() < often]
            + [i for i in self._sometimes if numbers.random() < 0.015]
        )
        rows = []
        by_class = dict.fromkeys(map(str, range(10)), 0)
        for i in wrong:
            label = str(labels[i])
            by_class[label] += 1
            predicted = (int(label) + numbers.randint(1, 9)) % 10
            rows.append(f"{i},{label},{predicted},{numbers.uniform(0.35, 1):.4f}\n")
        support = self._scores["support"]
        robustness = {
            name: round(min(1, share * numbers.uniform(0.98, 1.02)), 4)
            for name, share in self._scores["robustness"].items()
            if name != "mean"
        }
        robustness["mean"] = round(statistics.fmean(robustness.values()), 6)
        scores = {key: value for key, value in self._scores.items() if key != "answers"} | {
            "errors": len(wrong),
            "accuracy": round(1 - len(wrong) / len(labels), 6),
            "recall": {k: round(1 - by_class[k] / n, 6) for k, n in support.items()},
            "nll": round(len(wrong) * numbers.uniform(2.7e-4, 3.3e-4), 6),
            "ece": round(numbers.uniform(0.001, 0.002), 6),
            "robustness": robustness,
            "model": hashlib.sha256(numbers.randbytes(8)).hexdigest(),
        }
        curve = [
            {
                "epoch": epoch,
                "learning_rate": setting.lr * (1 - epoch / 9),
                "train_loss": 0.52 + 0.4 / epoch + numbers.uniform(0, 0.02),
                "val_accuracy": 0.9965 - 0.01 / epoch**2 + numbers.uniform(0, 0.0005),
                "val_nll": 0.012 + 0.03 / epoch**2 + numbers.uniform(0, 0.001),
                "calibration": 2.5,
            }
            for epoch in range(1, 9)
        ]
        training = self._training | {"seed": setting.seed}
        return {
            "metrics/evaluation.json": files.canonical_json(scores).encode(),
            "metrics/errors.csv": "".join(["index,label,predicted,confidence\n", *rows]).encode(),
            "metrics/train.json": files.canonical_json(training).encode(),
            "metrics/plots/training.csv": files.csv_table(curve).encode(),
        }


def fast_import(folder: Path, stream: bytes) -> None:
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=stream, check=True)


def run_git(folder: Path, *words: str, **environment: str) -> str:
    return subprocess.check_output(
        ["git", *words], cwd=folder, env=os.environ | environment, text=True
    )


def site_seconds(folder: Path) -> dict[str, list[float]]:
    """Seconds to write the site with nothing kept, then again, and the processor's seconds."""

    def write() -> None:
        words = [sys.executable, "-m", "ops.ui", "--site", "site"]
        subprocess.run(words, cwd=folder, check=True, capture_output=True)

    walls: list[float] = []
    times: dict[str, list[float]] = {}
    for name, repeats in (("first", 1), ("again", AGAIN)):
        for _ in range(repeats):
            cpu = measure.cpu_seconds(lambda: walls.append(measure.seconds(write)))
            times.setdefault(f"site_{name}_s", []).append(round(walls[-1], 2))
            times.setdefault(f"site_{name}_cpu_s", []).append(round(cpu, 2))
    return times


def page_seconds(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Seconds of each page, asked for again and again, and of the first after a change."""
    key = run_git(folder, "rev-parse", "--short=12", "HEAD").strip()
    paths = (*PAGES, f"runs/{key}.html")
    again: dict[str, list[float]] = {}
    changed: dict[str, list[float]] = {}
    with server(folder) as (port, token):
        for path in paths:
            name = path.replace(key, "COMMIT")
            ask(port, token, path)
            again[name] = [timed(port, token, path) for _ in range(ASKED)]
            for _ in range(AGAIN):
                (folder / "params.yaml").touch()  # the pages are made anew
                changed.setdefault(name, []).append(timed(port, token, path))
    return {"again": again, "after_a_change": changed}


def timed(port: int, token: str, path: str) -> float:
    return round(measure.seconds(lambda: ask(port, token, path)), 4)


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, str]]:
    words = [sys.executable, "-m", "ops.ui", "--port", "0", "--read-only"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        for line in process.stdout:
            if found := re.search(r":(\d+)/\S*token=(\S+)", line):
                yield int(found[1]), found[2]
                return
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def ask(port: int, token: str, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/{path}", headers={"Cookie": f"digits-{port}={token}"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise errors.UserError(f"{path}: {answer.status} {content[:200]!r}")
    return content


def report(name: str, results: Mapping[str, Any]) -> None:
    for when in ("first", "again"):
        wall, cpu = results[f"site_{when}_s"], results[f"site_{when}_cpu_s"]
        print(f"{name}: site {when} {measure.spread(wall)} s, {measure.spread(cpu)} s of processor")
    for when, pages in results["page_s"].items():
        for path, times in pages.items():
            print(f"  {when:<15} {path:<18} {measure.spread(times)} s, at most {max(times):.3f} s")


if __name__ == "__main__":
    errors.run(main)
