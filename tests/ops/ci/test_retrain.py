"""Retraining without a host, with real Git and DVC; with one: tests/end_to_end."""

from pathlib import Path

import pytest

from digits.core import files
from digits.core.errors import InputError
from ops.ci import retrain
from ops.tools import git
from tests.helpers.model_project import Models

pytestmark = pytest.mark.slow(12)

PIPELINE = """\
stages:
  fetch:
    cmd: mkdir -p data && cp ../newest data/raw
    outs: [data/raw]
  evaluate:
    cmd: mkdir -p metrics && cp data/raw metrics/evaluation.json
    deps: [data/raw]
    metrics:
      - metrics/evaluation.json: {cache: false}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    made = Models.create(tmp_path / "ann", server=tmp_path / "server", storage=tmp_path / "storage")
    (made.folder / "dvc.yaml").write_text(PIPELINE)
    (made.folder / ".gitignore").write_text("/data/raw\n/comparison/\n")
    (tmp_path / "newest").write_text("1")
    made.run("dvc", "repro", "--quiet")
    made.commit("results")
    made.run("git", "push", "--quiet", "origin", "main")
    monkeypatch.chdir(made.folder)
    return made


def test_each_result_is_judged_against_the_branch_that_was_checked_out(
    project: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = []

    def report(module: str, option: str, base: str, *_: str, credentials: bool) -> int:
        bases.append(base)
        files.write("comparison/report.md", "PASS")
        return 0

    monkeypatch.setattr(retrain, "python", report)
    for newest in ("2", "3"):
        (tmp_path / "newest").write_text(newest)
        retrain.retrain(None)
        assert git.run("branch", "--show-current") == "main"
        assert Path("data/raw").read_text() == Path("metrics/evaluation.json").read_text() == "1"
        assert git.run("show", "origin/retrain:metrics/evaluation.json") == newest
        assert git.commit("origin/retrain~1") == git.commit("main")
    assert set(bases) == {"origin/main"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("checkout", "--quiet", "--detach"), r"HEAD is on no branch.* git switch BRANCH"),
        (("checkout", "--quiet", "-b", "retrain"), r"HEAD is on retrain, .* git switch BRANCH"),
    ],
)
def test_without_a_branch_to_compare_with_nothing_runs(
    project: Models, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    git.run(*words)
    (tmp_path / "newest").write_text("2")
    with pytest.raises(InputError, match=message):
        retrain.retrain(None)
    assert Path("data/raw").read_text() == "1"
