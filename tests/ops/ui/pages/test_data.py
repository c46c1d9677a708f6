"""The page of the data, of a project whose data changed, with hostile names."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digits.core import files
from digits.data import corrections
from ops.ui.pages import data
from ops.ui.project import read as project_now
from tests.helpers.data_project import data_project, draw_cross
from tests.helpers.made_up_past import Past
from tests.helpers.pages import least_contrast
from tests.helpers.project import Project
from tests.helpers.ui import UiServer, serve_ui

pytestmark = pytest.mark.slow(10)

EVIL = "scans/<img src=x onerror=alert(1)>.png"
METRICS = """\
# TYPE digits_model_info gauge
digits_model_info{model="39323b",tag="",version="v1.2.0"} 1.0
# TYPE digits_predictions_total counter
digits_predictions_total{predicted="<b>nought"} 900.0
digits_predictions_total{predicted="one"} 100.0
# TYPE digits_confidence histogram
digits_confidence_bucket{le="0.5"} 1.0
digits_confidence_bucket{le="+Inf"} 1000.0
digits_confidence_count 1000.0
# TYPE digits_drift gauge
digits_drift{of="predicted"} 0.4
digits_drift{of="confidence"} 0.01
# TYPE digits_drift_answers gauge
digits_drift_answers 1000.0
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = data_project(tmp_path_factory.mktemp("data") / "project")
    correct(project, 50, "one", EVIL)
    project.run("git", "config", "user.name", "Ann &amp; Bob")
    project.commit("a correction")
    correct(project, 51, "one", "scans/b.png")
    (project.folder.parent / "metrics.txt").write_text(METRICS)
    files.write(project.folder / "metrics" / "data.json", '{"upstrokes": 1234, "corrections": 1}')
    return project


def correct(project: Project, number: int, label: str, origin: str) -> None:
    image = np.zeros((28, 28), np.uint8)
    draw_cross(image, number)
    corrections.write(project.folder / "data" / "corrections.csv", [(image, label, origin)])


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[UiServer]:
    with serve_ui(project, "--read-only", "--metrics", "../metrics.txt") as server:
        yield server


@pytest.fixture(scope="module")
def page(server: UiServer, browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.on("dialog", lambda dialog: pytest.fail("a name became a script"))
    page.goto(server.link.replace("/?", "/data.html?"))
    yield page
    page.close()


def section(page: Any, id: str) -> Any:
    return page.locator(f"section[aria-labelledby={id}]")


def test_images_are_counted_by_class_and_split(page: Any) -> None:
    text = page.inner_text("main")
    assert "30 images" in text
    assert "Of those to train on, 1,234 are 1s that were drawn again, with an upstroke." in text
    assert "The last run trained on 1 of them" in text
    rows = section(page, "classes").locator("tbody tr")
    cells = [row.locator("th, td").all_inner_texts() for row in rows.all()]
    assert cells == [["<b>nought", "", "11", "2", "3", "16"], ["one", "", "8", "3", "3", "14"]]
    strip = rows.first.locator("img")
    assert strip.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [11 * 28, 28]


@pytest.mark.parametrize("counts", ["{}", '{"corrections": 0}', None])
def test_counts_that_the_last_run_did_not_write_are_left_out(
    project: Project, server: UiServer, counts: str | None
) -> None:
    path = project.folder / "metrics" / "data.json"
    content = path.read_text()
    path.unlink()
    if counts:
        files.write(path, counts)
    try:
        answer = server.ask("/data.html")
    finally:
        files.write(path, content)
    assert answer.status == 200
    text = answer.body.decode()
    assert "30 images" in text
    assert "Of those to train on" not in text
    assert ("The last run trained on 0 of them" in text) == ("corrections" in (counts or ""))


def test_the_images_that_changed_since_the_version_before_are_shown(page: Any) -> None:
    found = section(page, "difference")
    assert "1 image added, 1 removed, 1 relabelled, 1 moved to another split" in found.inner_text()
    titles = found.locator("h3").all_inner_texts()
    assert titles == ["1 relabelled", "1 added", "1 removed", "1 moved to another split"]
    figures = found.locator("figure").all_inner_texts()
    assert figures[0].split("\n")[0] == "<b>nought, was one"
    assert "train → val" in figures[3]


def test_corrections_name_who_labelled_them(page: Any) -> None:
    found = section(page, "corrections")
    rows = [row.split("\t")[:2] for row in found.locator("tbody tr").all_inner_texts()]
    assert sorted(rows) == [["Ann &amp; Bob", "1"], ["not committed yet", "1"]]
    captions = found.locator("figcaption").all_inner_texts()
    assert "not committed" in captions[0]
    assert "<img src=x onerror=alert(1)>.png" in captions[1]
    loaded = "images => images.map(image => image.naturalWidth)"
    assert found.locator("img").evaluate_all(loaded) == [28, 28]


ONE, OTHER = "1" * 64, "2" * 64
SPREADSHEET = f'\ufefflabel;"sha256";origin\r\n7;"{ONE}";a.png\r\n3;{OTHER};b.png\r\n'


def page_of(corrected: str, folder: Path, committed: str = "") -> str:
    """The page of a repository here with only data/corrections.csv, maybe not as committed."""
    past = Past()
    past.commit("corrections", {"data/corrections.csv": committed.encode()} if committed else None)
    past.make(folder)
    files.write("data/corrections.csv", corrected)
    return data.page(project_now()).decode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"sha256,label,origin\n<<<<<<< HEAD\n{ONE},7,a.png\n", "line 2: expected 3 fields"),
        (f"sha256,label,origin\n{ONE},7\n", "line 2: expected 3 fields"),
        ("<<<<<<< HEAD\n", "expected columns sha256, label, origin"),
    ],
)
def test_corrections_that_cannot_be_read_are_said(
    content: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = page_of(content, tmp_path)
    assert problem in text
    assert "There are none." not in text


@pytest.mark.parametrize("committed", ["", SPREADSHEET])
def test_who_labelled_is_known_of_a_file_by_a_spreadsheet(
    committed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = page_of(SPREADSHEET, tmp_path, committed)
    assert "2 images that people labelled later" in text
    person = "Ann" if committed else "not committed yet"
    assert f'<th scope="row">{person}</th><td>2</td>' in text


def test_drift_is_compared_with_chance(page: Any) -> None:
    rows = section(page, "drift").locator("table").first.locator("tbody tr").all_inner_texts()
    assert rows == [
        "predicted classes\t0.400\t0.018\tmore than chance explains",
        "confidence\t0.010\t0.018\tno more than chance",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_can_be_read(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert least_contrast(page) >= 4.5


def test_what_was_worked_out_of_the_images_is_kept(project: Project, server: UiServer) -> None:
    kept = project.folder / ".ui" / "data"
    assert len(list(kept.iterdir())) == 2  # the data, and their difference
    shutil.move(project.folder / "data" / "prepared", project.folder.parent / "prepared")
    shutil.move(project.folder / ".dvc" / "cache", project.folder.parent / "cache")
    try:
        project.run("git", "tag", "moment")  # so that nothing of the page is in memory
        assert "1 image added" in server.ask("/data.html").body.decode()
        shutil.rmtree(kept)
        with serve_ui(project, "--read-only") as another:
            said = another.ask("/data.html").body.decode()
        assert "The images of the working tree are not in DVC&#39;s cache" in said
        assert "dvc fetch --all-commits data/prepared" in said
    finally:
        shutil.move(project.folder.parent / "prepared", project.folder / "data" / "prepared")
        shutil.move(project.folder.parent / "cache", project.folder / ".dvc" / "cache")
