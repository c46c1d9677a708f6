import subprocess
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import yaml

from digits.core import files
from ops.tools import pipeline
from ops.tools.pipeline import Stage
from ops.tools.tree import WORKING_TREE, Tree

PIPELINE: dict[str, Any] = {
    "stages": {
        "train": {
            "cmd": "t",
            "deps": ["data", "lib", "t.py"],
            "params": ["lr", "net"],
            "outs": ["weights"],
        },
        "prepare": {"cmd": "p  x", "deps": ["p.py"], "outs": [{"data": {"cache": False}}]},
        "look": {"cmd": "l", "deps": ["data/one.npy"]},
    }
}
PARAMS = {"lr": 0.1, "net": {"channels": [1, 2]}}
FILES = {"p.py": "prepare", "t.py": "train", "lib/a.py": "a", "lib/deep/b.py": "b"}
# As DVC has it for this folder: the MD5 of its list of files.
LIB = "d41c363df81a8f1f3ec2bd9ed31bff0f.dir"


def digest(name: str) -> str:
    return md5(FILES[name].encode()).hexdigest()


LOCK: dict[str, Any] = {
    "stages": {
        "prepare": {
            "cmd": "p x",
            "deps": [{"path": "p.py", "md5": digest("p.py")}],
            "outs": [{"path": "data", "md5": "1.dir"}],
        },
        "train": {
            "cmd": "t",
            "deps": [
                {"path": "data", "md5": "1.dir"},
                {"path": "lib", "md5": LIB},
                {"path": "t.py", "md5": digest("t.py")},
            ],
            "params": {"params.yaml": {"lr": 0.1, "net": {"channels": [1, 2]}}},
            "outs": [{"path": "weights", "md5": "2"}],
        },
    }
}
OTHER = {"stages": LOCK["stages"] | {"train": {"outs": [{"path": "weights", "md5": "3"}]}}}


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")


def git(*words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    words = ("git", *identity, *words)
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def commit(**changes: Any) -> Tree:
    """A commit of the files, with dvc.yaml, dvc.lock and params.yaml."""
    documents = {"dvc.yaml": PIPELINE, "dvc.lock": LOCK, "params.yaml": PARAMS}
    contents = {name: yaml.safe_dump(document) for name, document in documents.items()}
    for name, content in (contents | FILES | changes).items():
        files.write(name, content)
    git("add", ".")
    git("commit", "-q", "--allow-empty", "-m", "x")
    return Tree(git("rev-parse", "HEAD"))


def stages(tree: Tree, base: Tree | None = None) -> dict[str, Stage]:
    return {stage.name: stage for stage in pipeline.read(tree, base)}


def test_stages_come_after_those_that_write_their_inputs() -> None:
    found = stages(commit())
    assert list(found).index("prepare") < list(found).index("train")
    assert found["train"].inputs == {"prepare": ["data"]}
    assert found["look"].inputs == {"prepare": ["data/one.npy"]}


def test_unchanged_stages_are_as_in_the_base_though_no_data_is_here() -> None:
    found = stages(tree := commit(), tree)
    assert found["prepare"].comparison == found["train"].comparison == "same as the base"
    assert found["look"].comparison == "never run"


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({"t.py": "other"}, ["t.py"]),
        ({"lib/deep/b.py": "other"}, ["lib"]),
        ({"lib/new.py": ""}, ["lib"]),
        ({"params.yaml": "{lr: 0.2, net: {channels: [1, 2]}}"}, ["params.yaml: lr"]),
        ({"params.yaml": "{lr: 0.1, net: {channels: [1, 3]}}"}, ["params.yaml: net"]),
    ],
)
def test_a_stage_is_out_of_date_by_what_changed_since_it_ran(
    changes: dict[str, str], since: list[str]
) -> None:
    base = commit()
    for tree in (commit(**changes), WORKING_TREE):
        found = stages(tree, base)
        assert found["train"].comparison == "out of date"
        assert found["train"].changed == since
        assert found["prepare"].comparison == "same as the base"


@pytest.mark.parametrize("path", ["t.py", "lib"])
def test_what_is_gone_is_no_reason_to_call_a_stage_up_to_date(path: str) -> None:
    commit()
    git("rm", "-rq", path)
    git("commit", "-q", "-m", "x")
    for tree in (Tree(git("rev-parse", "HEAD")), WORKING_TREE):
        assert stages(tree)["train"].changed == [path]


def test_what_git_ignores_is_no_part_of_a_folder() -> None:
    commit(**{".gitignore": "__pycache__\n"})
    files.write("lib/__pycache__/a.pyc", "x")
    assert stages(WORKING_TREE)["train"].comparison == "up to date"
    files.write("lib/untracked.py", "x")
    assert stages(WORKING_TREE)["train"].changed == ["lib"]


def test_outputs_are_compared_with_the_bases() -> None:
    other = commit(**{"dvc.lock": yaml.safe_dump(OTHER)})
    none = commit(**{"dvc.lock": "stages: {}"})
    tree = commit()
    assert stages(tree, other)["train"].comparison == "other outputs"
    assert stages(tree, other)["train"].differing == ["weights"]
    assert (
        stages(tree, none)["train"].comparison == stages(tree)["train"].comparison == "up to date"
    )


@pytest.mark.parametrize(
    ("folder", "since"),
    [
        ("own", []),  # under DVC: its pointer says what it is
        ("other", ["other", "params.yaml: data"]),
        ("/elsewhere", ["/elsewhere", "params.yaml: data"]),
    ],
)
def test_a_dependency_may_come_from_the_parameters(folder: str, since: list[str]) -> None:
    stage = {"cmd": "f", "deps": ["${data.folder}", "p.py"], "params": ["data"]}
    entry = {
        "cmd": "f",
        "deps": [{"path": "own", "md5": "4.dir"}, LOCK["stages"]["prepare"]["deps"][0]],
        "params": {"params.yaml": {"data": {"folder": "own"}}},
    }
    documents = {
        "dvc.yaml": {"stages": {"fetch": stage}},
        "dvc.lock": {"stages": {"fetch": entry}},
        "params.yaml": {"data": {"folder": folder}},
        "own.dvc": {"outs": [{"md5": "4.dir", "path": "own"}]},
    }
    tree = commit(**{name: yaml.safe_dump(document) for name, document in documents.items()})
    assert stages(tree)["fetch"].changed == since
