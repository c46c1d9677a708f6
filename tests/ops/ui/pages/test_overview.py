"""Is all well, and if not, what is to be done? Of repositories with made-up commits and tags."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from ops.ui import project
from ops.ui.facts import jobs
from ops.ui.facts.jobs import Job
from ops.ui.pages import overview
from ops.ui.pages.next_steps import Step
from ops.ui.pages.overview import headline
from ops.ui.project import Elsewhere
from tests.helpers.deployments import ONE, deploy
from tests.helpers.made_up_past import Past, results
from tests.helpers.project import Project

EVIL = "<img src=x onerror=alert(1)>"
Enter = Callable[[Past], Project]


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Makes a repository with a past, and goes there."""

    def go(past: Past) -> Project:
        past.make(tmp_path / "project")
        monkeypatch.chdir(tmp_path / "project")
        return Project(tmp_path / "project")

    return go


def promoted() -> Past:
    """Two runs, of which the second is in production."""
    past = Past()
    past.commit("the first", results(range(40), model=digest("1")))
    past.commit("the second", results(range(30), model=digest("2"), lr=0.2), person="Ben")
    past.version("v1.0.0")
    past.assign("production", Action="promote", Verdict="PASS: within all limits", Reason="at last")
    return past


def with_sixty_errors() -> tuple[Past, int]:
    """A run with 60 errors, which is v1.0.0 and in production, and the mark of its commit."""
    past = Past()
    mark = past.commit("the first", results(range(60), model=digest("1")))
    past.version("v1.0.0")
    past.assign("production", Action="promote", Verdict="PASS: within all limits")
    return past, mark


def page_of(here: project.Project | None = None) -> str:
    html = overview.resources(here or project.read())["index.html"]().decode()
    assert EVIL not in html
    return html


def shown(here: project.Project | None = None) -> str:
    """The words of the page's content, without markup."""
    main = page_of(here).partition("<main")[2].partition(">")[2].partition("</main>")[0]
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())
    return re.sub(r" ([.,:;])", r"\1", text)


def test_all_is_well(enter: Enter) -> None:
    enter(promoted())
    text = shown()
    assert text.startswith(
        "All is well v1.0.0 is in production since 18 Jun 2025, and main has the"
    )
    assert "What to do" not in text
    assert "In production v1.0.0 99.70 % accuracy, 30 errors passed at last Ann, 18 Jun" in text
    assert "On main 30 errors 99.70 % accuracy passes" in text
    assert "Ben, 17 Jun 2025: the second" in text
    assert "Pipeline train up to date evaluate up to date" in text
    assert "errors 30 \N{MINUS SIGN}10" in text
    assert page_of().count("<svg") == len(overview.FIGURES)
    assert "v1.0.0 to production passed by Ann: at last" in text


def test_a_model_that_passes_is_the_next_to_promote(enter: Enter) -> None:
    past = promoted()
    past.commit("the third", results(range(20), model=digest("3"), lr=0.1))
    enter(past)
    text = shown()
    assert text.startswith("All is well v1.0.0 is in production since 18 Jun 2025, and main has an")
    assert "passes The model of main can be promoted It is better than v1.0.0" in text
    assert "digits registry promote" in text
    assert "99.80 % accuracy, 10 errors fewer than production" in text
    form = 'href="run.html?action=promote&amp;stage=production"'
    assert form not in page_of()
    assert form in page_of(project.read(is_live=True, read_only=False))


def test_a_model_that_is_blocked_needs_attention(enter: Enter) -> None:
    past = promoted()
    past.commit("the third", results(range(58), model=digest("3"), lr=0.1))
    enter(past)
    text = shown()
    assert text.startswith("The gate blocks the model of main")
    assert "28 broken and 0 fixed" in text
    assert "v1.0.0 stays in production" in text


def test_the_model_is_judged_against_what_is_in_production_now(enter: Enter) -> None:
    """Its own verdict is of the time of its commit: against v1.0.0, with 60 errors."""
    past, old = with_sixty_errors()
    better = past.commit("a branch", results(range(10), model=digest("2"), lr=0.2))
    past.commit("the second", results(range(60), model=digest("1")))
    past.commit("main", results(range(52), model=digest("3"), lr=0.1))
    past.version("v1.1.0", mark=better)
    past.assign("production", mark=better, Action="promote", Verdict="PASS: better")
    past.assign("production", mark=old, Action="rollback", Reason="slow")
    made = enter(past)
    assert "The model of main can be promoted It is better than v1.0.0" in shown()
    made.run("git", "tag", "--delete", "digit-classifier#production#3")
    text = shown()
    assert text.startswith("The gate blocks the model of main")
    assert "42 broken and 0 fixed" in text
    assert "v1.1.0 stays in production" in text
    assert "42 errors more than production" in text


def test_a_block_ends_with_the_rollback_of_what_was_better(enter: Enter) -> None:
    past, old = with_sixty_errors()
    past.commit("the second", results(range(10), model=digest("2"), lr=0.2))
    past.version("v1.1.0")
    past.assign("production", Action="promote", Verdict="PASS: better")
    past.commit("main", results(range(52), model=digest("3"), lr=0.1))
    past.assign("production", mark=old, Action="rollback", Reason="slow")
    enter(past)
    assert "The model of main can be promoted It is better than v1.0.0" in shown()


def test_a_stage_that_is_out_of_date_says_why_and_what_to_run(enter: Enter) -> None:
    made = enter(promoted())
    params = made.folder / "params.yaml"
    params.write_text(params.read_text().replace("lr: 0.2", "lr: 0.3"))
    text = shown()
    assert text.startswith("train is out of date v1.0.0 is in production")
    assert re.search(r"train\.optimizer\.lr: 0\.2 \S+ 0\.3", text)
    assert "dvc repro" in text


def test_results_that_are_not_committed_are_the_next_to_commit(enter: Enter) -> None:
    made = enter(promoted())
    for path, content in results(range(30), model=digest("4"), lr=0.2).items():
        (made.folder / path).write_bytes(content)
    text = shown()
    assert text.startswith("New results are not committed")
    assert 'digits keep --message "TEXT"' in text
    form = 'href="run.html?action=keep&amp;experiment="'
    assert form in page_of(project.read(is_live=True, read_only=False))


def test_files_that_are_missing_matter_only_where_the_pages_are_served(enter: Enter) -> None:
    made = enter(promoted())
    (made.folder / "metrics" / "train.json").unlink()
    assert "Pipeline train up to date" in shown()
    text = shown(project.read(is_live=True))
    assert text.startswith("All is well")
    assert "missing Files that train made are not on this computer" in text
    assert "dvc repro" in text
    assert "dvc pull" not in text  # there is no remote to pull from
    (made.folder / ".dvc").mkdir(exist_ok=True)
    remote = "[core]\nremote = r\n['remote \"r\"']\nurl = /a/folder\n"
    (made.folder / ".dvc" / "config").write_text(remote)
    assert "dvc pull" in shown(project.read(is_live=True))


def test_without_metrics_the_page_says_what_to_run(enter: Enter) -> None:
    past = Past()
    past.commit("start", {"dvc.yaml": results([])["dvc.yaml"], "params.yaml": b"train: {}\n"})
    enter(past)
    text = shown()
    assert text.startswith("Nothing has run yet There is no model yet.")
    assert "dvc repro" in text
    assert "On main no metrics" in text


def test_without_a_version_the_page_says_how_to_make_the_first(enter: Enter) -> None:
    past = Past()
    past.commit("start", results(range(30)))
    enter(past)
    text = shown()
    assert text.startswith("All is well, and nothing is in production main has a model, but no")
    assert "digits registry promote" in text
    assert "git fetch --tags" in text


def test_no_promotion_is_proposed_that_would_be_refused(enter: Enter) -> None:
    past = promoted()
    past.commit("the third", results(range(20), model=digest("3"), lr=0.1))
    made = enter(past)
    assert "digits registry promote" in shown()
    (made.folder / "code.py").write_text("a = 1\n")
    text = shown()
    assert text.startswith("train is out of date")
    assert "digits registry promote" not in text


def test_no_promotion_is_proposed_while_a_file_is_edited(enter: Enter) -> None:
    past = promoted()
    third = results(range(20), model=digest("3"), lr=0.1)
    past.commit("the third", {**third, "README.md": b"digits"})
    made = enter(past)
    (made.folder / "README.md").write_text("edited")
    text = shown()
    assert "can be promoted" not in text
    assert "digits registry promote" not in text
    made.run("git", "checkout", "--quiet", "README.md")
    assert "can be promoted" in shown()


def test_a_pipeline_that_cannot_be_read_is_said_and_the_rest_is_shown(enter: Enter) -> None:
    made = enter(promoted())
    (made.folder / "dvc.yaml").write_text("stages: [")
    text = shown()
    assert text.startswith("The pipeline can't be read")
    assert "In production v1.0.0" in text


def test_a_deployment_that_serves_another_version_needs_attention(
    enter: Enter, tmp_path: Path
) -> None:
    enter(promoted())
    url = str(tmp_path / "served")
    deploy(url, ONE, number=7)
    text = shown(replace(project.read(), elsewhere=Elsewhere((url,))))
    assert text.startswith(f"{url} serves v1.7.0")
    assert f"The registry says that production is v1.0.0. More digits deploy --to {url}" in text


def test_metrics_on_other_images_begin_a_new_line(enter: Enter) -> None:
    past = promoted()
    past.commit("other images", results(range(35), model=digest("3"), test_set="c" * 64))
    past.commit("again", results(range(33), model=digest("4"), test_set="c" * 64))
    enter(past)
    text = shown()
    assert "errors 33 \N{MINUS SIGN}2" in text
    assert "All were tested on the same images; 2 earlier ones were not" in text


def test_what_was_started_from_the_pages_is_shown_only_by_a_server(enter: Enter) -> None:
    enter(promoted())
    jobs.save(Job("20260101-000000-abcd", f"Reproduce {EVIL}", ("dvc", "repro"), "", asked=1.0))
    assert "Started from these pages" not in shown()
    text = shown(project.read(is_live=True))
    assert f"waiting Reproduce {EVIL}" in text
    assert f"Started from these pages Reproduce {EVIL} waiting 1 Jan 1970" in text


def test_hostile_names_are_text(enter: Enter) -> None:
    past = promoted()
    past.commit(f"{EVIL} \udce9", results(range(30), model=digest("3"), lr=0.1), person="Ren\udce9")
    past.assign("production", Action=EVIL, Verdict=EVIL, Reason=EVIL)
    made = enter(past)
    made.run("git", "checkout", "--quiet", "-b", "a<b>&c")
    text = shown()
    assert "On a<b>&c" in text
    assert f"no verdict {EVIL}" in text


def test_a_merge_counts_by_its_first_parent_and_a_detached_head_has_a_name(enter: Enter) -> None:
    made = enter(promoted())
    made.run("git", "checkout", "--quiet", "--detach", "HEAD~1")
    text = shown()
    assert re.search(r"On [0-9a-f]{9} 40 errors", text)


@pytest.mark.parametrize(
    ("alerts", "has_production", "expected"),
    [
        ([], True, "All is well"),
        ([], False, "All is well, and nothing is in production"),
        (["train failed"], True, "train failed"),
        (["train failed", "s3://a serves v1"], True, "2 things need attention"),
    ],
)
def test_the_heading_answers_whether_all_is_well(
    alerts: list[str], has_production: bool, expected: str
) -> None:
    steps = [Step("failed", "failed", alert) for alert in alerts]
    following = Step("next", "next", "promote", is_alert=False)
    assert headline([*steps, following], has_production=has_production) == expected
