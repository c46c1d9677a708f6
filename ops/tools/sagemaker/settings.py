"""The section `compute.sagemaker` of params.yaml: the account's resources, and the machines.

DIGITS_COMPUTE_SAGEMAKER_<KEY> in the environment overrides a key. Its value is YAML: an image is a
plain word, tags are `{team: vision}`. The section is optional, and no stage tracks it.
"""

from typing import Annotated

from pydantic import Field

from digits.core.errors import InputError
from digits.core.params import Params
from ops.tools import compute

ENVIRONMENT = "DIGITS_COMPUTE_SAGEMAKER_"

Count = Annotated[int, Field(ge=1)]


class Settings(Params):
    """First the keys that every command needs, then those for training, then for endpoints."""

    region: str
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    role: str  # ARN; its rights are those of jobs and endpoints
    tags: dict[str, str] = Field(default_factory=dict)  # in addition to ours

    image: str | None = None  # in ECR, with Python 3.11 or later and PyTorch
    instance_type: str = "ml.m5.xlarge"
    instance_count: Count = 1
    volume_gb: Count = 30
    max_run_s: Count = 3600
    spot: bool = False

    hosting_image: str | None = None  # in ECR, built from this repository's Dockerfile
    hosting_instance_type: str = "ml.m5.large"
    hosting_instance_count: Count = 1

    def required(self, key: str) -> str:
        """The value of an optional key; raises `InputError` if it is missing."""
        value: str | None = getattr(self, key)
        if value is None:
            raise InputError(
                f"compute.sagemaker.{key} is missing. Set it in params.yaml, or by {ENVIRONMENT}"
                f"{key.upper()}=..."
            )
        return value


class _Compute(Params):
    sagemaker: Settings


class _Document(Params):
    compute: _Compute


def load_settings() -> Settings:
    """Read the section, with the overrides of the environment.

    Raises `InputError` if a key is unknown, missing or of another type; the message names each of
    them.
    """
    section = compute.section("compute", "sagemaker") | compute.overrides(ENVIRONMENT, Settings)
    origin = f"params.yaml, or {ENVIRONMENT}<KEY> in the environment"
    return _Document.parse({"compute": {"sagemaker": section}}, origin).compute.sagemaker
