"""The whole pipeline through the real `dvc` and `git` commands, in a scratch copy, offline."""

import json
import os
from pathlib import Path

import pytest

from digits.data.dataset import digest, load
from tests.helpers import warm_python
from tests.helpers.project import Project
from tests.helpers.small import SMALL

pytestmark = pytest.mark.slow(100)

FOUR_SHARDS = SMALL | {"train.shards": 4}  # two would give the same sum in any order
SETTINGS = [f"--set-param={key}={json.dumps(value)}" for key, value in FOUR_SHARDS.items()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Reproduced once on the bundled digits, with the results committed."""
    made = Project.scratch(tmp_path_factory.mktemp("scratch") / "project")
    made.run("dvc", "exp", "run", *SETTINGS)
    made.commit("small")
    return made


def test_every_output_is_there_and_up_to_date(project: Project) -> None:
    lock = project.lock()["stages"]
    assert isinstance(lock, dict)
    expected = {"fetch", "prepare", "train", "detect", "export", "evaluate", "describe"}
    assert set(lock) == expected
    for stage in lock.values():
        for out in stage["outs"]:
            assert (project.folder / out["path"]).exists()
    assert "Data and pipelines are up to date" in project.run("dvc", "repro")


def test_git_holds_metrics_and_nothing_large(project: Project) -> None:
    tracked = project.run("git", "ls-files").splitlines()
    assert "metrics/evaluation.json" in tracked
    assert "metrics/plots/overview.png" in tracked
    data = ["data/corrections.csv", "data/own/README.md"]
    assert [name for name in tracked if name.startswith(("data/", "models/"))] == data
    assert project.run("git", "status", "--porcelain") == ""


def test_the_metrics_are_those_of_the_files(project: Project) -> None:
    found = json.loads((project.folder / "metrics" / "evaluation.json").read_text())
    assert found["test_set"] == digest(load(project.folder / "data" / "prepared", "test"))
    assert found["source"] == "uci"


def test_the_same_bytes_again_with_another_number_of_workers(project: Project) -> None:
    """And by the real Python throughout, where other tests have it answered by a warm one."""
    before = project.lock()
    real = warm_python.REAL_PATH
    project.run("dvc", "repro", "--force", DIGITS_COMPUTE_WORKERS="3", PATH=real)
    assert project.lock() == before
    assert project.run("git", "status", "--porcelain") == ""


def test_an_experiment_changes_one_parameter(project: Project) -> None:
    before = project.lock()
    words = ("-S", "train.optimizer.lr=0.00001", "-S", "model.channels=[4,4,8]")
    project.run("dvc", "exp", "run", "--name", "slow", *words)
    changed = project.json("dvc", "params", "diff", "--json")
    assert changed["params.yaml"] == {
        "train.optimizer.lr": {"old": 0.2, "new": 1e-05, "diff": -0.19999},
        "model.channels": {"old": "[4, 8, 8]", "new": "[4, 4, 8]"},
    }
    after = project.lock()
    assert isinstance(before["stages"], dict)
    assert isinstance(after["stages"], dict)
    assert after["stages"]["prepare"] == before["stages"]["prepare"]
    assert after["stages"]["train"] != before["stages"]["train"]
    difference = project.json("dvc", "metrics", "diff", "--json")
    assert "accuracy" in difference["metrics/evaluation.json"]  # type: ignore[operator]
    assert "slow" in project.run("dvc", "exp", "show", "--csv")
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.optimizer.name=sdg", "train.optimizer.name is 'sdg'; expected 'adam', 'adamw'"),
        ("train.seed=abc", "train.seed is 'abc'; expected a valid integer"),
        ("data.source=minst", "data.source is 'minst'; expected 'mnist', 'uci' or"),
        ("model.chanels=[1,2,3]", "Could not override"),
    ],
)
def test_a_bad_setting_stops_with_its_reason(project: Project, setting: str, message: str) -> None:
    output = project.run("dvc", "exp", "run", "--temp", "-S", setting, code=255)
    assert message in output
    assert project.run("git", "status", "--porcelain") == ""


def test_metrics_and_plots_are_shown(project: Project) -> None:
    shown = project.json("dvc", "metrics", "show", "--json")
    files = shown[""]["data"]  # type: ignore[index]
    assert set(files) == {"metrics/data.json", "metrics/train.json", "metrics/evaluation.json"}
    project.run("dvc", "plots", "show", "--out", str(project.folder.parent / "plots"))
    page = (project.folder.parent / "plots" / "index.html").read_text()
    for title in ("Training loss", "Confusion matrix", "Calibration", "errors.png"):
        assert title in page


def test_demo_leaves_the_tree_clean_and_works_twice(project: Project, tmp_path: Path) -> None:
    """In a fresh clone, whose dvc.lock names data that are not here; then from DVC's run cache."""
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "--quiet", ".", str(clone.folder))
    clone.identify()
    for _ in range(2):
        output = clone.run("python", "-m", "ops.demo")
        assert "accuracy" in output.split("Ran experiment(s)")[-1]
        assert clone.run("git", "status", "--porcelain") == ""
        assert (clone.folder / "demo" / "digit-classifier" / "model.onnx").exists()
        assert (clone.folder / "demo" / "metrics" / "plots" / "overview.png").exists()
    assert "Stage 'train' is cached" in output
    found = json.loads((clone.folder / "demo" / "metrics" / "evaluation.json").read_text())
    assert found["accuracy"] > 0.95


def test_verify_runs_a_commit_anew_and_compares(project: Project) -> None:
    words = ("python", "-m", "ops.verify")
    assert "identical: all 17 outputs" in project.run(*words)
    project.run("git", "checkout", "--quiet", "-b", "forged")
    metrics = project.folder / "metrics" / "evaluation.json"
    found = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(found | {"accuracy": 0.999}))
    project.commit("metrics alone")
    output = project.run(*words, "--here", code=1)
    assert "metrics/evaluation.json is not the file that dvc.lock names" in output
    assert json.loads(project.run(*words, "--here", "--json", code=1))["verdict"] == "stale"
    project.forge_lock("metrics/evaluation.json")
    project.commit("forged")
    output = project.run(*words, "forged", code=1)
    assert "different: " in output
    assert "BEYOND 0.0015" in output
    project.run("git", "checkout", "--quiet", "main")
    assert "'no-such-branch' is not a revision" in project.run(*words, "no-such-branch", code=2)


@pytest.mark.skipif("MNIST_MIRROR" not in os.environ, reason="MNIST_MIRROR names no folder or URL")
def test_one_epoch_of_real_mnist(project: Project) -> None:
    mirror = os.environ["MNIST_MIRROR"]
    mirror = mirror if "://" in mirror else str(Path(mirror).resolve())
    project.run("git", "checkout", "--quiet", "main~1")
    short = ("-S", "train.epochs=1", "-S", "train.ema=0.98", "-S", "model.channels=[4,8,16]")
    short += ("-S", "model.convolutions=[1,1,2]", "-S", "detector.outliers=100")
    project.run("dvc", "exp", "run", *short, MNIST_MIRROR=mirror)
    found = json.loads((project.folder / "metrics" / "evaluation.json").read_text())
    assert (found["source"], found["images"]) == ("mnist", 10_000)
    assert (
        found["test_set"] == "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b"
    )  # of the published files
    assert found["accuracy"] > 0.97
    report = json.loads((project.folder / "metrics" / "data.json").read_text())
    assert report["upstrokes"] == 485
    assert report["images"] == {"train": 54_000 + 485, "val": 6_000, "test": 10_000}
