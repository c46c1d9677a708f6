import hashlib
import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from digits.core.errors import InputError
from ops import verify
from ops.tools.dvc_files import Locked
from ops.verify import Record

DIGESTS = {"fetch": {"data/raw": "1"}, "train": {"weights": "2", "metrics/train.json": "3"}}
METRICS: dict[str, dict[str, Any]] = {
    "metrics/evaluation.json": {"accuracy": 0.996, "nll": 0.012, "ece": 0.001},
    "metrics/train.json": {
        "val_accuracy": 0.995,
        "val_nll": 0.02,
        "kernels": "native",
        "device": "cpu",
        "instruction_set": "NEON",
        "torch": "1.0",
    },
}
INPUTS = {"train": {"cmd": "python", "train.epochs": 8, "digits/training/loop.py": "4"}}
COMMITTED = Record(DIGESTS, METRICS, INPUTS)


def changed(stage: str, path: str, **metrics: float) -> Record:
    """A run whose output `path` differs, with other metrics."""
    digests, measured = deepcopy(DIGESTS), deepcopy(METRICS)
    digests[stage][path] = "other"
    measured["metrics/evaluation.json"] |= metrics
    return Record(digests, measured, INPUTS)


def test_the_same_bytes_are_identical() -> None:
    comparison = verify.compare(COMMITTED, COMMITTED)
    assert comparison.verdict == "identical"
    assert comparison.lines == ["identical: all 3 outputs have the same bytes"]


def test_other_bytes_with_close_metrics_are_equivalent() -> None:
    comparison = verify.compare(COMMITTED, changed("train", "weights", accuracy=0.9955))
    assert comparison.verdict == "equivalent"
    output = "\n".join(comparison.lines)
    assert "1 of 3 outputs have different bytes" in output
    assert "the first stage that diverges: train (weights)" in output
    assert "accuracy 0.996 -> 0.9955, within 0.0015" in output
    assert "PyTorch, its kernels and its device are the same" in output


def with_training(record: Record, **training: str) -> Record:
    metrics = deepcopy(record.metrics)
    metrics["metrics/train.json"] |= training
    return replace(record, metrics=metrics)


@pytest.mark.parametrize("stage", ["train", "detect", "export"])
def test_portable_kernels_leave_no_tolerance_for_the_bytes_of_a_model(stage: str) -> None:
    expected = replace(COMMITTED, digests={**DIGESTS, stage: {"model": "5"}})
    expected = with_training(expected, kernels="portable")
    other = replace(expected, digests={**DIGESTS, stage: {"model": "6"}})
    assert verify.compare(expected, other).verdict == "different"
    on_gpus = [with_training(record, device="cuda") for record in (expected, other)]
    assert verify.compare(*on_gpus).verdict == "equivalent"


def test_the_weights_may_differ_where_the_kernels_do() -> None:
    expected = with_training(COMMITTED, kernels="portable", instruction_set="AVX2")
    actual = changed("train", "weights")
    same = with_training(actual, kernels="portable", instruction_set="AVX2")
    comparison = verify.compare(expected, actual)
    assert comparison.verdict == "equivalent"
    assert "  kernels: portable there, native here" in comparison.lines
    assert "  instruction_set: AVX2 there, NEON here" in comparison.lines
    assert verify.compare(expected, with_training(same, torch="2.0")).verdict == "equivalent"


def test_the_same_model_may_be_scored_with_other_rounding() -> None:
    expected = with_training(COMMITTED, kernels="portable")
    digests = {**DIGESTS, "evaluate": {"metrics/errors.csv": "6"}}
    other = {**DIGESTS, "evaluate": {"metrics/errors.csv": "7"}}
    comparison = verify.compare(
        replace(expected, digests=digests), replace(expected, digests=other)
    )
    assert comparison.verdict == "equivalent"


def test_a_metric_beyond_its_tolerance_is_different() -> None:
    comparison = verify.compare(COMMITTED, changed("train", "weights", accuracy=0.99))
    assert comparison.verdict == "different"
    assert "  accuracy 0.996 -> 0.99, BEYOND 0.0015" in comparison.lines


def test_other_data_are_different_whatever_the_metrics() -> None:
    assert verify.compare(COMMITTED, changed("fetch", "data/raw")).verdict == "different"


@pytest.mark.parametrize(("name", "value"), [("train.epochs", 2), ("digits/training/loop.py", "5")])
def test_a_lock_of_other_code_or_parameters_is_stale_though_all_outputs_agree(
    name: str, value: object
) -> None:
    actual = replace(COMMITTED, inputs={"train": INPUTS["train"] | {name: value}})
    comparison = verify.compare(COMMITTED, actual)
    assert comparison.verdict == "stale"
    assert f"  train: different {name}" in comparison.lines


def test_a_stage_that_the_committed_lock_lacks_is_stale() -> None:
    actual = replace(COMMITTED, inputs=INPUTS | {"export": {"cmd": "python"}})
    assert verify.compare(COMMITTED, actual).verdict == "stale"


def test_committed_metrics_that_are_not_of_their_lock_are_stale() -> None:
    forged = replace(COMMITTED, misfits=["metrics/train.json"])
    assert verify.compare(forged, COMMITTED).verdict == "stale"


LOCK: dict[str, Any] = {
    "stages": {
        "train": {
            "cmd": "t",
            "deps": [{"path": "t.py", "md5": "0" * 32}],
            "outs": [
                {"path": "weights", "md5": "1" * 32},
                *(
                    {"path": path, "md5": hashlib.md5(json.dumps(content).encode()).hexdigest()}
                    for path, content in METRICS.items()
                ),
            ],
        }
    }
}


def run_with(folder: Path, lock: object = LOCK, **metrics: object) -> Record:
    """A run in a folder, with other metrics in evaluation.json."""
    written = deepcopy(METRICS)
    written["metrics/evaluation.json"] |= metrics
    (folder / "metrics").mkdir()
    for path, content in written.items():
        (folder / path).write_text(json.dumps(content))
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": {"cmd": "t"}}}))
    return verify.read_folder(folder)


def test_a_run_is_read_from_its_files(tmp_path: Path) -> None:
    record = run_with(tmp_path)
    assert record.metrics == METRICS
    assert record.digests["train"]["weights"] == "1" * 32
    assert not record.misfits
    assert verify.compare(record, record).verdict == "identical"


@pytest.mark.parametrize("value", [None, True, "0.99", [0.99], float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_no_verdict(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match=r"metrics/evaluation\.json: accuracy is "):
        run_with(tmp_path, accuracy=value)


def without(*keys: str | int) -> dict[str, Any]:
    """LOCK without a key."""
    lock = deepcopy(LOCK)
    part: Any = lock
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    return lock


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        ({}, "dvc.lock: stages is missing"),
        ({"stages": None}, "dvc.lock: stages is None; expected a section"),
        ({"stages": []}, r"dvc.lock: stages is \[\]; expected a section"),
        ([], "dvc.lock holds list; expected a mapping"),
        ({"stages": {}}, "dvc.lock has no train. Run: dvc repro --force"),
        ({"stages": {"train": None}}, "dvc.lock: stages.train is None; expected a section"),
        (without("stages", "train", "outs", 0, "md5"), "dvc.lock: weights has the md5 None"),
        (without("stages", "train", "outs", 0, "path"), "stages.train.outs.0.path is missing"),
        (without("stages", "train", "deps", 0, "path"), "stages.train.deps.0.path is missing"),
    ],
)
def test_a_lock_that_is_broken_is_no_verdict(tmp_path: Path, lock: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_with(tmp_path, lock)


def test_a_committed_lock_without_a_stage_is_stale(tmp_path: Path) -> None:
    record = run_with(tmp_path)
    comparison = verify.compare(replace(record, missing=["train"]), record)
    assert comparison.verdict == "stale"
    assert "  train: the committed dvc.lock lacks it" in comparison.lines


def test_inputs_leave_out_what_other_stages_made() -> None:
    entry = {
        "cmd": "python -m stages.train",
        "deps": [
            {"path": "data/prepared/test-images.npy", "md5": "1"},
            {"path": "data/prepared", "md5": "2.dir"},
            {"path": "data/prepared.csv", "md5": "5"},
            {"path": "requirements-compute.txt", "md5": "3"},
        ],
        "params": {"params.yaml": {"train": {"optimizer": {"lr": 0.4}}}},
        "outs": [{"path": "models/weights.safetensors", "md5": "4"}],
    }
    stage = Locked.parse(entry)
    assert verify.inputs(stage, ("data/prepared", "models/weights.safetensors")) == {
        "cmd": "python -m stages.train",
        "outs": ["models/weights.safetensors"],
        "train.optimizer.lr": 0.4,
        "data/prepared.csv": "5",
        "requirements-compute.txt": "3",
    }
