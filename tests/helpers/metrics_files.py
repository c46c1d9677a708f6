"""Metrics files of runs that err on given images.

Example:

    files = metrics_files([3, 14], nll=0.02)     # evaluation.json and errors.csv, by name
    (folder / "errors.csv").write_bytes(files["errors.csv"])
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

CLASSES = tuple("0123456789")


def metrics_files(wrong: Iterable[int], size: int = 10_000, **changes: Any) -> dict[str, bytes]:
    """The files of a run: image i shows i modulo 10, and a wrong one is taken for the next digit.

    `changes` replace keys of evaluation.json; `recall.3`-like keys go in as `recall={"3": ...}`.
    """
    wrong = sorted(wrong)
    support = {c: len(range(int(c), size, 10)) for c in CLASSES}
    errors = {c: sum(i % 10 == int(c) for i in wrong) for c in CLASSES}
    scores: dict[str, Any] = {
        "source": "mnist",
        "images": size,
        "errors": len(wrong),
        "accuracy": round(1 - len(wrong) / size, 6),
        "nll": 0.01,
        "ece": 0.001,
        "recall": {c: round(1 - errors[c] / support[c], 6) for c in CLASSES},
        "support": support,
        "robustness": {"rotation": 0.9, "mean": 0.9},
        "parameters": 70_330,
        "model_bytes": 286_797,
        "model": "a" * 64,
        "test_set": "b" * 64,
    }
    for key, value in changes.items():
        scores[key] = {**scores[key], **value} if isinstance(value, Mapping) else value
    rows = [f"{i},{i % 10},{(i + 1) % 10},0.9000\n" for i in wrong]
    return {
        "evaluation.json": json.dumps(scores).encode(),
        "errors.csv": "".join(["index,label,predicted,confidence\n", *rows]).encode(),
    }
