"""Metrics folders that are broken in any way: never a pass, never a traceback, always the place."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings

from digits.core.errors import InputError
from ops.tools import revisions
from tests.helpers import broken_metrics, warm_python
from tests.helpers.broken_metrics import ENTRIES, Fault, broken_folders, damage, example
from tests.helpers.metrics_files import metrics_files
from tests.helpers.small import ROOT


def write(folder: Path, wrong: range = range(100, 130)) -> None:
    folder.mkdir(parents=True)
    for name, content in metrics_files(wrong).items():
        (folder / name).write_bytes(content)


@settings(max_examples=200)
@given(broken_folders())
def test_a_broken_folder_is_refused_by_file_and_field(fault: Fault) -> None:
    with example(fault) as folders:
        assert broken_metrics.complaint(fault, *folders) is None


@settings(max_examples=100)
@given(damage())
def test_damaged_bytes_are_refused_or_change_nothing_that_must_add_up(fault: Fault) -> None:
    with example(fault) as folders:
        assert broken_metrics.unsound(fault, *folders) is None


def test_sound_folders_pass() -> None:
    with example(Fault("base", "errors.csv", "", "sound", lambda path: None)) as folders:
        assert broken_metrics.verdict(*folders)[0] == "pass"


@pytest.mark.parametrize("how", [*ENTRIES, "a value", "a column"])
def test_the_command_says_so_and_ends_with_2(tmp_path: Path, how: str) -> None:
    for name in ("base", "candidate"):
        write(tmp_path / name)
    path = tmp_path / "candidate" / "errors.csv"
    if how in ENTRIES:
        ENTRIES[how](path)
    elif how == "a value":
        path = path.with_name("evaluation.json")
        path.write_bytes(path.read_bytes().replace(b'"errors": 30', b'"errors": 1e400'))
    else:
        path.write_bytes(path.read_bytes().replace(b",0.9000", b",9e400"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    words = ["--base", "base", "--metrics", "candidate", "--rules", "params.yaml"]
    found = subprocess.run(
        [warm_python.python(), "-m", "ops.gate", *words, "--same-evaluator"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2, found.stdout
    assert found.stderr.startswith(f"error: candidate/{path.name}")
    assert "Traceback" not in found.stderr


def test_a_seed_without_its_evaluation_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "metrics")
    write(tmp_path / "metrics" / "seed-1")
    assert len(revisions.runs_in_folder(tmp_path / "metrics")) == 2
    (tmp_path / "metrics" / "seed-1" / "evaluation.json").unlink()
    with pytest.raises(InputError, match=r"seed-1/evaluation\.json is missing"):
        revisions.runs_in_folder(tmp_path / "metrics")


def test_a_folder_of_another_kind_is_no_run(tmp_path: Path) -> None:
    write(tmp_path / "metrics")
    (tmp_path / "metrics" / "plots").mkdir()
    (tmp_path / "metrics" / "plots" / "recall.csv").touch()
    assert len(revisions.runs_in_folder(tmp_path / "metrics")) == 1


def test_a_link_to_a_seed_is_refused_since_git_would_not_follow_it(tmp_path: Path) -> None:
    write(tmp_path / "metrics")
    write(tmp_path / "elsewhere")
    (tmp_path / "metrics" / "seed-1").symlink_to("../elsewhere")
    with pytest.raises(InputError, match="seed-1 is a symbolic link; expected a folder"):
        revisions.runs_in_folder(tmp_path / "metrics")


def test_a_file_that_has_become_a_link_since_it_was_looked_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"{}")
    (tmp_path / "link").symlink_to("file")
    monkeypatch.setattr(os, "lstat", os.stat)
    assert revisions.read_file(tmp_path / "file") == b"{}"
    with pytest.raises(InputError, match="link can't be read: Too many levels of symbolic links"):
        revisions.read_file(tmp_path / "link")


@pytest.mark.parametrize("changed", ["evaluation.json", "errors.csv", "train.json"])
@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_changes_while_the_folder_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, replaced: bool
) -> None:
    """Another program writes the same number of errors: the two files would fit each other."""
    folder = tmp_path / "metrics"
    write(folder)
    read = revisions.read_file
    new = metrics_files(range(200, 230)) | {"train.json": b'{"seed": 1}'}

    def read_and_change(path: Path) -> bytes:
        content = read(path)
        target = folder / changed
        if replaced:
            (folder / "new").write_bytes(new[changed])
            os.replace(folder / "new", target)
        else:
            target.write_bytes(new[changed])
        return content

    monkeypatch.setattr(revisions, "read_file", read_and_change)
    with pytest.raises(InputError, match=rf"metrics/{changed} changed while it was read"):
        revisions.runs_in_folder(folder)


@pytest.mark.parametrize(
    "lock",
    [
        *("{}", "stages:", "stages: 3", "stages: [a]", "stages: {a: 1}", "stages: {a: {outs: 1}}"),
        *(f"stages: {{a: {{outs: [{out}]}}}}" for out in ("x", "{path: x}", "{md5: x}")),
    ],
)
def test_a_lock_without_digests_is_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("metrics"))
    Path("dvc.lock").write_text(lock)
    with pytest.raises(InputError, match=r"dvc\.lock.* (dvc repro --force|Run: dvc repro)$"):
        revisions.runs_here()


def test_the_bytes_that_are_judged_are_those_that_were_compared_with_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("metrics"))
    outs = [
        f"{{path: metrics/{name}, md5: {hashlib.md5(content).hexdigest()}}}"
        for name, content in metrics_files(range(100, 130)).items()
    ]
    Path("dvc.lock").write_text(f"stages: {{evaluate: {{outs: [{', '.join(outs)}]}}}}")
    opened = []
    read = revisions.read_file

    def counting(path: Path) -> bytes:
        opened.append(path.name)
        return read(path)

    monkeypatch.setattr(revisions, "read_file", counting)
    assert revisions.runs_here()[0].scores.errors == 30
    assert sorted(opened) == ["errors.csv", "evaluation.json"]
    Path("metrics/errors.csv").write_bytes(metrics_files(range(200, 230))["errors.csv"])
    with pytest.raises(
        InputError, match=r"metrics/errors\.csv is not the file that dvc\.lock names"
    ):
        revisions.runs_here()
