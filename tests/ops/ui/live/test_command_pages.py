"""What the page of a command proposes next."""

from pathlib import Path

import pytest

from ops.ui.facts.jobs import Job
from ops.ui.live import actions, command_pages
from tests.helpers.run_history import RunHistory

LOG = ["Running stage 'train':", "Ran experiment(s): no-newt", "", "Ran experiment(s): old-newt"]


@pytest.mark.parametrize("query", ["action=experiment", "action=experiment&name=old-newt"])
def test_the_experiment_that_a_job_ran_is_the_one_to_keep(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = RunHistory.create(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    project.commit("start", [1, 2, 3])
    project.experiment("old-newt", [1, 2], lr=0.2)
    project.experiment("new-newt", [1], lr=0.3)
    project.write_run([1, 2, 3, 4])  # also results here that are not committed
    job = Job("20260101-000000-abcd", "Experiment", ("dvc", "exp", "run", "--temp"), query, 1.0)
    _, fields = actions.ACTIONS["experiment"].following[0]
    given = command_pages.following(job, fields, LOG)
    assert actions.keep(given).words == ["digits", "keep", "old-newt"]
