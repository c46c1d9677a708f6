"""Deployments as a command: of a tagged commit's model, to a folder and to S3."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from digits.core.errors import InputError
from digits.model import self_test
from digits.storage import filesystem, location, model_store
from ops import deploy
from ops.tools.models import Release
from tests.helpers import warm_python
from tests.helpers.s3 import Proxy
from tests.helpers.small import ROOT
from tests.helpers.tiny_models import changed, digest, model, wrong_golden

pytestmark = pytest.mark.slow(40)

ONE, TWO = model(1), model(2)

# Git and DVC are left out; everything from the copy on is real.
WITHOUT_GIT = """
import sys
from pathlib import Path
from digits.core import errors
from ops import deploy

version, folder = int(sys.argv.pop(1)), Path(sys.argv.pop(1))
tag = f"digit-classifier#production#{version}"
deploy.find_release = lambda environment: deploy.Release("c" * 40, tag, f"v1.{version}.0")
deploy.bring_release = lambda release: {path.name: path.read_bytes() for path in folder.iterdir()}
"""
RUN = "errors.run(deploy.main, failure=2)"
KILLED = """
import os, signal
step, left = sys.argv.pop(1), int(sys.argv.pop(1))
replace = os.replace

def replace_and_be_killed(source, target):
    global left
    left -= 1
    if left == 0 and step == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace_and_be_killed
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of models, by version."""
    root = tmp_path_factory.mktemp("models")
    for version in (1, 2, 3):
        folder = root / str(version)
        folder.mkdir()
        for name, content in model(version).items():
            (folder / name).write_bytes(content)
    return root


def start(folder: Path, *words: str | int, code: str = WITHOUT_GIT + RUN) -> subprocess.Popen[str]:
    """The command, for the version that the folder is named after."""
    return subprocess.Popen(
        [warm_python.python(), "-c", code, folder.name, str(folder), *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], code: int) -> str:
    """What it said, on stderr if it failed; its exit code must be `code`."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return err if code else out


def run_here(folder: Path, url: str) -> None:
    """The same, in this process."""
    version = folder.name
    release = Release("c" * 40, f"digit-classifier#production#{version}", f"v1.{version}.0")
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, "find_release", lambda environment: release)
        patch.setattr(deploy, "bring_release", lambda release: contents)
        deploy.deploy(url, "production")


def served(url: str, folder: Path) -> str:
    """The version that a server would load now; it is whole."""
    pointer = model_store.read_pointer(url, "production")
    assert pointer is not None
    model_store.fetch_model(url, pointer.model, folder)
    self_test.check(folder)
    return pointer.version


def test_a_model_that_answers_otherwise_on_the_copy_is_never_pointed_at(
    models: Path, tmp_path: Path
) -> None:
    url = str(tmp_path / "store")
    run_here(models / "1", url)
    bad = tmp_path / "2"
    bad.mkdir()
    for name, content in changed(TWO, "golden.npz", wrong_golden(TWO)).items():
        (bad / name).write_bytes(content)
    with pytest.raises(InputError, match="answers 30 of 30 golden images with another class"):
        run_here(bad, url)
    assert served(url, tmp_path / "copy") == "v1.1.0"


# Killed, and two at once


@pytest.mark.parametrize("step", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 8))  # four files, manifest, pointer, manifest
def test_killed_at_any_write_to_a_folder_it_serves_the_old_until_it_is_run_again(
    models: Path, tmp_path: Path, step: str, number: int
) -> None:
    url = str(tmp_path / "store")
    run_here(models / "1", url)
    killed = start(models / "2", step, number, "--to", url, code=WITHOUT_GIT + KILLED + RUN)
    end(killed, -signal.SIGKILL)
    moved = number == 7 or (number == 6 and step == "after")
    assert served(url, tmp_path / "model") == ("v1.2.0" if moved else "v1.1.0")
    run_here(models / "2", url)
    assert served(url, tmp_path / "model") == "v1.2.0"
    assert not list(tmp_path.rglob("*.partial"))


# To S3, two writes whose conditions are false come before the pointer. After a write is the same as
# before the next one.
@pytest.mark.parametrize(
    ("step", "number"), [*(("before", number) for number in range(1, 10)), ("after", 9)]
)
def test_killed_at_any_write_to_s3_it_serves_the_old_until_it_is_run_again(
    s3_proxy: Proxy, bucket: str, models: Path, tmp_path: Path, step: str, number: int
) -> None:
    run_here(models / "1", bucket)
    left, process = [number], []
    pid = tmp_path / "pid"  # of the command itself, which `warm_python` runs

    def kill(method: str, path: str) -> None:
        left[0] -= method == "PUT"
        if method == "PUT" and left[0] == 0:
            os.kill(int(pid.read_text()), signal.SIGKILL)
            process[0].wait()
            raise ConnectionAbortedError  # before: nothing reaches the server

    setattr(s3_proxy, step, kill)
    code = f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\n{WITHOUT_GIT}{RUN}"
    process.append(start(models / "2", "--to", bucket, code=code))
    end(process[0], -signal.SIGKILL)
    setattr(s3_proxy, step, lambda method, path: None)
    assert served(bucket, tmp_path / "model") == ("v1.2.0" if number == 9 else "v1.1.0")
    run_here(models / "2", bucket)
    assert served(bucket, tmp_path / "model") == "v1.2.0"


def test_of_two_at_once_one_wins_and_the_other_says_so(
    s3_proxy: Proxy, bucket: str, models: Path, tmp_path: Path
) -> None:
    """The first is held right before it moves the pointer, until the second has done so."""
    run_here(models / "1", bucket)
    arrived, go = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("production.json") and not arrived.is_set():
            arrived.set()
            go.wait(300)

    s3_proxy.before = hold
    first = start(models / "2", "--to", bucket)
    assert arrived.wait(300)
    end(start(models / "3", "--to", bucket), 0)
    go.set()
    message = end(first, 2)
    assert "production.json in the meantime, to v1.3.0" in message
    assert served(bucket, tmp_path / "model") == "v1.3.0"
    # And now it is the older one.
    assert "git fetch --tags" in end(start(models / "2", "--to", bucket), 2)


def test_two_of_the_same_at_once_both_end_well(place: str, models: Path, tmp_path: Path) -> None:
    both = [start(models / "1", "--to", place) for _ in range(2)]
    for process in both:
        end(process, 0)
    assert served(place, tmp_path / "model") == "v1.1.0"


# What is served


def test_check_tells_whole_from_damaged_from_out_of_reach(
    s3_proxy: Proxy, bucket: str, models: Path
) -> None:
    assert "production serves nothing: NOT WHOLE" in check(models, bucket, 1)
    run_here(models / "1", bucket)
    assert f"{bucket}: production serves v1.1.0 (digit-classifier#production#1), model" in check(
        models, bucket, 0
    )
    found = json.loads(check(models, bucket, 0, "--json"))
    assert found["whole"] is True
    assert found["pointer"]["model"] == digest(ONE["model.json"])
    path = f"{found['pointer']['model']}/model.onnx"
    filesystem.write(location.find(bucket), path, TWO["model.onnx"])
    assert f"NOT WHOLE: {bucket}/{path} is damaged" in check(models, bucket, 1)
    assert json.loads(check(models, bucket, 1, "--json"))["whole"] is False
    s3_proxy.fail("forbidden")
    assert "forbidden at" in check(models, bucket, 2)
    s3_proxy.heal()
    assert "no bucket nowhere" in check(models, "s3://nowhere", 2)


def test_a_url_that_can_not_be_used_is_an_error(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set((models / "1").iterdir())
    for url in ("s3:/bucket/x", "S3://bucket/x", "s3:bucket", ""):
        assert f"error: {url!r} cannot be used; expected a folder or" in check(models, url, 2)
        assert f"error: {url!r} cannot be used" in end(start(models / "1", "--to", url), 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    said = check(models, "s3://bucket/x", 2)
    assert "error: AWS_ENDPOINT_URL is 'minio:9000'; expected http://HOST:PORT" in said
    assert set((models / "1").iterdir()) == before


def check(models: Path, url: str, code: int, *words: str) -> str:
    process = start(models / "1", "--to", url, "--check", *words)
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, out + err
    return err if code == 2 else out


def test_prune_says_what_it_removed(models: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    for seed in (1, 2, 3):
        run_here(models / str(seed), url)
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (10**9, 10**9))
    assert "--prune and --keep N belong together" in end(
        start(models / "1", "--to", url, "--prune"), 2
    )
    names = json.loads(end(start(models / "1", "--to", url, "--prune", "--keep", 0, "--json"), 0))[
        "removed"
    ]
    assert sorted(names) == sorted(digest(each["model.json"]) for each in (ONE, TWO))
    assert served(url, tmp_path / "model") == "v1.3.0"


# From Git and DVC


class Repository:
    """A repository with a model that DVC has and an evaluation that Git has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.environment = {
            **os.environ,
            "PATH": warm_python.path(),
            "HOME": str(folder.parent),
            "PYTHONPATH": str(ROOT),
        }
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "config", "user.name", "A user")
        self.run("git", "config", "user.email", "user@example.com")
        self.run("dvc", "init", "--quiet")
        for key in ("core.analytics", "core.check_update"):
            self.run("dvc", "config", key, "false")

    def run(self, *words: str, code: int = 0) -> str:
        found = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert found.returncode == code, found.stdout + found.stderr
        return found.stdout if code == 0 else found.stderr

    def commit(self, contents: Mapping[str, bytes], *tags: str) -> None:
        target = self.folder / "models" / "digit-classifier"
        target.mkdir(parents=True, exist_ok=True)
        (self.folder / "metrics").mkdir(exist_ok=True)
        for name, content in contents.items():
            (target / name).write_bytes(content)
        (target / "evaluation.json").rename(self.folder / "metrics" / "evaluation.json")
        self.run("dvc", "add", "--quiet", str(target))
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "a model")
        self.tag(*tags)

    def tag(self, *tags: str, at: str = "HEAD") -> None:
        for tag in tags:
            self.run("git", "tag", "--annotate", "--message=x", tag, at)

    def deploy(self, *words: str, code: int = 0) -> str:
        said = self.run("python", "-m", "ops.deploy", "--to", "store", *words, code=code)
        assert "Traceback" not in said
        return said

    def pointer(self, stage: str = "production") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "store" / f"{stage}.json").read_text())
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "project")
    made.commit(ONE, "digit-classifier@v1.0.0", "digit-classifier#production#1")
    made.commit(TWO, "digit-classifier@v1.10.0")
    return made


def test_what_the_newest_tag_names_is_served_whatever_is_checked_out(
    repository: Repository,
) -> None:
    said = repository.deploy()
    assert "store: production now serves v1.0.0 (digit-classifier#production#1), model" in said
    assert repository.pointer() == {
        "model": digest(ONE["model.json"]),
        "version": "v1.0.0",
        "tag": "digit-classifier#production#1",
    }
    assert "store: production still serves v1.0.0" in repository.deploy()
    repository.tag("digit-classifier#production#2", "digit-classifier#staging#9")
    found = json.loads(repository.deploy("--json"))
    assert found["before"]["version"] == "v1.0.0"
    assert repository.pointer()["version"] == "v1.10.0"
    repository.tag("digit-classifier#production#10", at="digit-classifier@v1.0.0^{}")
    repository.deploy()
    assert repository.pointer()["tag"] == "digit-classifier#production#10"
    assert repository.pointer()["model"] == digest(ONE["model.json"])
    repository.deploy("--stage", "staging")
    assert repository.pointer("staging")["tag"] == "digit-classifier#staging#9"
    assert repository.run("git", "status", "--porcelain") == "?? store/\n"


def test_a_clone_that_lacks_the_newest_tags_does_not_bring_back_the_old(
    repository: Repository,
) -> None:
    repository.tag("digit-classifier#production#2")
    repository.deploy()
    repository.run("git", "tag", "--delete", "digit-classifier#production#2")
    message = repository.deploy(code=2)
    assert (
        "store serves v1.10.0 by digit-classifier#production#2; the newest tag here is" in message
    )
    assert "git fetch --tags" in message
    assert repository.pointer()["version"] == "v1.10.0"


def test_what_is_missing_is_told(repository: Repository) -> None:
    assert "no version is assigned to the stage staging" in repository.deploy(
        "--stage", "staging", code=2
    )
    repository.commit(model(3), "digit-classifier#production#2")
    message = repository.deploy(code=2)
    assert "digit-classifier#production#2 is at" in message
    assert "which has no version tag (digit-classifier@v1.2.0)" in message
    (repository.folder / "metrics" / "evaluation.json").unlink()
    repository.run("git", "commit", "--quiet", "--all", "--message=x")
    repository.tag("digit-classifier@v2.0.0", "digit-classifier#production#3")
    assert "has no metrics/evaluation.json" in repository.deploy(code=2)
    assert not (repository.folder / "store").exists()


def test_only_what_was_evaluated_is_served(repository: Repository) -> None:
    other = model(3) | {"evaluation.json": TWO["evaluation.json"]}
    repository.commit(other, "digit-classifier@v2.0.0", "digit-classifier#production#2")
    message = repository.deploy(code=2)
    assert "models/digit-classifier of v2.0.0" in message
    assert "Only an evaluated model is served" in message
    assert not (repository.folder / "store").exists()


def test_a_model_comes_from_the_remote_or_it_says_to_push(
    repository: Repository, tmp_path: Path
) -> None:
    """The remote that this clone has, even if the commit did not have it yet."""
    repository.run(
        "dvc", "remote", "add", "--force", "--default", "storage", str(tmp_path / "remote")
    )
    cache = repository.folder / ".dvc" / "cache"
    cache.rename(tmp_path / "cache")
    message = repository.deploy(code=2)
    assert "is in neither the cache nor the remote" in message
    assert "On the machine that has it: dvc push" in message
    (tmp_path / "cache").rename(cache)
    # `dvc push --all-commits` passes over commits that had no remote.
    repository.run("git", "checkout", "--quiet", "digit-classifier@v1.0.0", "--", "models")
    repository.run("dvc", "push", "--quiet")
    shutil.rmtree(cache)
    repository.deploy()
    assert repository.pointer()["model"] == digest(ONE["model.json"])


def test_a_damaged_cache_is_not_deployed(repository: Repository) -> None:
    for path in (repository.folder / ".dvc" / "cache").rglob("*"):
        if path.is_file() and path.read_bytes() == ONE["model.onnx"]:
            path.chmod(0o644)
            path.write_bytes(ONE["model.onnx"][:-1] + b"x")
    assert "digits doctor" in repository.deploy(code=2)
    assert not (repository.folder / "store").exists()
