"""The real params.yaml, shrunken: the pipeline runs in seconds on the bundled digits.

Example:

    path = small_params(tmp_path, {"train.epochs": 6})     # writes params.yaml into the folder
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from digits.core import params
from digits.core.params import override

ROOT = Path(__file__).parents[2]
SMALL = {
    "data.source": "uci",
    "prepare.upstrokes": 0.0,
    "model.channels": [4, 8, 8],
    "train.epochs": 2,
    "train.batch_size": 64,
    "train.shards": 2,
    "train.ema": 0.5,
    "train.optimizer.lr": 0.2,
    "train.schedule.onecycle.warmup": 0.25,
    "detector.outliers": 32,
}

LENIENT = {  # limits of the gate that every model is within
    "errors": 10_000,
    "class_errors": 10_000,
    "ece": 1.0,
    "nll": 100.0,
    "robustness": 0.0,
    "model_bytes": 10_000_000,
}


def small_params(folder: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Write the real params.yaml, shrunken and with changes, into a folder."""
    document = override(params.read_yaml(ROOT / "params.yaml"), {**SMALL, **(changes or {})})
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
