"""The jobs that the pages list, from their files."""

import json
from pathlib import Path

import pytest

from ops.ui.facts import jobs
from ops.ui.facts.jobs import CHANGED, Job


@pytest.mark.parametrize("change", [{"priority": 3}, {"words": None}, {"title": None}])
def test_a_job_with_keys_of_another_version_is_none_and_the_others_are_listed(
    change: dict[str, int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("dvc", "repro")
    known = jobs.save(Job("20260101-000000-abcd", "Reproduce", words, "action=reproduce", asked=1))
    other = jobs.save(Job("20260102-000000-abcd", "Reproduce", words, "action=reproduce", asked=2))
    file = other.folder / "job.json"
    values = json.loads(file.read_text()) | change
    file.write_text(json.dumps({key: v for key, v in values.items() if key not in change or v}))
    assert jobs.read(other.id) is None
    assert jobs.every() == [known]


def test_open_pages_show_that_a_job_was_added_changed_or_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = Job("20260101-000000-abcd", "Sweep", ("digits", "sweep"), "action=sweep", asked=1)
    said = []
    for change in (jobs.save, jobs.save, jobs.remove):
        change(job)
        said.append(CHANGED.read_bytes())
    assert len(set(said)) == 3
