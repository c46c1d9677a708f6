"""What the pages know of commits and experiments, from a real repository."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.gate.arguments import Question
from ops.gate.decision import decide
from ops.tools import git
from ops.ui.facts import history
from ops.ui.facts.history import Run
from ops.ui.project import Project
from tests.helpers.run_history import RunHistory

MANY = range(100, 180)


class Repository(RunHistory):
    """Its runs by name or message, read anew."""

    moments = 0

    def read(self) -> dict[str, Run]:
        self.moments += 1
        history.runs_at.cache_clear()
        runs = history.runs(Project(f"{self.folder} {self.moments}"))
        return {run.name if run.is_experiment else run.subject: run for run in runs}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with pytest.MonkeyPatch.context() as patch:
        made = Repository.create(tmp_path_factory.mktemp("history") / "project")
        assert isinstance(made, Repository)
        patch.chdir(made.folder)
        made.commit("first", [1, 2, 3])
        made.commit("second", [2, 3, 4], lr=0.2)
        made.write("metrics/evaluation.json", '{"accuracy": ')
        made.commit("cut off")
        made.write_run([2, 3])
        made.write("metrics/train.json", "{}")  # as before there were seeds
        made.commit("old form")
        made.write_run([3])
        made.write("params.yaml", "train: [")
        made.commit("no parameters")
        made.commit("last", [2, 3])
        made.write("README.md", "no run")
        made.commit("not a run")
        made.experiment("worse", MANY, lr=0.9)
        made.experiment("same", [2, 5], lr=0.3)
        yield made


def test_a_run_is_a_commit_that_changed_the_metrics_or_an_experiment(
    repository: Repository,
) -> None:
    runs = repository.read()
    assert set(runs) == {
        *("first", "second", "cut off", "old form", "no parameters", "last"),
        *("worse", "same"),
    }
    assert runs["second"].base == runs["first"].commit
    assert runs["second"].results.figures["errors"] == 3
    assert set(runs["second"].results.errors) == {2, 3, 4}
    assert runs["second"].verdict.params == {"train.lr": [0.1, 0.2]}
    assert runs["worse"].base == repository.head() != runs["last"].commit
    assert runs["worse"].base_run == runs["last"].commit
    assert [row["train_loss"] for row in runs["last"].results.curve] == [
        1,
        0.5,
        pytest.approx(1 / 3),
    ]


def test_the_verdict_is_the_gates(repository: Repository) -> None:
    runs = repository.read()
    for name in ("worse", "same", "second"):
        run = runs[name]
        assert run.base
        decision = decide(Question(run.base[:9], (run.name,)))
        verdict = runs[name].verdict
        assert (verdict.word, verdict.explanation) == (decision.verdict, decision.explanation)
    assert [runs[name].verdict.word for name in ("worse", "same")] == ["blocked", "pass"]


def test_broken_metrics_are_a_run_that_says_so(repository: Repository) -> None:
    runs = repository.read()
    assert "evaluation.json is not JSON" in runs["cut off"].results.fault
    assert runs["cut off"].verdict.word == "none"
    assert "seed is missing" in runs["old form"].results.fault
    assert runs["old form"].results.figures["errors"] == 2
    assert runs["no parameters"].results.params == {}
    assert runs["no parameters"].results.figures["errors"] == 1
    assert runs["last"].verdict.word == "none"
    assert "params.yaml is not YAML" in runs["last"].verdict.explanation


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", None])
def test_what_is_kept_is_read_anew_if_it_is_damaged(
    repository: Repository, damage: bytes | None
) -> None:
    expected = repository.read()
    files = [path for path in Path(".ui").rglob("*.json") if path.is_file()]
    assert len(files) == 2 * len(expected)
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"errors", b"horrors") if damage is None else damage)
    assert repository.read() == expected


def test_a_run_itself_counts_as_a_look_at_the_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Repository.create(tmp_path / "project")
    assert isinstance(made, Repository)
    monkeypatch.chdir(made.folder)
    made.commit("base", range(7))
    made.experiment("fixes-six", [6])  # p = 0.031, and 0.05 / 2 looks is 0.025
    made.experiment("fixes-seven", [])  # p = 0.016
    runs = made.read()
    assert not runs["fixes-six"].verdict.better
    assert runs["fixes-seven"].verdict.better


def test_metrics_that_dvc_lock_does_not_name_have_no_verdict(repository: Repository) -> None:
    repository.write_run([2])
    lock = (repository.folder / "dvc.lock").read_bytes()
    repository.write_run([3])
    repository.write("dvc.lock", lock)
    repository.commit("metrics of another run")
    verdict = repository.read()["metrics of another run"].verdict
    assert verdict.word == "none"
    assert "dvc.lock" in verdict.explanation


def test_a_number_that_a_script_cannot_hold_is_a_text(repository: Repository) -> None:
    repository.commit("numbers", [2], clip=float("inf"), large=2**53, small=2**53 - 1)
    params = repository.read()["numbers"].results.params
    assert params["train.clip"] == "inf"
    assert params["train.large"] == "9007199254740992"
    assert params["train.small"] == 9007199254740991


def test_a_parameter_that_stands_for_endlessly_many_is_cut_off(repository: Repository) -> None:
    layers = [
        f"l{i}: &l{i} {{{', '.join(f'k{j}: *l{i - 1}' for j in range(9))}}}" for i in range(1, 12)
    ]
    repository.write_run([2])
    params = (repository.folder / "params.yaml").read_text()
    repository.write("params.yaml", "\n".join(["l0: &l0 {k: 1}", *layers, params]))
    repository.commit("a bomb")
    assert len(repository.read()["a bomb"].results.params) <= history.MOST_PARAMS


def test_a_commit_of_any_time_and_length_is_a_run(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(repository.environment, "GIT_COMMITTER_DATE", f"@{10**17} +0000")
    repository.commit("long " * 1000, [2, 3, 4, 5])
    run = repository.read()[("long " * 1000)[: history.LONGEST]]
    assert run.time == git.LATEST
