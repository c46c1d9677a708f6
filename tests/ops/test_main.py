"""`digits`, the one command, from any folder of a clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from digits.core import files
from ops import __main__ as digits
from ops import install
from tests.helpers.small import ROOT

pytestmark = pytest.mark.slow(6)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that is a subfolder of a larger repository, with `digits` in its .venv."""
    outer = tmp_path_factory.mktemp("larger")
    folder = outer / "my vision" / "digits"
    shutil.copytree(
        ROOT,
        folder,
        ignore=lambda _, names: set(names) & {".git", ".venv", "data", "models", ".dvc"},
    )
    for words in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "x"],
    ):
        subprocess.run(["git", *words], cwd=outer, check=True)
    python = folder / ".venv" / "bin" / "python"
    files.write(python, f'#!/bin/sh\nexec {sys.executable} "$@"\n')  # with these libraries
    python.chmod(0o755)
    here = Path.cwd()
    os.chdir(folder)
    install.install_command()
    os.chdir(here)
    return folder


def run(clone: Path, *words: str, folder: str = ".", code: int = 0, **environment: str) -> str:
    script = clone / ".venv" / "bin" / "digits"
    found = subprocess.run(
        [script, *words],
        cwd=clone / folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert found.returncode == code, found.stderr
    return found.stdout + found.stderr


def test_alone_it_lists_every_command_with_a_line(clone: Path) -> None:
    lines = run(clone, folder="docs/how-to").splitlines()
    for name, path in digits.commands().items():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert digits.purpose(path) in line
        assert 10 < len(digits.purpose(path)) <= 80


def test_a_command_works_from_a_subfolder_and_takes_paths_from_there(clone: Path) -> None:
    words = ("gate", "--of", "main", "--base", "main", "--out", "verdict.json")
    verdict = run(clone, *words, folder="docs")
    assert verdict.startswith("PASS: no worse than main")
    assert (clone / "docs" / "verdict.json").is_file()
    folder = ("--base", "../metrics", "--rules", "../params.yaml", "--same-evaluator")
    found = run(clone, "gate", "--of", "main", *folder, folder="docs")
    assert "no worse than metrics" in found.partition("\n")[0]


def test_what_does_not_exist_is_named_with_what_is_near(clone: Path) -> None:
    assert "no command 'gat'. Did you mean: digits gate" in run(clone, "gat", code=2)
    assert "no command 'serve'. There is: make serve" in run(clone, "serve", code=2)
    assert "changed: dvc repro train\n" in run(clone, "train", code=2)
    assert "usage: digits gate" in run(clone, "gate", "--nothing", code=2)


def test_where_the_environment_is_not_activated_dvc_and_its_stages_are_found(clone: Path) -> None:
    (clone / "ops" / "found.py").write_text("import shutil; print(shutil.which('dvc'))")
    expected = Path(sys.executable).with_name("dvc")
    assert run(clone, "found", PATH="/usr/bin:/bin").strip() == str(expected)


def test_outside_of_a_clone_it_says_so(clone: Path) -> None:
    assert "is not in a clone of this repository" in run(clone, folder="../..", code=1)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("digits ga", ["gate"]),
        ("digits gate --bas", ["--base", "--base-model"]),
        ("digits registry ", ["promote", "rollback", "history"]),
        ("digits nothing --", []),
    ],
)
def test_names_and_options_are_completed(
    clone: Path, tmp_path: Path, line: str, expected: list[str]
) -> None:
    """As the function that the shell calls asks for it."""
    answer = tmp_path / "answer"
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1"}
    asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    run(clone, **asked)
    found = answer.read_text().split() if answer.exists() else []
    assert [word for word in found if word not in ("-h", "--help")] == expected


def test_bash_completes_with_the_script_that_is_printed(clone: Path) -> None:
    script = """
    eval "$(digits --completion bash)"
    COMP_WORDS=(digits ga) COMP_CWORD=1 COMP_LINE="digits ga" COMP_POINT=9 COMP_TYPE=9
    _python_argcomplete digits
    echo "${COMPREPLY[@]}"
    """
    path = f"{clone}/.venv/bin:{os.environ['PATH']}"
    words = ["bash", "-c", script]
    found = subprocess.check_output(words, cwd=clone, env=os.environ | {"PATH": path}, text=True)
    assert found.split() == ["gate"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_a_script(clone: Path, shell: str) -> None:
    script = run(clone, "--completion", shell)
    assert "digits" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n", "-c", script], check=True)
