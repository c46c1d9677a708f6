"""Labels in a real browser: keys, undo, reload, a kill, hostile rows, and what becomes of them."""

import base64
import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from digits.storage import model_store
from tests.helpers import tiny_models, warm_python
from tests.helpers.project import Project
from tests.helpers.ui import UiServer, serve_ui

pytestmark = pytest.mark.slow(12)

MODEL = tiny_models.model(1)
EVIL = "scans/<img src=x onerror=alert(1)>.png"
SECRET = "scans/../../secret.txt"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.scratch(tmp_path_factory.mktemp("labels") / "project")
    model = project.folder / "models" / "digit-classifier"
    model.mkdir(parents=True)
    for name in model_store.MODEL_FILES:
        (model / name).write_bytes(MODEL[name])
    (project.folder / "scans").mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        save(project.folder / "scans" / f"{name}.png", random)
    save(project.folder / EVIL, random)
    (project.folder.parent / "secret.txt").write_text("the secret")
    words = ("python", "-m", "ops.predict", "scans", "out.csv", "--threshold", "1")
    project.run(*words)
    return project


def save(path: Path, random: np.random.Generator) -> None:
    pixels = random.integers(0, 2, (20, 16), np.uint8)  # so faint that the model is unsure
    Image.fromarray(pixels).save(path)


def labels(project: Project, name: str = "out") -> list[list[str]]:
    path = project.folder / f"{name}.labels.csv"
    return list(csv.reader(io.StringIO(path.read_text())))[1:] if path.exists() else []


def write_rows(project: Project, name: str, paths: list[str]) -> None:
    """An output of digits predict with rows for review."""
    rows = [[path, "3", "0.5", "true"] for path in paths]
    with (project.folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([["path", "predicted", "confidence", "review"], *rows])


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[UiServer]:
    with serve_ui(project) as server:
        yield server


@pytest.fixture
def page(project: Project, server: UiServer, browser: Any) -> Iterator[Any]:
    (project.folder / "out.labels.csv").unlink(missing_ok=True)
    page = browser.new_page(viewport={"width": 360, "height": 800})
    errors: list[str] = []
    page.on("dialog", lambda dialog: errors.append("a name became a script"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.link.replace("/?", "/labels.html?"))
    yield page
    page.close()
    assert errors == []


def ask(server: UiServer, what: str, **given: str) -> tuple[int, dict[str, Any]]:
    """POST as the page's script does."""
    answer = server.ask(f"/labels/{what}", given)
    return answer.status, answer.json


def test_keys_label_undo_and_skip_and_a_reload_continues(page: Any, project: Project) -> None:
    page.click("text=out.csv")
    page.wait_for_selector("text=0 labelled of 5")
    order = []
    for number, key in enumerate("73"):
        order.append(page.inner_text("#path"))
        page.keyboard.press(key)
        page.wait_for_selector(f"text={number + 1} labelled of 5")
    assert labels(project) == [[order[0], "7"], [order[1], "3"]]
    page.keyboard.press("u")
    page.wait_for_selector("text=1 labelled of 5")
    assert page.inner_text("#path") == order[1]
    assert labels(project) == [[order[0], "7"]]
    page.keyboard.press("s")
    page.wait_for_selector("text=1 labelled, 1 skipped of 5")
    page.reload()
    page.wait_for_selector("text=1 labelled, 1 skipped of 5")
    for number in (2, 3, 4):
        page.click("#classes button:text-is('4')")
        page.wait_for_selector(f"text={number} labelled, 1 skipped of 5")
    page.wait_for_selector("text=All done")
    page.click("text=Go through the skipped ones")
    page.wait_for_selector("text=4 labelled of 5")
    assert page.inner_text("#path") == order[1]
    page.keyboard.press("Backspace")
    page.wait_for_selector("text=3 labelled of 5")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_label_survives_a_kill_of_the_server(project: Project, browser: Any) -> None:
    clone = project.folder.parent / "killed"
    project.run("cp", "-r", str(project.folder), str(clone))
    killed = Project(clone)
    (clone / "out.labels.csv").unlink(missing_ok=True)
    # The warm interpreter would have to notice first that its client was killed.
    with serve_ui(killed, PATH=warm_python.REAL_PATH) as server:
        page = browser.new_page()
        page.goto(server.link.replace("/?", "/labels.html?") + "#out.csv")
        page.wait_for_selector("text=0 labelled of 5")
        path = page.inner_text("#path")
        page.keyboard.press("9")
        page.wait_for_selector("text=1 labelled of 5")
        server.process.kill()
        server.process.wait()
        page.keyboard.press("8")
        page.wait_for_selector("text=The server does not answer")
        page.close()
    assert labels(killed) == [[path, "9"]]


def test_digits_correct_takes_the_labels(page: Any, project: Project) -> None:
    page.goto(f"{page.url}#out.csv")
    given = {}
    for number in range(5):
        page.wait_for_selector(f"text={number} labelled of 5")
        given[page.inner_text("#path")] = str(number)
        page.keyboard.press(str(number))
    page.wait_for_selector("text=All done")
    assert EVIL in given
    command = page.inner_text("#command")
    assert command == "digits correct out.labels.csv"
    page.click("text=Run it")
    page.wait_for_selector(f"text={command}")
    page.click("main form button.first")
    page.wait_for_selector("text=5 new, 0 known already; 5 in all")
    rows = csv.DictReader(io.StringIO((project.folder / "data/corrections.csv").read_text()))
    assert {row["origin"]: row["label"] for row in rows} == given


def test_the_picture_is_made_anew_and_shows_what_the_model_sees(
    server: UiServer, project: Project
) -> None:
    write_rows(project, "one.csv", ["scans/a.png"])
    _, state = ask(server, "open", output="one.csv")
    image = state["image"]
    assert list(decoded(image["original"]).size) == [16, 20]
    assert decoded(image["seen"]).size == tiny_models.SIZE


def decoded(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_only_images_of_the_rows_are_shown_and_never_a_files_bytes(
    server: UiServer, project: Project
) -> None:
    os.symlink(project.folder.parent / "secret.txt", project.folder / "scans" / "link.png")
    os.mkfifo(project.folder / "scans" / "pipe.png")
    paths = [SECRET, "scans/link.png", "scans/pipe.png", "/dev/zero", "/etc/passwd", "scans", "*"]
    write_rows(project, "hostile.csv", [*paths, "x" * 5000, "#1", "a.npy#9"])
    for _ in range(10):
        code, state = ask(server, "open", output="hostile.csv")
        assert code == 200
        assert state["image"]["error"]
        assert "seen" not in state["image"]
        assert "the secret" not in json.dumps(state)
        path = state["image"]["path"]
        assert ask(server, "give", output="hostile.csv", path=path, label="")[0] == 200
    code, state = ask(server, "give", output="hostile.csv", path="scans/a.png", label="1")
    assert (code, "has no row for review" in state["error"]) == (400, True)


def test_outputs_are_files_of_this_folder(server: UiServer, project: Project) -> None:
    outside = project.folder.parent / "outside.csv"
    outside.write_text("path,predicted,confidence,review\na.png,1,0.5,true\n")
    os.symlink(outside, project.folder / "linked.csv")
    for output in ("../outside.csv", str(outside), "linked.csv", "scans", "no.csv", "", "\0"):
        code, state = ask(server, "open", output=output)
        assert code == 400
        assert "in this folder" in state["error"]
    for output in ("params.yaml", "data/corrections.csv"):
        code, state = ask(server, "open", output=output)
        assert code == 400
        assert "is no output of digits predict" in state["error"]
    for body in ({}, {"output": "3"}, {"output": "out.csv", "path": "scans/a.png"}):
        assert ask(server, "give", **body)[0] == 400
    assert (
        "is not one of the classes"
        in ask(server, "give", output="out.csv", path="scans/a.png", label="ten")[1]["error"]
    )
    assert not outside.with_name("outside.labels.csv").exists()


def test_own_classes_have_buttons_and_the_first_nine_keys(page: Any, project: Project) -> None:
    write_rows(project, "shapes.csv", ["scans/a.png", "scans/b.png"])
    manifest = {"classes": ["<b>box", "circle"]}
    (project.folder / "shapes.csv.manifest.json").write_text(json.dumps(manifest))
    page.goto(f"{page.url}#shapes.csv")
    page.wait_for_selector("text=0 labelled of 2")
    page.keyboard.press("2")
    page.wait_for_selector("text=1 labelled of 2")
    page.click("#classes button:has-text('<b>box')")
    page.wait_for_selector("text=All done")
    assert labels(project, "shapes") == [["scans/a.png", "circle"], ["scans/b.png", "<b>box"]]


def test_read_only_pages_have_no_labels(project: Project) -> None:
    with serve_ui(project, "--read-only") as server:
        assert server.ask("/labels.html").status == 404
        assert server.ask("/labels/open", {}).status == 403
