"""A small project with a model to promote: real Git, real DVC, a folder as remote, no training.

Example:

    ann = Models.create(tmp_path / "ann", server=tmp_path / "server", storage=tmp_path / "storage")
    ann.train(range(30))                     # commits and pushes a model with 30 errors
    ann.registry("promote")                  # digits registry promote
    assert ann.held("production") == "v1.0.0"
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.helpers.metrics_files import metrics_files
from tests.helpers.project import Project
from tests.helpers.small import ROOT

PIPELINE = """\
stages:
  evaluate:
    cmd: 'true'
    deps: [code.py]
    outs:
      - models/digit-classifier
      - metrics/evaluation.json: {cache: false}
      - metrics/errors.csv: {cache: false}
artifacts:
  digit-classifier: {path: models/digit-classifier, type: model}
"""


class Models(Project):
    """A clone, or a repository that has no server."""

    @classmethod
    def create(cls, folder: Path, *, server: Path | None, storage: Path | None) -> "Models":
        folder.mkdir()
        made = cls(folder)
        made.run("git", "init", "--quiet", "--initial-branch=main")
        made.identify()
        shutil.copy(ROOT / "params.yaml", folder)
        shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=lambda *_: {"cache", "tmp"})
        (folder / ".gitignore").write_text("/models/\n")
        (folder / "dvc.yaml").write_text(PIPELINE)
        (folder / "code.py").write_text("")
        (folder / "stages").mkdir()
        (folder / "stages" / "evaluate.py").write_text("")
        if storage:
            made.run("dvc", "remote", "add", "--force", "--default", "storage", str(storage))
        if server:
            made.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(server))
            made.run("git", "remote", "add", "origin", str(server))
        return made

    def clone(self, name: str) -> "Models":
        """Another person's clone of the same server, with nothing pulled."""
        made = Models(self.folder.parent / name)
        self.run("git", "clone", "--quiet", "../server", str(made.folder))
        made.run("git", "config", "user.name", name.title())
        made.run("git", "config", "user.email", f"{name}@example.com")
        return made

    def train(self, wrong: Iterable[int], *, push: bool = True, **changes: Any) -> None:
        """Commit a model that gets some images wrong, as dvc repro and git commit would."""
        wrong = list(wrong)
        model = self.folder / "models" / "digit-classifier"
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir(parents=True)
        (model / "model.json").write_text(json.dumps({"wrong": wrong}))
        (model / "model.onnx").write_bytes(bytes(range(256)) * len(wrong))
        changes["model"] = hashlib.sha256((model / "model.json").read_bytes()).hexdigest()
        for name, content in metrics_files(wrong, **changes).items():
            (self.folder / "metrics").mkdir(exist_ok=True)
            (self.folder / "metrics" / name).write_bytes(content)
        self.run("dvc", "commit", "--quiet", "--force")
        self.commit(f"{len(wrong)} errors")
        if push:
            self.run("dvc", "push", "--quiet")
            self.run("git", "push", "--quiet", "origin", "main")

    def registry(self, *words: str, code: int = 0, **environment: str) -> str:
        """What `digits registry` says."""
        environment |= {"PYTHONPATH": str(ROOT)}
        said = self.run("python", "-m", "ops.registry", *words, code=code, **environment)
        assert "Traceback" not in said
        return said

    def history(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.registry("history", "--json", *words))
        return found

    def held(self, stage: str = "production") -> str | None:
        """What holds a stage, as GTO tells it."""
        shown = self.run("gto", "show", f"digit-classifier#{stage}", "--version")
        return shown.strip() or None

    def tags(self) -> dict[str, str]:
        text = self.run(
            "git", "for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/tags"
        )
        return dict(line.split() for line in text.splitlines())  # type: ignore[misc]

    def tags_on_server(self) -> dict[str, str]:
        text = self.run("git", "ls-remote", "--refs", "--tags", "origin")
        return {
            name.removeprefix("refs/tags/"): found
            for found, name in map(str.split, text.splitlines())
        }
