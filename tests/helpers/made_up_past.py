"""A repository with a made-up past: many commits and tags at once, by one `git fast-import`.

Example:

    past = Past()
    past.commit("start", results(range(30)))              # 30 errors, up to date
    past.version("v1.0.0")                                # an annotated tag of the last commit
    past.assign("production", Action="promote", Verdict="PASS: within all limits")
    past.make(folder)
"""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from digits.core.params import parse_yaml
from tests.helpers.metrics_files import metrics_files
from tests.helpers.small import ROOT

Files = Mapping[str, bytes]
PIPELINE = """\
stages:
  train:
    cmd: 'true'
    deps: [code.py]
    params: [train.optimizer]
    metrics:
      - metrics/train.json: {cache: false}
  evaluate:
    cmd: 'true'
    metrics:
      - metrics/evaluation.json: {cache: false}
      - metrics/errors.csv: {cache: false}
"""
START = 1_750_000_000  # seconds since 1970
DAY = 86_400


def results(wrong: Iterable[int], *, code: str = "", lr: float = 0.4, **changes: Any) -> Files:
    """All files of a project that has evaluated a model and is up to date, by path.

    Parameters
    ----------
    wrong, changes : as for `metrics_files`
    code : the content of the only code file
    lr : the parameter train.optimizer.lr
    """
    params = (ROOT / "params.yaml").read_bytes().replace(b"lr: 0.4 ", b"lr: %g " % lr)
    source = {"code.py": code.encode()}
    trained = {"metrics/train.json": b'{"seed": 0, "lr": %g}' % lr}
    made = {f"metrics/{name}": text for name, text in metrics_files(wrong, **changes).items()}
    optimizer = parse_yaml(params, "params.yaml")["train"]["optimizer"]
    train = {
        "cmd": "true",
        "deps": _entries(source),
        "params": {"params.yaml": {"train.optimizer": optimizer}},
        "outs": _entries(trained),
    }
    evaluate = {"cmd": "true", "outs": _entries(made)}
    lock = {"schema": "2.0", "stages": {"train": train, "evaluate": evaluate}}
    return {
        **made,
        **source,
        **trained,
        "params.yaml": params,
        "dvc.yaml": PIPELINE.encode(),
        "dvc.lock": yaml.safe_dump(lock).encode(),
        "stages/evaluate.py": b"",
    }


def _entries(contents: Files) -> list[dict[str, str | int]]:
    return [
        {"path": path, "hash": "md5", "md5": hashlib.md5(text).hexdigest(), "size": len(text)}
        for path, text in contents.items()
    ]


class Past:
    """Each commit and each tag is a day after the one before it, if `days` does not say more."""

    def __init__(self, start: int = START) -> None:
        self.time = start
        self._stream: list[bytes] = []
        self._commits = 0
        self._tags: list[tuple[str, int]] = []

    def commit(
        self,
        subject: str,
        files: Files | None = None,
        *,
        person: str = "Ann",
        days: float = 1,
    ) -> int:
        """Change files on main, and return the commit's mark for `tag`."""
        self.time += int(days * DAY)
        self._commits += 1
        self._say(f"commit refs/heads/main\nmark :{self._commits}\n{self._signed(person)}")
        self._data(os.fsencode(subject))
        for path, content in (files or {}).items():
            self._say(f"M 100644 inline {path}\n")
            self._data(content)
        return self._commits

    def version(self, name: str, *, mark: int | None = None, **options: Any) -> None:
        self.tag(f"digit-classifier@{name}", f"digit-classifier {name}", mark=mark, **options)

    def assign(
        self,
        stage: str,
        *,
        mark: int | None = None,
        person: str = "Ann",
        days: float = 1,
        **fields: str,
    ) -> None:
        """Assign a commit to a stage; `fields` are the lines of the message, `_` for `-`."""
        lines = [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
        number = 1 + sum("#" in name for name, _ in self._tags)
        text = "\n".join(["digit-classifier", "", *lines, ""])
        name = f"digit-classifier#{stage}#{number}"
        self.tag(name, text, mark=mark, person=person, days=days)

    def tag(
        self,
        name: str,
        text: str,
        *,
        mark: int | None = None,
        person: str = "Ann",
        days: float = 0,
        time: int | None = None,
    ) -> None:
        """An annotated tag; without a time it is later than everything before."""
        self.time += int(days * DAY) + 1
        mark = mark or self._commits
        self._tags.append((name, mark))
        self._say(f"tag {name}\nfrom :{mark}\n{self._signed(person, 'tagger', time)}")
        self._data(os.fsencode(text))

    def light(self, name: str) -> None:
        """A tag that is not annotated."""
        self._say(f"reset refs/tags/{name}\nfrom :{self._commits}\n\n")

    def make(self, folder: Path) -> None:
        def git(*words: str, stdin: bytes = b"") -> None:
            subprocess.run(["git", *words], cwd=folder, input=stdin, check=True)

        folder.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet", "--initial-branch=main")
        git("config", "user.name", "A user")
        git("config", "user.email", "user@example.com")
        git("fast-import", "--quiet", "--date-format=raw", stdin=b"".join(self._stream))
        git("reset", "--quiet", "--hard", "main")

    def _signed(self, person: str, role: str = "committer", time: int | None = None) -> str:
        return f"{role} {person} <person@example.com> {time or self.time} +0000\n"

    def _say(self, text: str) -> None:
        self._stream.append(os.fsencode(text))

    def _data(self, content: bytes) -> None:
        self._stream.append(b"data %d\n%s\n" % (len(content), content))
