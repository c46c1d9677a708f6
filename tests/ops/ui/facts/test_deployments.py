"""What deployments serve is asked for in the background."""

import threading
from pathlib import Path

import pytest

from ops.ui.facts import deployments, jobs
from ops.ui.facts.deployments import Served
from ops.ui.project import Elsewhere, Project
from tests.helpers.wait import until


def test_a_slow_answer_is_asked_for_once_and_open_pages_show_it_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked, can_answer = [], threading.Event()

    def ask(url: str) -> Served:
        asked.append(url)
        can_answer.wait()
        return Served(url, {}, "no model was deployed there yet")

    monkeypatch.setattr(deployments, "ask", ask)
    monkeypatch.setattr(deployments, "LIVE_S", 0)
    monkeypatch.setattr(deployments, "FRESH_S", -1)  # every answer is old
    url = f"{tmp_path}/store"
    project = Project("now", is_live=True, elsewhere=Elsewhere((url,)))
    for _ in range(2):
        [served] = deployments.read(project)
        assert served.problem == "it has not answered yet"
    assert asked == [url]
    assert not jobs.CHANGED.exists()
    can_answer.set()
    until(jobs.CHANGED.exists, seconds=20)
    [served] = deployments.read(project)
    assert served.problem == "no model was deployed there yet"
