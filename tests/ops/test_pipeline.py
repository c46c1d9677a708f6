from hashlib import md5
from typing import Any

import pytest

from ops import pipeline
from ops.pipeline import Stage

PIPELINE: dict[str, Any] = {
    "stages": {
        "train": {"cmd": "t", "deps": ["data", "t.py"], "params": ["lr"], "outs": ["weights"]},
        "prepare": {"cmd": "p  x", "deps": ["p.py"], "outs": [{"data": {"cache": False}}]},
        "look": {"cmd": "l", "deps": ["data/one.npy"]},
    }
}
FILES = {"p.py": b"prepare", "t.py": b"train"}


def digest(name: str) -> str:
    return md5(FILES[name]).hexdigest()


LOCK: dict[str, Any] = {
    "stages": {
        "prepare": {
            "cmd": "p x",
            "deps": [{"path": "p.py", "md5": digest("p.py")}],
            "outs": [{"path": "data", "md5": "1.dir"}],
        },
        "train": {
            "cmd": "t",
            "deps": [{"path": "data", "md5": "1.dir"}, {"path": "t.py", "md5": digest("t.py")}],
            "params": {"params.yaml": {"lr": 0.1}},
            "outs": [{"path": "weights", "md5": "2"}],
        },
    }
}
OTHER = {"stages": LOCK["stages"] | {"train": {"outs": [{"path": "weights", "md5": "3"}]}}}


def stages(
    lock: dict[str, Any] = LOCK,
    lr: float = 0.1,
    base: dict[str, Any] = LOCK,
    files: dict[str, bytes] = FILES,
) -> dict[str, Stage]:
    found = pipeline.stages(PIPELINE, lock, {"lr": lr}, base, files.get)
    return {stage.name: stage for stage in found}


def test_stages_stand_after_those_that_they_take_from() -> None:
    found = stages()
    assert list(found).index("prepare") < list(found).index("train")
    assert found["train"].takes == {"prepare": ["data"]}
    assert found["look"].takes == {"prepare": ["data/one.npy"]}


def test_unchanged_stages_are_as_in_the_base_though_no_data_is_here() -> None:
    found = stages()
    assert found["prepare"].standing == found["train"].standing == "same as the base"
    assert found["look"].standing == "never run"


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({"files": FILES | {"t.py": b"other"}}, ["t.py"]),
        ({"files": {"p.py": b"prepare"}}, ["t.py"]),
        ({"lr": 0.2}, ["params.yaml: lr"]),
    ],
)
def test_a_stage_is_out_of_date_by_what_changed_since_it_ran(
    changes: dict[str, Any], since: list[str]
) -> None:
    assert stages(**changes)["train"].standing == "out of date"
    assert stages(**changes)["train"].since == since
    assert stages(**changes)["prepare"].standing == "same as the base"


def test_outputs_are_compared_with_the_bases() -> None:
    assert stages(base=OTHER)["train"].standing == "other outputs"
    assert stages(base=OTHER)["train"].other == ["weights"]
    assert stages(base={})["train"].standing == "up to date"


def test_a_dependency_may_come_from_the_parameters() -> None:
    stage = {"cmd": "f", "deps": ["${data.folder}", "p.py"], "params": ["data"]}
    entry = {
        "cmd": "f",
        "deps": [{"path": "own", "md5": "4.dir"}, LOCK["stages"]["prepare"]["deps"][0]],
        "params": {"params.yaml": {"data": {"folder": "own"}}},
    }
    pipe, lock = {"stages": {"fetch": stage}}, {"stages": {"fetch": entry}}

    def since(folder: str) -> list[str]:
        params = {"data": {"folder": folder}}
        return pipeline.stages(pipe, lock, params, {}, FILES.get)[0].since

    assert since("own") == []
    assert since("other") == ["other", "params.yaml: data"]
