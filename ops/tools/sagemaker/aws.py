"""Clients for AWS, and its errors in words that say what helps.

Throttled requests and lost connections are tried again, with growing waits, `ATTEMPTS` times in
all. AWS itself checks what a request says, and refuses a wrong one within a second.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from digits.core import urls
from digits.core.errors import Unreachable
from ops.tools.sagemaker.settings import Settings

TAG = "digits"  # on everything that we create
PROVEN = "digits-proven"  # on an endpoint: the configuration that last answered correctly
PREFIX = "digits-"  # of every name

ATTEMPTS = 8  # with 1, 2, 4, ... up to 20 seconds in between

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE. To see whose they are: "
    "aws sts get-caller-identity"
)
ROLE = (
    "compute.sagemaker.role must be the ARN of a role that trusts sagemaker.amazonaws.com and has "
    "the rights in ops/tools/sagemaker/role.json"
)
IMAGE = (
    "the image must be in ECR in this region (SageMaker pulls from nowhere else), for the "
    "processor of that instance type, and the role must be allowed to pull it"
)
QUOTA = (
    "Request a higher quota (Service Quotas, Amazon SageMaker, '<instance type> for training job "
    "usage' or 'for endpoint usage'), or name another instance type"
)
# The advice for an error, by a pattern in AWS's message; the first match counts.
ADVICE = {
    r"ExpiredToken|InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|SignatureDoesNot"
    r"|InvalidSignature": f"The credentials are wrong or have expired: {CREDENTIALS}",
    r"ResourceLimitExceeded|service limit|quota": QUOTA,
    r"Throttling|TooManyRequests|RequestLimitExceeded|SlowDown": (
        f"Refused {ATTEMPTS} times, with growing waits. Run the same command again later"
    ),
    r"(?i)\becr\b|registry|repository|pull|manifest|image": IMAGE,
    r"PassRole|(?i:could not assume|trust|rolearn)": ROLE,
    r"AccessDenied|not authorized|Forbidden|\b403\b": (
        "The rights that these credentials need are in ops/tools/sagemaker/policy.json, those that "
        "the role needs in role.json next to it"
    ),
    r"NoSuchBucket": "Create it in that region, or name another: compute.sagemaker.bucket",
    r"(?i)capacity": "AWS has no free machine: try later, another instance type, or another region",
    r"InternalServerError|ServiceUnavailable": "AWS has a problem. Run the same command again",
}


@dataclass(frozen=True)
class Clients:
    """One client for each service, all in one region."""

    sagemaker: Any
    runtime: Any
    s3: Any
    logs: Any


def connect(region: str) -> Clients:
    """Create the clients; this sends no request."""
    config = Config(
        connect_timeout=10,
        read_timeout=70,  # an endpoint may take 60 s to answer
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )

    def client(service: str) -> Any:
        return boto3.client(service, region_name=region, config=config)

    for service in ("SAGEMAKER", "SAGEMAKER_RUNTIME", "S3", "CLOUDWATCH_LOGS"):
        urls.endpoint(service)
    return Clients(*map(client, ("sagemaker", "sagemaker-runtime", "s3", "logs")))


def found(request: Callable[..., Any], *words: Any, **parameters: Any) -> Any:
    """The answer to a request; None if AWS answers that there is no such resource."""
    absent = r"NoSuchKey|ResourceNotFound|\b404\b|(?i:not found|could not find)"
    try:
        return request(*words, **parameters)
    except ClientError as error:
        if re.search(absent, str(error)):  # each service words it differently
            return None
        raise


def exists_already(error: ClientError) -> bool:
    """Whether the error says that the name is taken."""
    return bool(re.search(r"ResourceInUse|already exist", str(error)))


def with_advice(text: str) -> str:
    """AWS's message for an error or a failed job, followed by advice if there is any."""
    of_aws = {} if "AlgorithmError" in text else ADVICE  # that is the stage's own message
    known = {**of_aws, "No space left": "Set a larger disk: compute.sagemaker.volume_gb"}
    advice = next((found for pattern, found in known.items() if re.search(pattern, text)), None)
    return f"{text}\n  {advice}" if advice else text


def tags(settings: Settings, purpose: str) -> list[dict[str, str]]:
    """Tags for a new resource: those of the settings, and ours."""
    return [{"Key": key, "Value": value} for key, value in {**settings.tags, TAG: purpose}.items()]


def tags_of(clients: Clients, arn: str) -> dict[str, str]:
    pages = clients.sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def agreed(question: str) -> bool:
    """Ask the user; the answer is no if there is no terminal to ask."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


@contextmanager
def explained() -> Iterator[None]:
    """Raise AWS's errors as `Unreachable`, with advice."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise Unreachable(f"no credentials for AWS ({error}): {CREDENTIALS}") from error
    except (CredentialRetrievalError, TokenRetrievalError) as error:
        raise Unreachable(
            f"the credentials for AWS could not be obtained: {error}. Sign in again: aws sso login"
        ) from error
    except ClientError as error:
        raise Unreachable(with_advice(str(error))) from error
    except BotoCoreError as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL")
        at = f" (AWS_ENDPOINT_URL is {endpoint}; for S3 alone, set AWS_ENDPOINT_URL_S3)"
        raise Unreachable(
            f"AWS did not answer as expected: {error}{at if endpoint else ''}"
        ) from error


@contextmanager
def connected(region: str) -> Iterator[Clients]:
    """Clients for a block in which AWS's errors become `Unreachable`."""
    with explained():
        yield connect(region)
