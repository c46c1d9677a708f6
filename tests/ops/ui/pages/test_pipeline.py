"""The pages of a made-up pipeline, and of the real one as a browser shows it."""

import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from digits.core import files
from digits.data import dataset
from digits.data.dataset import Labelled, Source
from ops.tools import disk, stage_runs
from ops.tools.stage_runs import StageRun
from ops.ui.pages import pipeline, render
from ops.ui.project import read
from tests.helpers.project import Project

DECLARED: dict[str, Any] = {
    "prepare": {"cmd": "p", "deps": ["p.py"], "outs": ["data"]},
    "train": {
        "cmd": "python -m ops.launch stages.train --fast",
        "deps": ["data"],
        "params": ["train"],
        "outs": ["weights", {"metrics/train.json": {"cache": False}}],
        "plots": [{"metrics/plots/training.csv": {"cache": False}}],
    },
}
PARAMS = {"train": {"lr": 0.1, "name": "<i>sgd</i>"}}


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages that are up to date, with outputs that have pictures."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    images = np.full((4, 28, 28), 200, np.uint8)
    labelled = Labelled(images, np.array([0, 0, 1, 1], np.uint8))
    dataset.save(
        Path("data"), Source("x", ("<b>one</b>", "two"), {}, "ink-box"), {"train": labelled}
    )
    files.write("p.py", "")
    files.write("weights", "w" * 2000)
    files.write("metrics/train.json", '{"val_accuracy": 0.75, "answers": {"0": [1, 2]}}')
    files.write("metrics/plots/training.csv", "epoch,train_loss\n1,0.5\n2,0.25\n")
    files.write(".dvc/config", "")
    for name, document in {"dvc.yaml": {"stages": DECLARED}, "params.yaml": PARAMS}.items():
        files.write(name, yaml.safe_dump(document))
    write_lock()
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "<u>all</u>"]):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *words], check=True)


def write_lock(**params: Any) -> None:
    def entries(*paths: str) -> list[dict[str, Any]]:
        return [{"path": path, "md5": disk.digest(path), "size": 2000} for path in paths]

    outs = ("weights", "metrics/train.json", "metrics/plots/training.csv")
    stages = {
        "prepare": {"cmd": "p", "deps": entries("p.py"), "outs": entries("data")},
        "train": {
            "cmd": DECLARED["train"]["cmd"],
            "deps": entries("data"),
            "params": {"params.yaml": {"train": PARAMS["train"] | params}},
            "outs": entries(*outs),
        },
    }
    files.write("dvc.lock", yaml.safe_dump({"stages": stages}))


def shown(path: str) -> str:
    """The text of a page, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", source(path).partition("<main")[2])).split())


def source(path: str) -> str:
    return pipeline.resources(read())[path]().decode()


@pytest.mark.usefixtures("made_up")
def test_all_is_up_to_date_and_each_stage_shows_what_it_made() -> None:
    assert "All 2 stages are up to date" in shown("pipeline.html")
    assert 'href="stages/train.html"' in source("pipeline.html")
    train = shown("stages/train.html")
    assert "val accuracy 0.75" in train
    assert "2.0 kB" in train
    assert disk.digest("weights")[:8] in train
    assert "Training loss by epoch" in source("stages/train.html")
    assert "runs after prepare" in train
    assert "No run of it was recorded in this folder" in train
    prepare = source("stages/prepare.html")
    assert "&lt;b&gt;one&lt;/b&gt;" in prepare
    assert prepare.count('src="data:image/png') == 2


@pytest.mark.usefixtures("made_up")
def test_a_stage_that_is_out_of_date_says_which_value_changed_from_what_to_what() -> None:
    write_lock(lr=0.3, gone="<i>x</i>")
    files.write("p.py", "other")
    page = shown("pipeline.html")
    assert "2 of 2 stages are not up to date" in page
    assert "prepare out of date p.py changed" in page
    assert "train.lr was 0.3 , is 0.1" in page
    assert "prepare has to run first" in page
    train = shown("stages/train.html")
    assert "train.gone was <i>x</i> , is none" in train
    assert "train.lr 0.1 was 0.3" in train
    assert "dvc repro train" in train
    assert "<i>" not in source("stages/train.html")


@pytest.mark.usefixtures("made_up")
def test_a_stage_that_failed_shows_its_log() -> None:
    run = StageRun(started=1e9, pid=1, seconds=75, exit_code=3)
    files.write(stage_runs.FOLDER / "stages" / "train.json", run.model_dump_json())
    files.write(stage_runs.FOLDER / "logs" / "train.log", "<script>alert(1)</script>\n")
    assert "dvc.lock names outputs of another one" in shown("stages/train.html")
    Path("weights").unlink()
    assert "Its last run ended with exit code 3" in shown("pipeline.html")
    train = shown("stages/train.html")
    assert "state failed" in train
    assert "1 min 15 s" in train
    assert "<script>alert(1)</script>" in train
    assert "<script>alert" not in source("stages/train.html")
    assert "another one" not in train


@pytest.mark.usefixtures("made_up")
def test_a_missing_output_has_a_way_back() -> None:
    Path("metrics/train.json").unlink()
    page = shown("pipeline.html")
    assert "Git has it: git checkout metrics/train.json" in page
    assert "train missing" in page


@pytest.mark.usefixtures("made_up")
def test_the_cache_is_the_remedy_only_if_it_has_all_that_is_missing() -> None:
    digest = disk.digest("weights")
    assert digest
    files.write(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}", Path("weights").read_bytes())
    Path("weights").unlink()
    assert "1 of 2 stages is not up to date. dvc checkout" in shown("pipeline.html")
    Path("metrics/train.json").unlink()
    assert "1 of 2 stages is not up to date. dvc repro" in shown("pipeline.html")


@pytest.mark.usefixtures("made_up")
def test_a_hostile_name_is_a_text_and_its_page_is_in_the_folder() -> None:
    name = "../../<img src=x>"
    stage = {"cmd": "<b>rm</b>", "outs": ["../secret.png", "/etc/secret.md"]}
    files.write("dvc.yaml", yaml.safe_dump({"stages": DECLARED | {name: stage}}))
    files.write("../secret.png", "secret")
    paths = pipeline.resources(read()).keys()
    (path,) = paths & {pipeline.path_of(name)}
    assert re.fullmatch(r"stages/[0-9a-f]{12}\.html", path)
    assert not [path for path in paths if ".." in path or "secret" in path]
    for page in ("pipeline.html", path):
        assert name in shown(page)
        assert "<img src=x" not in source(page)
        assert "<b>rm" not in source(page)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("file", ["dvc.yaml", "dvc.lock", "params.yaml"])
def test_a_file_that_is_broken_is_named_and_the_other_pages_stand(file: str) -> None:
    files.write(file, "<b>: [")
    assert f"The pipeline can't be read. {file} is not YAML" in shown("pipeline.html")
    assert "<b>:" not in source("pipeline.html")


@pytest.fixture
def page(
    project: Project, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The pages of the real pipeline as files, on a phone; DVC ran the first stage."""
    project.run("dvc", "repro", "fetch")
    monkeypatch.chdir(project.folder)
    for path, make in {**render.static(), **pipeline.resources(read())}.items():
        files.write(tmp_path / path, make())
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto((tmp_path / "pipeline.html").as_uri())
    yield page
    page.close()


def test_from_the_graph_to_what_fetch_printed_on_a_phone(page: Any) -> None:
    assert "6 of 7 stages are not up to date" in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("group", name="The stages").get_by_role("link", name="fetch").click()
    page.wait_for_url("**/stages/fetch.html")
    assert "uci: " in page.inner_text(".log")
    assert page.inner_text("dl.facts").split("\n")[:2] == ["state", "up to date"]
    assert page.get_by_role("img", name="Images of class 7").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("link", name="prepare").first.click()
    assert "dvc.lock does not have it" in page.inner_text("main")


@pytest.mark.usefixtures("made_up")
def test_what_links_lead_to_outside_is_not_shown(tmp_path: Path) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret.json"
    secret.write_text('{"secret": "s3cret"}')
    for name in ("a.png", "b.json", "c.md"):
        Path(name).symlink_to(secret)
    files.write("folder/a", "")
    Path("folder/model.json").symlink_to(secret)
    outs = ["a.png", "b.json", "c.md", "folder"]
    files.write("dvc.yaml", yaml.safe_dump({"stages": {"evil": {"cmd": "e", "outs": outs}}}))
    assert "s3cret" not in source("stages/evil.html")
    assert "outputs/a.png" not in pipeline.resources(read())
    Path("b.json").unlink()
    files.write("b.json", secret.read_bytes())
    assert "s3cret" in source("stages/evil.html")
