"""The stages as functions from files to files, with the paths that dvc.yaml gives them.

Example:

    run_train(small_params(tmp_path), prepared, tmp_path)    # writes weights.safetensors, metrics/
    run_export(prepared, tmp_path)
"""

from pathlib import Path

from stages import describe, detect, evaluate, export, fetch, prepare, train


def run_fetch(params: Path, folder: Path) -> None:
    fetch.main(["--params", str(params), "--out", str(folder / "raw")])


def run_prepare(params: Path, folder: Path) -> None:
    paths = {"params": params, "raw": folder / "raw", "out": folder / "prepared"}
    corrections = folder / "corrections.csv"
    if not corrections.exists():
        corrections.write_text("sha256,label,origin\n")
    more = {"corrections": corrections, "metrics": folder / "metrics" / "data.json"}
    prepare.main(_words(paths | more))


def run_train(params: Path, prepared: Path, folder: Path) -> None:
    paths = {"params": params, "data": prepared, "weights": folder / "weights.safetensors"}
    metrics = {"metrics": folder / "metrics" / "train.json", "curve": folder / "training.csv"}
    train.main(_words(paths | metrics | {"resume": folder / ".resume"}))


def run_detect(params: Path, prepared: Path, folder: Path) -> None:
    paths = {"params": params, "data": prepared, "detector": folder / "detector.safetensors"}
    detect.main(_words(paths))


def run_export(prepared: Path, folder: Path) -> None:
    weights = {name: folder / f"{name}.safetensors" for name in ("weights", "detector")}
    export.main(_words(weights | {"data": prepared, "out": folder / "model"}))


def run_evaluate(prepared: Path, folder: Path) -> None:
    paths = {"model": folder / "model", "data": prepared, "plots": folder / "metrics" / "plots"}
    metrics = folder / "metrics"
    files = {"metrics": metrics / "evaluation.json", "errors": metrics / "errors.csv"}
    evaluate.main(_words(paths | files))


def run_describe(prepared: Path, folder: Path) -> None:
    paths = {"model": folder / "model", "data": prepared, "plots": folder / "metrics" / "plots"}
    metrics = {"metrics": folder / "metrics" / "evaluation.json"}
    metrics["confusion"] = folder / "metrics" / "plots" / "confusion.csv"
    describe.main(_words(paths | metrics | {"out": folder / "metrics" / "model-card.md"}))


def _words(paths: dict[str, Path]) -> list[str]:
    return [word for name, path in paths.items() for word in (f"--{name}", str(path))]
