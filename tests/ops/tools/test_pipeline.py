import json
import os
import subprocess
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from digits.core import files
from digits.core.errors import InputError
from ops.tools import disk, pipeline, stage_runs
from ops.tools.pipeline import Stage
from ops.tools.stage_runs import StageRun
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
        ({"t.py": "other"}, ["t.py changed"]),
        ({"lib/deep/b.py": "other"}, ["lib changed: deep/b.py"]),
        ({"lib/new.py": ""}, ["lib changed: new.py"]),
        ({"params.yaml": "{lr: 0.2, net: {channels: [1, 2]}}"}, ["lr: 0.1 -> 0.2"]),
        (
            {"params.yaml": "{lr: 0.1, net: {channels: [1, 3]}}"},
            ["net.channels: 1, 2 -> 1, 3"],
        ),
        ({"params.yaml": "{lr: 0.1, net: {}}"}, ["net.channels: 1, 2 -> none"]),
    ],
)
def test_a_stage_is_out_of_date_by_what_changed_since_it_ran(
    changes: dict[str, str], since: list[str]
) -> None:
    base = commit()
    for tree in (commit(**changes), WORKING_TREE):
        found = stages(tree, base)
        assert found["train"].comparison == "out of date"
        assert [str(reason) for reason in found["train"].reasons] == since
        assert found["prepare"].comparison == "same as the base"


@pytest.mark.parametrize("path", ["t.py", "lib"])
def test_what_is_gone_is_no_reason_to_call_a_stage_up_to_date(path: str) -> None:
    commit()
    git("rm", "-rq", path)
    git("commit", "-q", "-m", "x")
    for tree in (Tree(git("rev-parse", "HEAD")), WORKING_TREE):
        assert stages(tree)["train"].why == f"{path} is missing"


def test_what_git_ignores_is_no_part_of_a_folder() -> None:
    commit(**{".gitignore": "__pycache__\n"})
    files.write("lib/__pycache__/a.pyc", "x")
    assert stages(WORKING_TREE)["train"].comparison == "up to date"
    files.write("lib/untracked.py", "x")
    assert stages(WORKING_TREE)["train"].why == "lib changed: untracked.py"


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
        ("own", ""),  # under DVC: its pointer says what it is
        ("other", "other is a new dependency; data.folder: own -> other"),
        ("/elsewhere", "/elsewhere is a new dependency; data.folder: own -> /elsewhere"),
    ],
)
def test_a_dependency_may_come_from_the_parameters(folder: str, since: str) -> None:
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
    assert stages(tree)["fetch"].why == since


def test_what_no_commit_can_have_is_named_with_the_way_out() -> None:
    stage = {"cmd": "f", "deps": ["../photos", "own"]}
    deps = [{"path": "../photos", "md5": "1.dir"}, {"path": "own", "md5": "2.dir"}]
    documents = {
        "dvc.yaml": {"stages": {"fetch": stage}},
        "dvc.lock": {"stages": {"fetch": {"cmd": "f", "deps": deps}}},
        "own/train.dvc": {"outs": [{"md5": f"{'3' * 32}.dir", "path": "train"}]},
    }
    Path(".dvc").mkdir()  # as of a repository of DVC
    tree = commit(**{name: yaml.safe_dump(document) for name, document in documents.items()})
    assert stages(tree)["fetch"].why == (
        f"../photos {pipeline.OUTSIDE}; own changed: the cache lacks own/train, so first dvc pull"
    )


def test_numbers_that_are_equal_to_dvc_are_no_change() -> None:
    stage = {"cmd": "f", "params": ["rate"]}
    entry = {"cmd": "f", "params": {"params.yaml": {"rate": {"a": 10.0, "b": [1]}}}}
    documents = {
        "dvc.yaml": {"stages": {"fetch": stage}},
        "dvc.lock": {"stages": {"fetch": entry}},
        "params.yaml": {"rate": {"b": [1.0], "a": 10}},
    }
    tree = commit(**{name: yaml.safe_dump(document) for name, document in documents.items()})
    assert stages(tree)["fetch"].state == "up to date"


def test_a_stage_after_one_that_has_to_run_is_not_up_to_date_either() -> None:
    found = stages(commit(**{"p.py": "other"}))
    assert found["prepare"].why == "p.py changed"
    assert found["train"].state == "out of date"
    assert found["train"].why == "prepare has to run first"


def test_a_command_that_changed_is_a_reason_and_spaces_are_not() -> None:
    lock = yaml.safe_dump(LOCK | {"stages": LOCK["stages"] | {"prepare": {"cmd": "other"}}})
    (reason, *_) = stages(commit(**{"dvc.lock": lock}))["prepare"].reasons
    assert (reason.kind, reason.before, reason.now) == ("command", "other", "p  x")


def here() -> dict[str, Stage]:
    return {stage.name: stage for stage in pipeline.read_here()}


@pytest.fixture
def outputs() -> None:
    """A commit with both stages up to date, and their outputs on disk."""
    files.write("data/one.npy", "1")
    files.write("weights", "w")
    lock = json.loads(json.dumps(LOCK))
    entries = lock["stages"]
    entries["prepare"]["outs"][0]["md5"] = entries["train"]["deps"][0]["md5"] = disk.digest("data")
    entries["train"]["outs"][0]["md5"] = disk.digest("weights")
    commit(**{"dvc.lock": yaml.safe_dump(lock)})
    files.write(".dvc/config", "")


@pytest.mark.usefixtures("outputs")
def test_an_output_that_is_missing_or_edited_is_a_reason() -> None:
    assert {name: stage.state for name, stage in here().items()} == {
        "prepare": "up to date",
        "train": "up to date",
        "look": "never run",
    }
    Path("weights").unlink()
    lost = here()["train"]
    assert lost.state == "missing"
    assert lost.why == "weights is missing; the cache lacks it: dvc repro makes it again"
    files.write(".dvc/config", "[core]\nremote = r\n['remote \"r\"']\nurl = /a/folder\n")
    lost = here()["train"]
    assert lost.why.endswith("the cache lacks it: dvc pull, or dvc repro makes it again")
    Path("data/one.npy").write_text("2")
    edited = here()["prepare"]
    assert edited.state == "out of date"
    assert edited.why == "data was changed after the run"
    Path("data/one.npy").unlink()
    Path("data").rmdir()
    assert here()["prepare"].why == "data is missing; Git has it: git checkout data"


@pytest.mark.usefixtures("outputs")
def test_the_cache_has_an_output_that_is_missing() -> None:
    cached = Path(".dvc/cache/files/md5", disk.digest("weights")[:2], disk.digest("weights")[2:])
    files.write(cached, "w")
    Path("weights").unlink()
    assert here()["train"].why == "weights is missing; the cache has it: dvc checkout"


@pytest.mark.usefixtures("outputs")
def test_a_stage_runs_while_a_living_process_of_dvc_writes_its_outputs() -> None:
    def lock(pid: int) -> str:
        writer = {"pid": pid, "cmd": "dvc repro"}
        return json.dumps({"write": {os.path.abspath("weights"): writer}, "read": {}})

    files.write(pipeline.RWLOCK, lock(os.getpid()))
    assert here()["train"].state == "running"
    assert here()["prepare"].state == "up to date"
    with subprocess.Popen(["true"]) as ended:
        pass
    for content in (lock(ended.pid), "{", "[]", '{"write": {"weights": 1}}'):
        files.write(pipeline.RWLOCK, content)
        assert here()["train"].state == "up to date"


def record(name: str, **values: Any) -> None:
    run = StageRun(**{"started": 1e9, "pid": os.getpid(), "seconds": 2.0, **values})
    files.write(stage_runs.FOLDER / "stages" / f"{name}.json", run.model_dump_json())


@pytest.mark.usefixtures("outputs")
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"exit_code": 1}, "its last run ended with exit code 1"),
        ({"exit_code": 130}, "its last run was stopped with Ctrl-C"),
        ({"seconds": None}, "its last run was killed"),  # this process began after it
    ],
)
def test_a_stage_has_failed_until_something_brings_its_outputs_back(
    values: dict[str, Any], why: str
) -> None:
    record("train", **values)
    assert here()["train"].state == "up to date"  # something newer brought them
    Path("weights").unlink()
    assert here()["train"].state == "failed"
    assert here()["train"].why == why
    record("look", **values)
    assert here()["look"].state == "failed"
    record("train", exit_code=0)
    assert here()["train"].state == "missing"


def test_any_name_that_yaml_allows_is_a_stage_or_a_parameter() -> None:
    name = "../<b>\n %2F"
    documents = {
        "dvc.yaml": {"stages": {name: {"cmd": "x", "params": ["<i>"], "outs": ["../../etc"]}}},
        "dvc.lock": {"stages": {name: {"cmd": "x", "params": {"params.yaml": {"<i>": 1}}}}},
        "params.yaml": {"<i>": ["<script>", True]},
    }
    commit(**{path: yaml.safe_dump(document) for path, document in documents.items()})
    record(quote(name, safe=""), exit_code=1)
    run = here()[name].run
    assert run is not None
    assert run.exit_code == 1
    assert here()[name].why == "<i>: 1 -> <script>, True"


def test_stages_that_wait_for_each_other_are_an_error() -> None:
    files.write("dvc.yaml", "stages: {a: {deps: [b], outs: [a]}, b: {deps: [a], outs: [b]}}")
    with pytest.raises(InputError, match="each of a, b needs an output of another one"):
        pipeline.read(WORKING_TREE)


@pytest.mark.usefixtures("outputs")
def test_an_output_elsewhere_is_not_read(tmp_path: Path) -> None:
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    lock["stages"]["train"]["outs"] += [{"path": p, "md5": "1"} for p in ("/", "../x", "a/../..")]
    files.write("dvc.lock", yaml.safe_dump(lock))
    assert here()["train"].state == "up to date"
