"""There are no dead knobs: each parameter, changed, changes the outcome or is refused."""

import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides

from digits.core import params
from digits.core.errors import InputError
from digits.training.recipe import Recipe
from stages.train import TrainParams
from tests.helpers import run_stages
from tests.helpers.small import ROOT, small_params

ADAM, ADAMW = {"train.optimizer.name": "adam"}, {"train.optimizer.name": "adamw"}
STUCK = {
    "train.epochs": 4,
    "train.early_stopping.patience": 1,
    "train.early_stopping.min_delta": 100.0,
}
# Likelihood can gain 0.9 nats within these epochs; accuracy cannot gain 0.9.
DEMANDING = {
    "train.epochs": 8,
    "train.optimizer.lr": 0.3,
    "train.batch_size": 32,
    "train.early_stopping.patience": 8,
    "train.early_stopping.min_delta": 0.9,
}

# A value other than the shrunken params.yaml's, and what else must be set for it to matter.
TRAINING: dict[str, tuple[Any, Mapping[str, Any]]] = {
    "model.channels": ([8, 8, 8], {}),
    "model.convolutions": ([1, 1, 1], {}),
    "model.kernel_size": (5, {}),
    "model.padding": (["same", "valid", "same"], {}),
    "model.batch_norm": (False, {}),
    "model.pooling": ("avg", {}),
    "model.pool_size": (2, {}),
    "model.hidden": ([16, 8], {}),
    "model.spatial_dropout": (0.2, {}),
    "model.dense_dropout": (0.2, {}),
    "model.members": (2, {}),
    "train.seed": (1, {}),
    "train.precision": ("bfloat16", {}),
    "train.epochs": (3, {}),
    "train.batch_size": (32, {}),
    "train.shards": (4, {}),
    "train.label_smoothing": (0.2, {}),
    "train.ema": (0.1, {}),
    "train.optimizer.name": ("adam", {}),
    "train.optimizer.lr": (0.01, {}),
    "train.optimizer.weight_decay": (0.1, {}),
    "train.optimizer.sgd.momentum": (0.5, {}),
    "train.optimizer.sgd.nesterov": (False, {}),
    "train.optimizer.adam.betas": ([0.5, 0.9], ADAM),
    "train.optimizer.adam.eps": (1e-2, ADAM),
    "train.optimizer.adamw.betas": ([0.5, 0.9], ADAMW),
    "train.optimizer.adamw.eps": (1e-2, ADAMW),
    "train.schedule.name": ("cosine", {}),
    "train.schedule.step.every": (2, {"train.schedule.name": "step"}),
    "train.schedule.step.gamma": (0.1, {"train.schedule.name": "step"}),
    "train.schedule.cosine.final": (0.5, {"train.schedule.name": "cosine"}),
    "train.schedule.onecycle.warmup": (0.5, {}),
    "train.schedule.onecycle.final": (0.5, {}),
    "train.augmentation.rotation": (20.0, {}),
    "train.augmentation.translation": (1.0, {}),
    "train.augmentation.scale": (0.2, {}),
    "train.augmentation.shear": (20.0, {}),
    "train.augmentation.background": (0.5, {}),
    "train.augmentation.noise": (0.2, {}),
    "train.early_stopping.monitor": ("val_accuracy", DEMANDING),
    "train.early_stopping.patience": (3, STUCK),
    "train.early_stopping.min_delta": (10.0, {"train.epochs": 6}),
}
ELSEWHERE = {
    "detector.seed",
    "detector.outliers",
    "detector.cost",  # tests/digits/outliers/test_detector.py
    "train.device",  # few machines have two: tests/digits/training/test_recipe.py
    "data.source",
    "data.folder",  # tests/digits/data/test_image_folder.py
    "data.size",
    "data.transpose",  # tests/digits/data/test_labelled_tables.py
    "prepare.val_fraction",
    "prepare.seed",
    "prepare.max_class_ratio",
    "prepare.upstrokes",
    "compute.workers",
    "compute.processes",
    "compute.backend",  # tests/ops/tools/sagemaker
}


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def outcome(folder: Path, prepared: Path, changes: Mapping[str, Any]) -> dict[str, bytes]:
    folder.mkdir()
    run_stages.run_train(small_params(folder, changes), prepared, folder)
    written = ("weights.safetensors", "training.csv", "metrics/train.json")
    return {name: (folder / name).read_bytes() for name in written}


@cache
def usual_outcome(context: tuple[tuple[str, Any], ...], prepared: Path) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return outcome(Path(folder, "run"), prepared, dict(context))


def test_every_parameter_is_tried() -> None:
    document = params.read_yaml(ROOT / "params.yaml")
    del document["gate"]  # tests/digits/test_gate.py
    assert {name for name, _ in leaves(document)} == set(TRAINING) | ELSEWHERE


@pytest.mark.slow(3)
@pytest.mark.parametrize("name", TRAINING)
def test_a_changed_parameter_changes_the_outcome(name: str, prepared: Path, tmp_path: Path) -> None:
    value, context = TRAINING[name]
    before = usual_outcome(tuple(context.items()), prepared)
    after = outcome(tmp_path / "after", prepared, {**context, name: value})
    if name == "train.early_stopping.patience":
        assert before["training.csv"] != after["training.csv"]
    else:
        assert before["weights.safetensors"] != after["weights.safetensors"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("val_fraction", 0.2), ("seed", 1), ("max_class_ratio", 1.01), ("upstrokes", 0.2)],
)
def test_preparation_follows_its_parameters(name: str, value: float, tmp_path: Path) -> None:
    params = small_params(tmp_path)
    run_stages.run_fetch(params, tmp_path)
    run_stages.run_prepare(params, tmp_path)
    before = (tmp_path / "prepared" / "train-images.npy").read_bytes()
    changed = small_params(tmp_path, {f"prepare.{name}": value})
    if name == "max_class_ratio":
        with pytest.raises(InputError, match=r"prepare\.max_class_ratio"):
            run_stages.run_prepare(changed, tmp_path)
    else:
        run_stages.run_prepare(changed, tmp_path)
        assert (tmp_path / "prepared" / "train-images.npy").read_bytes() != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.optimizer.name": "sdg"}, r"train\.optimizer\.name is 'sdg'; expected 'adam', 'a"),
        ({"train.schedule.name": "linear"}, r"train\.schedule\.name is 'linear'; expected"),
        ({"train.epochs": 0}, r"train\.epochs is 0; expected greater than or equal to 1"),
        ({"train.epochs": 2.5}, r"train\.epochs is 2\.5; expected a valid integer"),
        ({"train.epochs": "two"}, r"train\.epochs is 'two'; expected a valid integer"),
        ({"train.seed": "abc"}, r"train\.seed is 'abc'; expected a valid integer"),
        ({"train.ema": 1.0}, r"train\.ema is 1\.0; expected less than 1"),
        ({"train.optimizer.lr": -0.1}, r"train\.optimizer\.lr is -0\.1; expected greater than 0"),
        ({"train.optimizer.lr": True}, r"train\.optimizer\.lr is True; expected a valid number"),
        ({"train.device": "tpu"}, r"train\.device is 'tpu'; expected 'auto', 'cpu', 'cuda' or"),
        ({"model.channels": [8, 16]}, r"model\.channels is \[8, 16\]; expected 3 values"),
        ({"model.channels": [8, 16, 32, 64]}, r"32, 64\]; expected at most 3 values"),
        ({"model.channels": 8}, r"model\.channels is 8; expected a list"),
        ({"model.kernel_size": 4}, r"model\.kernel_size is 4; expected 1, 3, 5 or 7"),
        ({"model.dense_dropout": 1.5}, r"model\.dense_dropout is 1\.5; expected less than 1"),
        ({"model.batch_norm": "yes"}, r"model\.batch_norm is 'yes'; expected a valid boolean"),
        ({"model.hidden": [64, -1]}, r"model\.hidden\.1 is -1; expected greater than or equal"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        TrainParams.load(small_params(tmp_path, changes))


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path: Path) -> None:
    path = small_params(tmp_path)
    path.write_text(path.read_text().replace("epochs:", "epoch:"))
    with pytest.raises(
        InputError, match=r"(?s)train\.epochs is missing.*train\.epoch is unknown; "
    ):
        TrainParams.load(path)


def test_the_committed_parameters_name_device_and_precision_outright() -> None:
    recipe = Recipe.parse(params.read_yaml(ROOT / "params.yaml")["train"])
    assert (recipe.device, recipe.precision) == ("cpu", "float32")


def test_an_experiment_changes_only_the_lines_of_its_parameters(tmp_path: Path) -> None:
    """DVC rewrites the whole file, so the committed one is formatted as DVC does it."""
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text()
    path.write_text(before)
    apply_overrides(path, ["train.epochs=9"])
    assert path.read_text() == before.replace("  epochs: 8\n", "  epochs: 9\n")
