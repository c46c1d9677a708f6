"""The section `compute`: where and how stages run, which cannot change their results."""

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
    """Read the section `compute`, with the overrides of the environment."""
    section = dict(read_yaml(path).get("compute", {}))
    section.pop("sagemaker", None)  # ops/tools/sagemaker/settings.py reads it
    for key in ComputeParams.model_fields:
        value = os.environ.get(f"DIGITS_COMPUTE_{key.upper()}")
        if value is not None:
            section[key] = int(value) if value.isdecimal() else value
    origin = f"{path}, or DIGITS_COMPUTE_<KEY> in the environment"
    return LaunchParams.parse({"compute": section}, origin).compute


def environment_for_clones() -> dict[str, str]:
    """Variables for a pipeline that runs in another folder: MNIST_MIRROR as an absolute path."""
    mirror = os.environ.get("MNIST_MIRROR")
    if mirror and Path(mirror).is_dir():
        mirror = str(Path(mirror).resolve())
    return {"MNIST_MIRROR": mirror} if mirror else {}
