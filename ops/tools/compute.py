"""The `compute` section: where and how stages run. None of it can change a byte of the results."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from digits.core.params import Params, read_yaml


class ComputeParams(Params):
    workers: Literal["auto"] | Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)]
    backend: Literal["local", "sagemaker"]


class LaunchParams(Params):
    compute: ComputeParams


def load_params(path: str) -> ComputeParams:
    """The `compute` section, with what the environment says in its place."""
    section = dict(read_yaml(path).get("compute", {}))
    section.pop("sagemaker", None)  # read by ops/tools/sagemaker/settings.py, where it is used
    for key in ComputeParams.model_fields:
        stated = os.environ.get(f"DIGITS_COMPUTE_{key.upper()}")
        if stated is not None:
            section[key] = int(stated) if stated.isdecimal() else stated
    origin = f"{path}, or DIGITS_COMPUTE_<KEY> in the environment"
    return LaunchParams.parse({"compute": section}, origin).compute


def elsewhere() -> dict[str, str]:
    """The environment of a pipeline in another folder: MNIST as it is found from there."""
    mirror = os.environ.get("MNIST_MIRROR")
    if mirror and Path(mirror).is_dir():
        mirror = str(Path(mirror).resolve())
    return {"MNIST_MIRROR": mirror} if mirror else {}
