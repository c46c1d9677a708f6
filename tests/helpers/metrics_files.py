"""Metrics files of runs that err on given images.

Example:

    files = metrics_files([3, 14], nll=0.02)     # evaluation.json and errors.csv, by name
    (folder / "errors.csv").write_bytes(files["errors.csv"])
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CLASSES = tuple("0123456789")


def metrics_files(
    wrong: Iterable[int], size: int = 10_000, classes: Sequence[str] = CLASSES, **changes: Any
) -> dict[str, bytes]:
    """The files of a run: image i is of class i modulo 10, and a wrong one is taken for the next.

    `changes` replace keys of evaluation.json; `recall.3`-like keys go in as `recall={"3": ...}`.
    """
    wrong = sorted(wrong)
    support = {c: len(range(k, size, 10)) for k, c in enumerate(classes)}
    errors = {c: sum(i % 10 == k for i in wrong) for k, c in enumerate(classes)}
    scores: dict[str, Any] = {
        "source": "mnist",
        "images": size,
        "errors": len(wrong),
        "accuracy": round(1 - len(wrong) / size, 6),
        "nll": 0.01,
        "ece": 0.001,
        "recall": {c: round(1 - errors[c] / support[c], 6) for c in classes},
        "support": support,
        "robustness": {"rotation": 0.9, "mean": 0.9},
        "parameters": 70_330,
        "model_bytes": 286_797,
        "model": "a" * 64,
        "test_set": "b" * 64,
    }
    for key, value in changes.items():
        scores[key] = {**scores[key], **value} if isinstance(value, Mapping) else value
    rows = [f"{i},{classes[i % 10]},{classes[(i + 1) % 10]},0.9000\n" for i in wrong]
    return {
        "evaluation.json": json.dumps(scores).encode(),
        "errors.csv": "".join(["index,label,predicted,confidence\n", *rows]).encode(),
    }
