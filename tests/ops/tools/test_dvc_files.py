"""The files that DVC writes, as they should be and broken."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from digits.core.errors import InputError
from ops.tools import dvc_files
from tests.helpers.small import ROOT

MD5 = "0" * 32


def written(document: Any) -> bytes:
    return yaml.safe_dump(document).encode()


def test_this_projects_files_are_read() -> None:
    declared = dvc_files.parse_pipeline((ROOT / "dvc.yaml").read_bytes())
    locked = dvc_files.parse_lock((ROOT / "dvc.lock").read_bytes())
    assert declared.keys() == locked.keys()
    for name, stage in declared.items():
        assert {out.path for out in locked[name].outs} == set(stage.outputs)
        assert all(out.md5 for out in locked[name].outs)


def test_all_forms_of_dvc_yaml_are_read() -> None:
    stage = {
        "cmd": ["one", "two"],
        "outs": ["a", {"b": {"cache": False, "persist": True}, "c": None}],
        "metrics": [{"d": {"cache": False}}],
    }
    (declared,) = dvc_files.parse_pipeline(written({"stages": {"x": stage}})).values()
    assert declared.cmd == "one two"
    cached = {path: options.cache for path, options in declared.outputs.items()}
    assert cached == {"a": True, "b": False, "c": True, "d": False}


def lock(**stage: Any) -> bytes:
    return written({"stages": {"x": {"cmd": "c", "outs": [], **stage}}})


def pipeline(**stage: Any) -> bytes:
    return written({"stages": {"x": {"cmd": "c", **stage}}})


@pytest.mark.parametrize(
    ("parse", "content", "message"),
    [
        (dvc_files.parse_lock, b"", "F holds NoneType; expected a mapping"),
        (dvc_files.parse_lock, b"\xff", "F is not YAML"),
        (dvc_files.parse_lock, b"[" * 100_000, "F is not YAML"),
        (dvc_files.parse_lock, b"a: 2026-99-99", "F is not YAML"),
        (dvc_files.parse_lock, b"a: !!bool x", "F is not YAML"),
        (dvc_files.parse_lock, b"{}", "F: stages is missing"),
        (dvc_files.parse_lock, lock(outs=None), "F: stages.x.outs is None; expected a list"),
        (dvc_files.parse_lock, lock(outs=[{"md5": MD5}]), "F: stages.x.outs.0.path is missing"),
        (dvc_files.parse_lock, lock(outs=[{"path": 1}]), "F: stages.x.outs.0.path is 1; expected"),
        (dvc_files.parse_lock, lock(deps={}), "F: stages.x.deps is {}; expected a list"),
        (dvc_files.parse_lock, lock(params=[]), r"F: stages.x.params is \[\]; expected a section"),
        (dvc_files.parse_lock, lock(cmd=1), "F: stages.x.cmd is 1; expected a valid string"),
        (dvc_files.parse_pipeline, pipeline(cmd=None), "F: stages.x.cmd is None; expected"),
        (dvc_files.parse_pipeline, pipeline(outs=[1]), "F: stages.x.outs is .* expected a section"),
        (dvc_files.parse_pipeline, pipeline(deps=[{}]), "F: stages.x.deps.0 is {}; expected"),
        (dvc_files.parse_pipeline, pipeline(deps=["a\0b"]), "F: stages.x.deps.0 is 'a.x00b'"),
        (dvc_files.parse_pipeline, pipeline(outs=["a\0b"]), "F: stages.x.outs"),
        (dvc_files.parse_pointer, b"outs: []", r"F: outs is \[\]; expected"),
        (dvc_files.parse_pointer, b"outs: [{}]", "F: outs.0.md5 is missing"),
        (dvc_files.parse_run, b"outs: []", "F: cmd is missing"),
        (dvc_files.parse_folder, b"{", "F is not JSON"),
        (dvc_files.parse_folder, b"{}", "F: files is {}; expected a list"),
        (dvc_files.parse_folder, b'[{"md5": "' + MD5.encode() + b'"}]', "files.0.relpath is missi"),
        (dvc_files.parse_folder, b'[{"md5": "../x", "relpath": "a"}]', "files.0.md5 is '../x'"),
    ],
)
def test_each_fault_is_named_with_file_and_key(
    parse: Callable[[bytes, str], object], content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse(content, "F")
    assert str(error.value).startswith("F")


def test_the_list_of_a_folder_is_sorted_as_dvc_does() -> None:
    listed = dvc_files.list_of_files({"b": MD5, "a/c": MD5})
    assert [file["relpath"] for file in json.loads(listed)] == ["a/c", "b"]


def test_the_list_of_a_folder_is_read() -> None:
    entries = [{"md5": MD5, "relpath": "a/b"}]
    assert dvc_files.parse_folder(json.dumps(entries).encode(), "F") == {"a/b": MD5}
