"""The section `compute`: where and how stages run, which cannot change their results."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from digits.core.errors import InputError
from digits.core.params import Params, parse_yaml, read_yaml
from digits.core.workers import count_workers

PREFIX = "DIGITS_COMPUTE_"  # of variables


class ComputeParams(Params):
    workers: Literal["auto"] | Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)]
    backend: Literal["local", "sagemaker"]

    def threads(self, jobs: int = 1) -> int:
        """Threads of each process on this machine, if so many jobs share what is meant for one."""
        if self.workers == "auto":
            return max(1, count_workers() // (self.processes * jobs))
        return max(1, self.workers // jobs)


class LaunchParams(Params):
    compute: ComputeParams


def load_params() -> ComputeParams:
    """Read the section `compute` of params.yaml, with the overrides of the environment."""
    values = section("compute") | overrides(PREFIX, ComputeParams)
    values.pop("sagemaker", None)  # ops/tools/sagemaker/settings.py reads it
    origin = f"params.yaml, or {PREFIX}<KEY> in the environment"
    return LaunchParams.parse({"compute": values}, origin).compute


def section(*names: str) -> dict[str, Any]:
    """A section of params.yaml, or a section in it; empty if it is missing.

    Raises `InputError` if it is no section.
    """
    value: Any = read_yaml("params.yaml")
    for name in names:
        value = value.get(name) or {}
        if not isinstance(value, dict):
            raise InputError(f"params.yaml: {name} is {value!r}; expected keys and values")
    return dict(value)


def overrides(prefix: str, section: type[Params]) -> dict[str, Any]:
    """The values of a section's keys in the environment, which are YAML."""
    names = {key: f"{prefix}{key.upper()}" for key in section.model_fields}
    return {
        key: parse_yaml(f"{key}: {os.environ[name]}".encode(), name)[key]
        for key, name in names.items()
        if name in os.environ
    }


def environment_for_clones() -> dict[str, str]:
    """Variables for a pipeline that runs in another folder: MNIST_MIRROR as an absolute path."""
    mirror = os.environ.get("MNIST_MIRROR")
    if mirror and Path(mirror).is_dir():
        mirror = str(Path(mirror).resolve())
    return {"MNIST_MIRROR": mirror} if mirror else {}
