"""A scratch copy of the checkout, in which the real `git` and `dvc` run, offline.

    project = Project.scratch(tmp_path / "project")
    project.run("dvc", "exp", "run", "-S", "data.source=uci")    # what it printed; exit code 0
    project.run("python", "-m", "ops.gate", "--base", "main", code=2)
    project.commit("a change")

`python` and `dvc` come from `warm_python`. Where a test is about a kill or about starting, give the
environment `"PATH": warm_python.REAL_PATH`.
"""

import atexit
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import yaml

from digits.core import params
from tests.helpers import warm_python
from tests.helpers.small import ROOT


def copy_checkout(folder: Path) -> None:
    """Copy the checkout's files as they are now, without results, into a new folder."""
    folder.mkdir(parents=True)
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


@cache
def template() -> Path:
    """What `Project.scratch` copies: made once in a process, and removed with it."""
    folder = Path(tempfile.mkdtemp(prefix="scratch-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = Project.scratch(folder / "project", repository=folder / "project")
    made.run("git", "repack", "-a", "-d", "--quiet")
    return made.folder


class Project:
    """A Git repository, and commands to run in it with no more than a user has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder.parent / "home"
        home.mkdir(exist_ok=True)
        self.environment = {
            "PATH": warm_python.path(),
            "HOME": str(home),
            "SHELL": "/bin/sh",
            "DVC_SITE_CACHE_DIR": f"{tempfile.gettempdir()}/dvc",  # else /var/tmp, on a disk
            "DIGITS_COMPUTE_WORKERS": "1",  # the tests share the cores already
        }

    @classmethod
    def scratch(cls, folder: Path, repository: Path | None = None) -> Self:
        """The checkout's files as they are now, without results, in a new repository.

        `repository` is the folder of the repository, if the project is a subfolder of it.
        """
        if repository is None:
            subprocess.run(["cp", "-a", template(), folder], check=True)
            made = cls(folder)
            made.run("git", "update-index", "--refresh")
            return made
        copy_checkout(folder)
        made = cls(folder)
        made.run("git", "init", "--quiet", "--initial-branch=main", str(repository))
        made.identify()
        made.commit("start")
        return made

    def identify(self) -> None:
        self.run("git", "config", "user.name", "A user")
        self.run("git", "config", "user.email", "user@example.com")

    def run(self, *words: str, code: int = 0, **environment: str) -> str:
        found = warm_python.run(words, self.folder, self.environment | environment)
        assert found.returncode == code, found.stdout
        return found.stdout

    def set_params(self, settings: Mapping[str, Any]) -> None:
        """Change params.yaml, as with an editor."""
        path = self.folder / "params.yaml"
        path.write_text(yaml.safe_dump(params.override(params.read_yaml(path), settings)))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def json(self, *words: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run(*words))
        return found

    def lock(self) -> dict[str, object]:
        found: dict[str, object] = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return found

    def forge_lock(self, *paths: str) -> None:
        """Have dvc.lock name files as they are now."""
        lock: Any = self.lock()
        for stage in lock["stages"].values():
            for out in stage["outs"]:
                if out["path"] in paths:
                    out["md5"] = hashlib.md5((self.folder / out["path"]).read_bytes()).hexdigest()
        (self.folder / "dvc.lock").write_text(yaml.safe_dump(lock))
