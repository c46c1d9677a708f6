"""A repository of runs: commits and DVC experiments with metrics of a few test images; no training.

Example:

    runs = RunHistory.create(tmp_path / "project")
    runs.commit("a change", [1, 2], lr=0.2)              # two of 400 test images are wrong
    runs.experiment("fast", [1], lr=0.4, seed=3)         # from HEAD
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from digits.data import dataset
from digits.data.dataset import Labelled
from tests.helpers.metrics_files import metrics_files
from tests.helpers.project import Project

SIZE = 400  # test images; image i shows i modulo 10
LIMITS = {"errors": 5000, "class_errors": 9000, "ece": 0.1, "nll": 0.1, "robustness": 0.5}
RULES = {
    "max_loss": 300,
    "small_sample": "pass",
    "seeds": [],
    "limits": {"mnist": LIMITS | {"model_bytes": 10**6}},
}


class RunHistory(Project):
    """The repository; `data/prepared` has the test images, which Git ignores."""

    @classmethod
    def create(cls, folder: Path) -> "RunHistory":
        folder.mkdir(parents=True)
        made = cls(folder)
        made.run("git", "init", "--quiet", "--initial-branch=main")
        made.identify()
        made.write(".gitignore", "/data/\n/site/\n/.ui/\n")
        made.write("dvc.yaml", "stages: {evaluate: {cmd: e, outs: [metrics/evaluation.json]}}\n")
        made.write("stages/evaluate.py", "")
        prepared = folder / "data" / "prepared"
        prepared.mkdir(parents=True)
        np.save(prepared / "test-images.npy", test_images().images)
        np.save(prepared / "test-labels.npy", test_images().labels)
        return made

    def write(self, path: str, content: str | bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def write_run(self, wrong: Iterable[int], **params: Any) -> None:
        """Metrics, parameters of `train`, and the dvc.lock that names the metrics."""
        train = {"lr": 0.1, "seed": 0} | params
        self.write("params.yaml", yaml.safe_dump({"train": train, "gate": RULES}))
        wrong = list(wrong)
        model = hashlib.sha256(repr((wrong, train)).encode()).hexdigest()
        files = metrics_files(wrong, SIZE, model=model, test_set=dataset.digest(test_images()))
        files["train.json"] = f'{{"seed": {train["seed"]}, "val_accuracy": 0.9}}'.encode()
        for name, content in files.items():
            self.write(f"metrics/{name}", content)
        losses = "".join(f"{epoch},{1 / epoch}\n" for epoch in (1, 2, 3))
        self.write("metrics/plots/training.csv", f"epoch,train_loss\n{losses}")
        outs = [
            {"path": f"metrics/{name}", "md5": hashlib.md5(content).hexdigest()}
            for name, content in files.items()
        ]
        stage = {"cmd": "e", "deps": [{"path": "code.py", "md5": "0" * 32}], "outs": outs}
        self.write("dvc.lock", yaml.safe_dump({"stages": {"evaluate": stage}}))

    def commit(self, message: Any, wrong: Iterable[int] | None = None, **params: Any) -> str:  # type: ignore[override]
        """Commit a run, or the files as they are; return the commit."""
        if wrong is not None:
            self.write_run(wrong, **params)
        super().commit(message)
        return self.head()

    def experiment(self, name: str, wrong: Iterable[int], **params: Any) -> str:
        """A commit where DVC keeps those of experiments from HEAD; return it."""
        base = self.head()
        made = self.commit(f"dvc: commit experiment {name}", wrong, **params)
        self.run("git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", made)
        self.run("git", "reset", "--quiet", "--hard", base)
        return made

    def head(self) -> str:
        return self.run("git", "rev-parse", "HEAD").strip()


def test_images() -> Labelled:
    labels = np.arange(SIZE, dtype=np.uint8) % 10
    images = np.zeros((SIZE, 28, 28), np.uint8)
    images[np.arange(SIZE), 10, labels + 5] = 255
    return Labelled(images, labels)


test_images.__test__ = False  # type: ignore[attr-defined]
