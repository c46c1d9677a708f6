"""All pages of a repository with results, experiments and versions, without server and network."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ops.ui import contents, project
from tests.helpers.made_up_past import Files, Past, results
from tests.helpers.metrics_files import metrics_files
from tests.helpers.pages import complaints_of_axe
from tests.helpers.project import Project
from tests.helpers.small import ROOT

pytestmark = pytest.mark.slow(40)

EVIL = "<img src=x onerror=alert(1)> <script>alert(1)</script> & \"'`"
DESKTOP = {"viewport": {"width": 1200, "height": 900}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}


def tag(project: Project, name: str, action: str, stage: str, **fields: str) -> None:
    lines = "\n".join(f"{key}: {value}" for key, value in fields.items())
    text = f"digit-classifier\n\nAction: {action}\nStage: {stage}\n{lines}"
    project.run("git", "tag", "--annotate", "--message", text, name)


def rerun(project: Project, wrong: list[int], message: str) -> str:
    """Commit other metrics, and return the commit."""
    for name, content in metrics_files(wrong).items():
        (project.folder / "metrics" / name).write_bytes(content)
    project.forge_lock("metrics/evaluation.json", "metrics/errors.csv")
    project.commit(message)
    return project.run("git", "rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages; commit messages and reasons try to become markup."""
    project = Project.scratch(tmp_path_factory.mktemp("contents") / "project")
    shutil.copy2(ROOT / "dvc.lock", project.folder)
    shutil.copytree(ROOT / "metrics", project.folder / "metrics")
    project.commit(f"Results {EVIL}")
    tag(project, "digit-classifier@v1.0.0", "promote", "staging", Verdict="PASS: it is the first")
    tag(project, "digit-classifier#production#1", "promote", "production", Verdict="PASS: good")
    rerun(project, [3, 14, 15], "Fewer errors")
    tag(project, "digit-classifier@v1.1.0", "promote", "production", Reason=EVIL)
    tag(project, "digit-classifier#production#2", "promote", "production", Reason=EVIL)
    base = project.run("git", "rev-parse", "HEAD").strip()
    experiment = rerun(project, [3, 14], "dvc: commit experiment")
    refs = f"refs/exps/{base[:2]}/{base[2:]}/brave-newt"
    project.run("git", "update-ref", refs, experiment)
    project.run("git", "reset", "--quiet", "--hard", base)
    project.run("python", "-m", "ops.ui", "--site", "site")
    return project.folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> list[str]:
    return sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))


def opened(browser: Any, site: Path, pages: list[str], **options: Any) -> Iterator[tuple[str, Any]]:
    """Each page in the browser, offline; it must load no other address and have no error."""
    context = browser.new_context(offline=True, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: addresses.append(request.url))
    addresses: list[str] = []
    for path in pages:
        page.goto((site / path).as_uri())
        yield path, page
    assert [url for url in addresses if not url.startswith(("file:", "data:"))] == []
    assert complaints == []
    context.close()


@pytest.mark.parametrize("options", [DESKTOP, PHONE], ids=["desktop-light", "phone-dark"])
def test_each_page_opens_offline_fits_and_can_be_used_by_all(
    options: dict[str, Any], site: Path, pages: list[str], browser: Any
) -> None:
    if options is DESKTOP:  # one of the stages, one of the runs, one of the versions
        pages = [*{path.rpartition("/")[0] or path: path for path in pages}.values()]
    complaints = []
    for path, page in opened(browser, site, pages, **options):
        assert page.locator("h1").count() == 1
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > options["viewport"]["width"]:
            complaints.append(f"{path}: {width} pixels wide")
        complaints += [f"{path}: {complaint}" for complaint in complaints_of_axe(page)]
    assert complaints == []


def test_every_link_leads_to_a_page_or_a_place_in_one(site: Path, pages: list[str]) -> None:
    texts = {path: (site / path).read_text() for path in pages}
    broken = []
    for path, text in texts.items():
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (site / path).parent / unquote(parts.path) if parts.path else site / path
            has_place = parts.fragment and not parts.path.endswith("compare.html")  # those are runs
            place = f'id="{parts.fragment}"' if has_place else ""
            if not target.is_file() or place not in target.read_text(errors="replace"):
                broken.append(f"{path}: {link}")
    assert broken == []


def test_what_the_repository_says_is_never_markup(site: Path, pages: list[str]) -> None:
    texts = {path: (site / path).read_text() for path in pages}
    assert any("onerror" in text for text in texts.values())
    assert [path for path, text in texts.items() if "<img src=x" in text] == []
    assert [path for path, text in texts.items() if "<script>alert" in text] == []


def test_data_of_scripts_is_json(site: Path, pages: list[str]) -> None:
    script = re.compile(r'<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)
    for path in pages:
        for text in script.findall((site / path).read_text()):
            json.loads(text)


def without(*paths: str) -> Files:
    """The files of a run, except some."""
    return {path: text for path, text in results([3]).items() if path not in paths}


def evaluated(**changes: Any) -> Files:
    """A run without errors, with other keys in evaluation.json."""
    made = results([])
    scores = json.loads(made["metrics/evaluation.json"]) | changes
    return {**made, "metrics/evaluation.json": json.dumps(scores).encode()}


OWN = {"<b>box": 5000, "circle": 5000}
PARTIAL = {
    "first run not done": {path: results([])[path] for path in ("dvc.yaml", "params.yaml")},
    "no pipeline": {"README.md": b"nothing yet"},
    "no training": without("metrics/train.json"),
    "no parameters": without("params.yaml"),
    "no lock": without("dvc.lock"),
    "no table of errors": without("metrics/errors.csv"),
    "no seed": {**results([3]), "metrics/train.json": b"{}"},
    "no counts of images": {**results([3]), "metrics/data.json": b"{}"},
    "no corruptions": evaluated(robustness={"mean": 0.9}),
    "no mean of corruptions": evaluated(robustness={}),
    "own classes": evaluated(support=OWN, recall=dict.fromkeys(OWN, 1.0)),
}


@pytest.mark.parametrize("files", PARTIAL.values(), ids=PARTIAL)
def test_every_page_of_a_project_that_lacks_something_can_be_made(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_promoted in (False, True):
        past = Past()
        past.commit("start", files)
        if is_promoted:
            past.version("v1.0.0")
            past.assign("production", Action="promote")
        folder = tmp_path / str(is_promoted)
        past.make(folder)
        monkeypatch.chdir(folder)
        for is_live in (False, True):
            for make in contents.resources(project.read(is_live=is_live, read_only=False)).values():
                make()
