"""The loop that keeps a model alive, whole and real: predict, label, train anew, judge, promote."""

import csv
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zc.lockfile
from PIL import Image

from digits.data import dataset
from digits.data.dataset import Raw
from ops.tools.lock import held
from tests.helpers import shapes
from tests.helpers.project import Project
from tests.helpers.servers import serve
from tests.helpers.small import SMALL
from tests.helpers.workflows import GOOD, repro

pytestmark = pytest.mark.slow(60)

PYTHON = ("python", "-m")
CORRECTIONS = "data/corrections.csv"
DVC = "data/corrections.dvc"


def label(predictions: Path, labels: dict[str, str]) -> list[str]:
    """Fill a column `label` in, where the model was unsure; the paths that it was filled in for."""
    with open(predictions, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["review"] == "true"]
    with open(predictions.with_name("labels.csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "label"])
        writer.writeheader()
        # As pandas writes a column of whole numbers that has gaps.
        writer.writerows({**row, "label": f"{labels[row['path']]}.0"} for row in rows)
    return [row["path"] for row in rows]


def test_labelled_images_are_learnt_from_and_the_model_promoted(tmp_path: Path, uci: Raw) -> None:
    project = Project.scratch(tmp_path / "project")
    repro(project, GOOD)
    promote = (*PYTHON, "ops.registry", "promote")
    project.run(
        "dvc", "remote", "add", "--force", "--default", "storage", str(tmp_path / "storage")
    )
    project.commit("a remote")
    project.run("dvc", "push", "--quiet")
    project.run(*promote)

    # Scans that arrive: the bundled digits' test images, moved a little, and one as it is.
    (tmp_path / "scans").mkdir()
    labels = {}
    for i in range(24):
        image = uci.test.images[i] if i == 0 else np.roll(uci.test.images[i], 2, axis=1)
        path = tmp_path / "scans" / f"{i:02}.png"
        Image.fromarray(image).save(path)
        labels[str(path)] = str(uci.test.labels[i])
    out = tmp_path / "out.csv"
    project.run(*PYTHON, "ops.predict", str(tmp_path / "scans"), str(out), "--threshold", "1")
    marked = label(out, labels)
    assert len(marked) == 24

    correct = (*PYTHON, "ops.correct", str(out.with_name("labels.csv")))
    with closing(zc.lockfile.LockFile(project.folder / ".dvc/tmp/lock")):  # as a long dvc push does
        said = project.run(*correct, code=2)
    assert "dvc add data/corrections failed, so nothing has changed: ERROR: " in said
    assert project.run("git", "status", "--porcelain", "--untracked-files=all") == ""
    with held(project.folder / ".dvc/tmp/correct.lock", ""):
        assert "another digits correct runs here" in project.run(*correct, code=2)
    assert "24 new, 0 known already; 24 in all" in project.run(*correct)
    assert "0 new, 24 known already; 24 in all" in project.run(*correct)
    changed = project.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    assert changed == [f" M {CORRECTIONS}", f"?? {DVC}"]
    project.run("git", "add", CORRECTIONS, DVC)

    said = project.run("dvc", "repro")
    assert "corrections: 23 images added for training; left out: 0 that are training" in said
    assert "images already, 1 that are test images" in said
    before = dataset.load(project.folder / "data" / "raw", "test")
    prepared = {
        name: dataset.load(project.folder / "data/prepared", name) for name in ("test", "val")
    }
    assert dataset.digest(prepared["test"]) == dataset.digest(before)
    assert len(prepared["val"]) == 120
    assert len(dataset.load(project.folder / "data/prepared", "train")) == 1080 + 23
    report = json.loads((project.folder / "metrics/data.json").read_text())
    assert report["corrections"] == 23
    project.commit("23 corrections")
    project.run("dvc", "push", "--quiet")
    assert "against HEAD" in project.run(
        *PYTHON, "ops.gate", "--base", "HEAD~", "--rules", "params.yaml"
    )
    project.run(*promote)
    assert "production is v1.1.0" in project.run(*PYTHON, "ops.registry", "history")

    # Elsewhere: what prepare read is brought along, by --temp, by verify, and by pull.
    project.run("dvc", "exp", "run", "--temp", "--force", "-S", "train.epochs=1")
    assert "identical: all 17 outputs" in project.run(*PYTHON, "ops.verify")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "--quiet", str(project.folder), str(clone.folder))
    assert "does not exist. Get it from DVC: dvc checkout, or dvc pull" in clone.run(
        *correct, code=2
    )
    clone.run("dvc", "pull", "--quiet")
    assert "Data and pipelines are up to date" in clone.run("dvc", "repro")

    # A label that goes against the one that stands there.
    out.with_name("labels.csv").write_text(
        f"path,label\n{marked[3]},{9 - int(labels[marked[3]])}\n"
    )
    assert f"{marked[3]} is labelled" in project.run(*correct, code=2)
    out.with_name("labels.csv").write_text(f"path,label\n{marked[3]},ten\n")
    assert "line 2" in project.run(*correct, code=2)
    source = project.folder / "data" / "prepared" / "source.json"
    before = source.read_text()
    source.unlink()  # it may be a link into the cache
    source.write_text(before.replace('"ink-box"', '"resize"'))
    assert "so they would be in two forms. Name a model of" in project.run(*correct, code=2)
    assert project.run("git", "status", "--porcelain") == ""


def test_a_folder_of_twelve_classes_goes_all_the_way(tmp_path: Path) -> None:
    """dvc repro, gate, promotion, deployment, batch, server and verify on images of 32 x 24."""
    project = Project.scratch(tmp_path / "project")
    shapes.write_shapes(project.folder / "data" / "own")
    project.run("dvc", "add", "--quiet", "data/own/train", "data/own/test")
    project.commit("images")
    more = {"data.source": "folder", "train.epochs": 12, "train.batch_size": 32, "train.ema": 0.9}
    repro(project, SMALL | more | {"model.channels": [8, 16, 16]})
    project.run(
        "dvc", "remote", "add", "--force", "--default", "storage", str(tmp_path / "storage")
    )
    project.commit("a remote")
    found = json.loads((project.folder / "metrics/evaluation.json").read_text())
    assert list(found["recall"]) == sorted(shapes.SHAPES)
    assert found["accuracy"] > 0.9
    card = (project.folder / "metrics/model-card.md").read_text()
    assert "grey images of 32 x 24 pixels" in card
    assert "telling one of its classes from the others" in card

    project.run("dvc", "push", "--quiet")
    assert "PASS" in project.run(*PYTHON, "ops.gate", "--first")
    project.run(*PYTHON, "ops.registry", "promote")
    project.run(*PYTHON, "ops.deploy", "--to", str(tmp_path / "served"))
    (tmp_path / "scans").mkdir()
    for name in shapes.SHAPES:
        shapes.draw(name, 77, scale=3, paper="white").save(tmp_path / "scans" / f"{name}.png")
    words = (
        str(tmp_path / "scans"),
        str(tmp_path / "out.csv"),
        "--model",
        str(tmp_path / "served"),
    )
    project.run(*PYTHON, "ops.predict", *words)
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(Path(row["path"]).stem == row["predicted"] for row in rows) >= 10
    assert "p11" in rows[0]
    with serve(tmp_path / "served", tmp_path) as server:
        for row in rows:
            answer = server.ask("/predict", Path(row["path"]).read_bytes(), "image/png").json
            assert answer["version"] == "v1.0.0"
            assert answer["predictions"][0]["predicted"] == row["predicted"]
            assert sorted(answer["predictions"][0]["probabilities"]) == sorted(shapes.SHAPES)
    assert "identical: all 17 outputs" in project.run(*PYTHON, "ops.verify")

    shapes.draw("box", 99).save(project.folder / "data/own/train/box/more.png")
    assert "Running stage 'fetch'" in project.run("dvc", "repro", "fetch")
