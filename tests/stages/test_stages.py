"""Each stage on small real data: what comes out, and which input it refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from digits.core import files, kernels
from digits.core.errors import InputError, Unreachable
from digits.data import corrections, dataset
from digits.data.dataset import Labelled, Raw
from digits.model import network, onnx_export
from digits.training import progress
from digits.training.curve import Epoch
from digits.training.loop import Trained
from stages import train
from tests.helpers import run_stages
from tests.helpers.small import small_params
from tests.helpers.tables import IMAGES, LABELS, npz


@pytest.fixture(scope="module")
def run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `train` and the stages after it write."""
    folder = tmp_path_factory.mktemp("run")
    run_stages.run_train(small_params(folder, {"train.epochs": 6}), prepared, folder)
    run_stages.run_detect(folder / "params.yaml", prepared, folder)
    run_stages.run_export(prepared, folder)
    run_stages.run_evaluate(prepared, folder)
    run_stages.run_describe(prepared, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found
    return found


def test_fetch_and_prepare_divide_the_bundled_digits(tmp_path: Path) -> None:
    params = small_params(tmp_path)
    run_stages.run_fetch(params, tmp_path)
    run_stages.run_prepare(params, tmp_path)
    labels = load_digits().target
    parts = {name: dataset.load(tmp_path / "prepared", name) for name in ("train", "val", "test")}
    indices = {name: np.load(tmp_path / "prepared" / f"{name}-indices.npy") for name in parts}
    assert sorted([*indices["train"], *indices["val"]]) == list(range(1200))
    assert indices["test"].tolist() == list(range(597))
    np.testing.assert_array_equal(parts["train"].labels, labels[:1200][indices["train"]])
    np.testing.assert_array_equal(parts["test"].labels, labels[1200:])
    raw = dataset.load_raw(tmp_path / "raw")
    np.testing.assert_array_equal(parts["val"].images, raw.train.images[indices["val"]])
    report = json.loads((tmp_path / "metrics" / "data.json").read_text())
    counts = {"train": 1080, "val": 120, "test": 597}
    assert report == {"source": "uci", "images": counts, "duplicates": 0}


def test_an_unknown_source_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    params = small_params(tmp_path, {"data.source": "minst"})
    with pytest.raises(InputError, match=r"data\.source is 'minst'; expected 'mnist', 'uci' or"):
        run_stages.run_fetch(params, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


def test_a_bad_mirror_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "old").touch()
    monkeypatch.setenv("MNIST_MIRROR", str(tmp_path))
    with pytest.raises(Unreachable, match=r"(?s)MNIST could not be read.*MNIST_MIRROR=.*make demo"):
        run_stages.run_fetch(small_params(tmp_path, {"data.source": "mnist"}), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["params.yaml", "raw"]
    assert [p.name for p in (tmp_path / "raw").iterdir()] == ["old"]


def test_prepare_counts_test_images_that_were_trained_or_validated_on(
    tmp_path: Path, uci: Raw
) -> None:
    leaked = Labelled(uci.test.images.copy(), uci.test.labels)
    leaked.images[:60] = uci.train.images[:60]  # a tenth of these is set apart for validation
    (tmp_path / "raw").mkdir()
    dataset.save(tmp_path / "raw", uci.source, {"train": uci.train, "test": leaked})
    run_stages.run_prepare(small_params(tmp_path), tmp_path)
    assert json.loads((tmp_path / "metrics" / "data.json").read_text())["duplicates"] == 60


def test_prepare_trains_on_corrections_and_says_of_which(tmp_path: Path, uci: Raw) -> None:
    (tmp_path / "raw").mkdir()
    dataset.save(tmp_path / "raw", uci.source, {"train": uci.train, "test": uci.test})
    path = tmp_path / "corrections.csv"
    path.write_text("sha256,label,origin\n")
    corrections.write(path, [(255 - uci.train.images[0], "7", "scans/x.png")])
    run_stages.run_prepare(small_params(tmp_path, {"prepare.upstrokes": 0.1}), tmp_path)
    source, counts = dataset.load_description(tmp_path / "prepared")
    assert source.digests == {**uci.source.digests, "corrections": files.sha256(path)}
    added = json.loads((tmp_path / "metrics" / "data.json").read_text())
    assert (added["upstrokes"], added["corrections"]) == (11, 1)
    assert counts == {"train": 1080 + 11 + 1, "val": 120, "test": 597}
    assert dataset.load(tmp_path / "prepared", "train").labels[-1] == 7


def test_fetch_reads_own_tables_as_the_parameters_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = np.concatenate([IMAGES, IMAGES], 2)
    (tmp_path / "a.npz").write_bytes(npz(x_train=wide, y_train=LABELS, x_test=wide, y_test=LABELS))
    own = {"data.source": "folder", "data.folder": str(tmp_path / "a.npz")}
    for transpose, size in ((False, (8, 16)), (True, (16, 8))):
        params = small_params(tmp_path, {**own, "data.transpose": transpose})
        run_stages.run_fetch(params, tmp_path)
        assert dataset.load(tmp_path / "raw", "train").images.shape[1:] == size
    assert (
        "is outside of this folder, so no commit can have these images" in capsys.readouterr().out
    )
    monkeypatch.chdir(tmp_path)
    run_stages.run_fetch(params, tmp_path)
    assert "outside" not in capsys.readouterr().out


def test_prepare_refuses_a_class_that_is_too_rare(tmp_path: Path, uci: Raw) -> None:
    rare = uci.train.take(np.flatnonzero((uci.train.labels != 3) | (np.arange(1200) < 100)))
    (tmp_path / "raw").mkdir()
    dataset.save(tmp_path / "raw", uci.source, {"train": rare, "test": uci.test})
    with pytest.raises(InputError, match=r"train: \d+ images of class \d, but \d+ of class 3;"):
        run_stages.run_prepare(small_params(tmp_path), tmp_path)
    assert not (tmp_path / "prepared").exists()


def test_train_reports_the_best_epoch_and_what_it_ran_on(run: Path) -> None:
    found = json.loads((run / "metrics" / "train.json").read_text())
    with open(run / "training.csv", newline="") as file:
        curve = list(csv.DictReader(file))
    columns = ["epoch", "learning_rate", "train_loss", "val_accuracy", "val_nll", "calibration"]
    assert list(curve[0]) == columns
    assert found["epochs"] == len(curve)
    best = curve[found["best_epoch"] - 1]
    assert float(best["val_nll"]) == pytest.approx(found["val_nll"], rel=1e-4)
    assert float(best["val_nll"]) == min(float(row["val_nll"]) for row in curve)
    assert (found["device"], found["precision"], found["shards"]) == ("cpu", "float32", 2)


def test_train_writes_the_best_epoch_calibrated_as_it_was(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = [Epoch(1, 0.1, 0.5, 0.9, 0.4, 2.0), Epoch(2, 0.1, 0.4, 0.8, 0.5, 3.0)]
    monkeypatch.setattr(train, "train", lambda network, *_: Trained(network, curve, curve[0]))
    run_stages.run_train(small_params(tmp_path), prepared, tmp_path)
    written = network.load_network(tmp_path / "weights.safetensors")
    assert written.logit_scale.item() == 2 * network.INITIAL_LOGIT_SCALE
    images = dataset.load(prepared, "train").images
    assert written.mean.item() == pytest.approx(images.mean())
    assert written.std.item() == pytest.approx(images.std())
    found = json.loads((tmp_path / "metrics" / "train.json").read_text())
    assert (found["epochs"], found["best_epoch"], found["val_accuracy"]) == (2, 1, 0.9)


def test_a_page_follows_the_training_of_the_network_and_not_that_of_the_detector(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(progress.PROGRESS, str(tmp_path / "progress.json"))
    run_stages.run_detect(small_params(tmp_path), prepared, tmp_path)
    assert not (tmp_path / "progress.json").exists()


def test_the_three_accounts_of_the_errors_agree(run: Path) -> None:
    found = json.loads((run / "metrics" / "evaluation.json").read_text())
    with open(run / "metrics" / "errors.csv", newline="") as file:
        errors = list(csv.DictReader(file))
    with open(run / "metrics" / "plots" / "confusion.csv", newline="") as file:
        confusion = [(r["actual"], r["predicted"], int(r["images"])) for r in csv.DictReader(file)]
    assert found["errors"] == len(errors) > 0
    assert found["accuracy"] == round(1 - len(errors) / 597, 6)
    assert [int(row["index"]) for row in errors] == sorted({int(row["index"]) for row in errors})
    assert sum(n for actual, predicted, n in confusion if actual != predicted) == len(errors)
    for name, recall in found["recall"].items():
        wrong = sum(row["label"] == name for row in errors)
        assert recall == pytest.approx(1 - wrong / found["support"][name], abs=1e-6)
    assert found["support"]["0"] == np.count_nonzero(load_digits().target[1200:] == 0)
    assert len(found["robustness"]) == 11
    assert found["model_bytes"] == (run / "model" / "model.onnx").stat().st_size


def test_the_pictures_are_small_and_readable(run: Path) -> None:
    for name in ("overview.png", "errors.png"):
        path = run / "metrics" / "plots" / name
        assert path.stat().st_size < 300_000
        with Image.open(path) as picture:
            assert picture.width > 1000


def test_same_seed_same_bytes_in_every_output(
    run: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITS_COMPUTE_WORKERS", "3")
    run_stages.run_train(small_params(tmp_path, {"train.epochs": 6}), prepared, tmp_path)
    run_stages.run_detect(tmp_path / "params.yaml", prepared, tmp_path)
    run_stages.run_export(prepared, tmp_path)
    run_stages.run_evaluate(prepared, tmp_path)
    run_stages.run_describe(prepared, tmp_path)
    first, second = contents(run), contents(tmp_path)
    assert {name for name in first if first[name] != second.get(name)} == set()


def test_export_refuses_a_model_that_answers_otherwise_than_the_network(
    run: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the detector were forgotten."""
    convert = onnx_export.to_onnx
    monkeypatch.setattr(onnx_export, "to_onnx", lambda network: convert(network.classifier))
    for name in ("weights.safetensors", "detector.safetensors"):
        (tmp_path / name).symlink_to(run / name)
    with pytest.raises(InputError, match="torch and ONNX Runtime disagree"):
        run_stages.run_export(prepared, tmp_path)
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(not kernels.are_portable(), reason="the processor has other kernels only")
def test_no_stage_computes_with_the_kernels_of_one_make(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MKL_CBWR")
    params = small_params(tmp_path)
    for stage in (
        lambda: run_stages.run_train(params, prepared, tmp_path),
        lambda: run_stages.run_detect(params, prepared, tmp_path),
        lambda: run_stages.run_export(prepared, tmp_path),
    ):
        with pytest.raises(InputError, match="the bytes would be this machine's own"):
            stage()


def test_a_missing_input_says_what_to_run(tmp_path: Path, prepared: Path) -> None:
    with pytest.raises(InputError, match=r"source\.json does not exist. Run: dvc repro"):
        run_stages.run_prepare(small_params(tmp_path), tmp_path)
    with pytest.raises(InputError, match=r"weights\.safetensors does not exist. Run: dvc repro"):
        run_stages.run_export(prepared, tmp_path)
    with pytest.raises(InputError, match=r"model\.json does not exist. Run: dvc repro"):
        run_stages.run_evaluate(prepared, tmp_path)
    with pytest.raises(InputError, match=r"evaluation\.json does not exist. Run: dvc repro"):
        run_stages.run_describe(prepared, tmp_path)
