"""The registry's pages, of a repository with made-up commits and tags."""

import hashlib
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from ops.ui import project
from ops.ui.facts import deployments, registry
from ops.ui.live import actions
from ops.ui.pages import versions
from ops.ui.project import Elsewhere, Project
from tests.helpers.deployments import ONE, deploy
from tests.helpers.made_up_past import Past, results

EVIL = "<script>alert(1)</script>\"'&"
CARD = "# Model card: digit-classifier\n\n|  |  |\n| --- | --- |\n| Model | `aa` |\n\n## Use\n\n"


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Three versions: forced, rolled back, and one that never held a stage; then hostile tags."""
    past = Past()
    card = (
        f"{CARD}{EVIL} ![a](plots/errors.png) ![b](https://evil.example/b.png) ![c](plots/no.png)"
    )
    extra = {"metrics/model-card.md": card.encode(), "metrics/plots/errors.png": b"\x89PNG"}
    first = past.commit(f"the first {EVIL}", {**results(range(30), model=digest("1")), **extra})
    past.version("v1.0.0")
    past.assign("production", Action="promote", Verdict="PASS: within all limits", person="Ann")
    files = results([*range(20), *range(100, 140)], model=digest("2"), lr=0.2, code="a = 1\n")
    past.commit("the second", files)
    past.version("v1.1.0")
    past.assign(
        "production",
        person="Ben",
        Action="promote",
        Verdict="OVERRIDDEN by a reviewer (the fair), in spite of: 40 broken",
        Forced_by="Ben",
        Reason="the fair",
    )
    past.assign("production", mark=first, days=3, Action="rollback", Reason=f"worse {EVIL}")
    past.commit("the third", results(range(10), model=digest("3"), test_set="c" * 64))
    past.version("v1.2.0")
    past.version("v1.3.0-rc.1", mark=past.commit("without metrics", {"metrics/errors.csv": b"?"}))
    # What others may push: of each, something is wrong.
    past.light("digit-classifier@v9.0.0")
    past.tag("digit-classifier@nine", EVIL)
    past.tag("some-other-model@v1.0.0", "not ours")
    past.tag(
        "digit-classifier#staging#77", f"{EVIL}\n\nReason: \udce9 {EVIL}\n", person="Ren\udce9"
    )
    past.tag("digit-classifier@v2.0.0", "the end of time", time=10**17)
    folder = tmp_path_factory.mktemp("versions") / "project"
    past.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield project.read()


def shown(here: Project, path: str = "versions.html") -> str:
    """The words of a page, without markup."""
    html = versions.resources(here)[path]().decode()
    assert "<script>alert" not in html
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
    return re.sub(r" ([.,:;])", r"\1", text)


def test_the_page_names_what_holds_a_stage_since_when_by_whom_and_why(here: Project) -> None:
    text = shown(here)
    assert "production v1.0.0 since 22 Jun 2025, by Ann rolled back: worse" in text
    assert "99.70 % accuracy, 30 errors in 10,000 images" in text


def test_every_event_is_there_with_its_reason_and_how_long_it_lasted(here: Project) -> None:
    text = shown(here)
    assert f"v1.0.0 is back in production after v1.1.0 rolled back by Ann: worse {EVIL}" in text
    assert "v1.1.0 to production after v1.0.0, for 3 days forced by Ben: the fair" in text
    assert "OVERRIDDEN by a reviewer (the fair), in spite of: 40 broken" in text
    assert "v1.0.0 to production passed by Ann: within all limits" in text


def test_tags_that_do_not_count_are_passed_over_and_hostile_ones_are_text(here: Project) -> None:
    known = registry.read(here)
    names = [version.name for version in known.versions]
    assert names == ["v2.0.0", "v1.3.0-rc.1", "v1.2.0", "v1.1.0", "v1.0.0"]
    assert "31 Dec 9999" in shown(here)
    assert "to staging no verdict by" in shown(here)
    for path, make in versions.resources(here).items():
        assert make() is not None, path


def test_a_version_without_metrics_says_what_is_wrong(here: Project) -> None:
    text = shown(here, "versions/v1.3.0-rc.1.html")
    assert "no metrics Its commit has none that can be read" in text
    assert "metrics/errors.csv: expected the first line" in text


def test_a_version_says_what_it_was_made_from_and_what_changed(here: Project) -> None:
    text = shown(here, "versions/v1.1.0.html")
    assert "the second" in text
    assert digest("2") in text
    assert "Changed since v1.0.0 The data are the same. Code: code.py." in text
    assert "train.optimizer.lr 0.4 0.2" in text
    assert f"code.py code {hashlib.md5(b'a = 1' + bytes([10])).hexdigest()} changed" in text
    assert "errors 60 +30, worse" in text
    assert "It held production until 22 Jun 2025, when v1.0.0 came back." in text


def test_versions_on_other_test_images_are_not_compared(here: Project) -> None:
    text = shown(here, "versions/v1.2.0.html")
    assert "v1.1.0, the version before, can't be compared" in text
    assert "test_set differs" in text
    assert "errors 10 accuracy" in text


def test_the_model_card_is_shown_and_nothing_in_it_is_markup(here: Project) -> None:
    files = versions.resources(here)
    html = files["versions/v1.0.0.html"]().decode()
    card = html.partition('class="model-card"')[2]
    assert '<img src="v1.0.0/plots/errors.png" alt="a" loading="lazy"' in card
    assert "evil.example" not in card
    assert "&lt;script&gt;" in card
    assert '<table class="words">\n<tbody>' in card
    assert "<h3>Use</h3>" in card
    assert files["versions/v1.0.0/plots/errors.png"]() == b"\x89PNG"
    assert "no.png" not in card


def test_a_version_says_how_it_comes_into_production_and_the_forms_agree(here: Project) -> None:
    live = replace(here, is_live=True, read_only=False)
    known = registry.read(live)
    found = {
        version.name: {way.stage: way for way in versions.ways(live, known, version)}
        for version in known.versions
    }
    assert "production" not in found["v1.0.0"]
    back, forward = found["v1.1.0"]["production"], found["v1.2.0"]["production"]
    assert back.command == 'digits registry rollback --to 1.1.0 --reason "..."'
    assert forward.command == "digits registry promote --version 1.2.0"
    suffixed = found["v1.3.0-rc.1"]["production"]
    assert suffixed.command.startswith("gto assign digit-classifier --version v1.3.0-rc.1")
    assert suffixed.form is None
    for way, named in ((back, "--to=1.1.0"), (forward, "--version=1.2.0")):
        assert way.form
        given = dict(parse_qsl(urlsplit(way.form).query))
        form = actions.ACTIONS[given.pop("action")].fill_in({**given, "reason": "why"})
        assert form.is_complete
        assert {*way.command.split()[:3], "--stage=production", named} <= {*form.words}
    assert all(way.form is None for way in versions.ways(here, known, known.versions[2]))


def test_a_version_that_held_only_staging_is_promoted_to_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past()
    past.commit("first", results(range(30)))
    past.version("v1.0.0")
    past.assign("staging", Action="promote", Verdict="PASS: within all limits")
    past.commit("second", results(range(20)))
    past.version("v1.1.0")
    past.assign("staging", Action="promote", Verdict="PASS: within all limits")
    past.make(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    version = registry.read(project.read()).version("v1.0.0")
    assert version
    for stage, action in (("production", "promote"), ("staging", "rollback")):
        assert (registry.command(version, stage) or [])[:3] == ["digits", "registry", action]


def test_a_repository_without_versions_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past()
    past.commit("start")
    past.make(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    text = shown(project.read())
    assert "No model has a version yet" in text
    assert "digits registry promote" in text
    assert "git fetch --tags" in text


def test_what_a_deployment_serves_is_held_against_the_registry(
    here: Project, tmp_path: Path
) -> None:
    same, other, empty = (str(tmp_path / name) for name in ("same", "an other", "empty"))
    deploy(same, ONE, number=0)
    deploy(other, ONE, number=1)
    text = shown(replace(here, elsewhere=Elsewhere((same, other, empty))))
    assert f"{same} serves v1.0.0 for production: as the registry says" in text
    assert f"{other} serves v1.1.0 for production: not as the registry says" in text
    assert f"where production is v1.0.0 digits deploy --to '{other}'" in text
    assert f"{empty} unknown no model was deployed there yet" in text


def test_a_bucket_that_does_not_answer_is_a_line_and_holds_up_no_page(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments, "WRITTEN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never answers
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
        text = shown(replace(here, elsewhere=Elsewhere(("s3://silent/models",))))
    assert "s3://silent/models unknown it has not answered yet" in text


def test_a_deployment_that_cannot_be_read_is_a_line(here: Project, tmp_path: Path) -> None:
    (tmp_path / "production.json").write_text("{")
    text = shown(replace(here, elsewhere=Elsewhere((str(tmp_path),))))
    assert f"{tmp_path}/production.json is damaged" in text
