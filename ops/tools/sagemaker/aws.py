"""AWS's clients, made so that a bad request does not leave this machine and errors are words.

Every request is compared with the service's own description, which botocore brings along: lengths,
patterns and choices too, which botocore itself does not look at. Throttling and lost connections
are tried again, with growing waits, `ATTEMPTS` times.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
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
from botocore.model import OperationModel, Shape

from digits.core.errors import InputError, Unreachable
from ops.tools.sagemaker.settings import Settings

TAG = "digits"  # everything that is made bears it
PROVEN = "digits-proven"  # of an endpoint: the configuration that last answered as it should
PREFIX = "digits-"  # of every name

ATTEMPTS = 8  # up to 1, 2, 4, ... 20 seconds lie between them
# Classes of characters in the services' patterns, which `re` lacks.
CLASSES = {r"\p{L}": "a-zA-Z\u00c0-\uffff", r"\p{N}": r"\d", r"\p{Z}": r"\s"}

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE. Whose they are: "
    "aws sts get-caller-identity"
)
ROLE = (
    "compute.sagemaker.role is the ARN of a role that trusts sagemaker.amazonaws.com and may do "
    "what ops/tools/sagemaker/role.json says"
)
IMAGE = (
    "the image must lie in ECR in this region (SageMaker pulls from nowhere else), for the "
    "processor of that instance type, and the role must be allowed to pull it"
)
QUOTA = (
    "Ask for more (Service Quotas, Amazon SageMaker, '<instance type> for training job usage' or "
    "'for endpoint usage'), or name another instance type"
)
# What helps, by the words of AWS's message; the first that fits.
WAYS_OUT = {
    r"ExpiredToken|InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|SignatureDoesNot"
    r"|InvalidSignature": f"The credentials are wrong or have expired: {CREDENTIALS}",
    r"ResourceLimitExceeded|service limit|quota": QUOTA,
    r"Throttling|TooManyRequests|RequestLimitExceeded|SlowDown": (
        f"Refused {ATTEMPTS} times, with growing waits. Later, the same command again"
    ),
    r"(?i)\becr\b|registry|repository|pull|manifest|image": IMAGE,
    r"PassRole|(?i:could not assume|trust|rolearn)": ROLE,
    r"AccessDenied|not authorized|Forbidden|\b403\b": (
        "The rights that these credentials need are in ops/tools/sagemaker/policy.json, those that "
        "the role needs in role.json next to it"
    ),
    r"NoSuchBucket": "Make it in that region, or name another: compute.sagemaker.bucket",
    r"(?i)capacity": "AWS has no such machine free: later, or another instance type or region",
    r"InternalServerError|ServiceUnavailable": "That is AWS's own: the same command again",
}


@dataclass(frozen=True)
class Clients:
    """A client a service, in one region."""

    sagemaker: Any
    runtime: Any
    s3: Any
    logs: Any


def connect(region: str) -> Clients:
    """Clients that check what they send; nothing is sent yet."""
    config = Config(
        connect_timeout=10,
        read_timeout=70,  # an endpoint may take 60 s to answer
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )

    def client(service: str) -> Any:
        made = boto3.client(service, region_name=region, config=config)
        made.meta.events.register("provide-client-params", check_request)
        return made

    with explained():
        return Clients(*map(client, ("sagemaker", "sagemaker-runtime", "s3", "logs")))


def check(client: Any, operation: str, asked: Mapping[str, Any]) -> None:
    """Raises `InputError` as the operation itself would, before it is called."""
    check_request(asked, client.meta.service_model.operation_model(operation))


def check_request(params: Mapping[str, Any], model: OperationModel, **others: Any) -> None:
    """Raises `InputError` if a request breaks what the service says of its own parameters."""
    if model.input_shape:
        wrong = list(faults(params, model.input_shape, ""))
        if wrong:
            raise InputError(f"{model.name} would be refused:\n  " + "\n  ".join(wrong))


def faults(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """What breaks the limits that a shape states; types and names botocore checks itself."""
    limits = shape.metadata
    match shape.type_name:
        case "structure":
            for name in value.keys() & shape.members.keys():
                yield from faults(value[name], shape.members[name], f"{path}.{name}".lstrip("."))
            return
        case "map":
            for key, item in value.items():
                yield from faults(key, shape.key, f"{path} key {key!r}")
                yield from faults(item, shape.value, f"{path}.{key}")
        case "list":
            for i, item in enumerate(value):
                yield from faults(item, shape.member, f"{path}.{i}")
        case "string" if isinstance(value, str):
            pattern, choices = limits.get("pattern"), limits.get("enum")
            if pattern and not _fits(value, pattern):
                yield f"{path} is {value!r}; expected the form {pattern}"
            if choices and value not in choices:
                near = difflib.get_close_matches(value, choices, cutoff=0) or choices
                yield f"{path} is {value!r}; expected one of {len(choices)}, as {', '.join(near)}"
        case "integer" | "long" | "float" | "double":
            if not limits.get("min", value) <= value <= limits.get("max", value):
                yield f"{path} is {value}; expected {_range(limits)}"
            return
    if shape.type_name in ("map", "list", "string"):
        least, most = limits.get("min", 0), limits.get("max", len(value))
        if not least <= len(value) <= most:
            unit = "characters" if isinstance(value, str) else "entries"
            yield f"{path} has {len(value):,} {unit}; expected {_range(limits)}"


def _range(limits: Mapping[str, Any]) -> str:
    ends = [
        f"{word} {limits[key]:,}" for key, word in (("min", "from"), ("max", "to")) if key in limits
    ]
    return " ".join(ends)


def _fits(value: str, pattern: str) -> bool:
    for theirs, ours in CLASSES.items():
        pattern = pattern.replace(theirs, ours)
    try:
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    except re.error:  # other things of Java's, in no request of ours; AWS itself looks
        return True


def code(error: ClientError) -> str:
    """AWS's own name for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: ClientError) -> bool:
    """Whether it says that what was named does not exist; services say that in several ways."""
    text = f"{code(error)} {error}"
    return bool(
        re.search(r"NoSuchKey|ResourceNotFound|\b404\b|(?i:not found|could not find)", text)
    )


def exists_already(error: ClientError) -> bool:
    """Whether it says that the name is taken."""
    return bool(re.search(r"ResourceInUse|already exist", f"{code(error)} {error}"))


def with_way_out(text: str) -> str:
    """An error, or a failure that AWS gives as text, and what helps where that is known."""
    of_aws = {} if "AlgorithmError" in text else WAYS_OUT  # else the stage's own words
    known = {**of_aws, "No space left": "A larger disk: compute.sagemaker.volume_gb"}
    advice = next((found for words, found in known.items() if re.search(words, text)), None)
    return f"{text}\n  {advice}" if advice else text


def tags(settings: Settings, purpose: str) -> list[dict[str, str]]:
    """What is made bears these: the ones of the settings, and ours."""
    return [{"Key": key, "Value": value} for key, value in {**settings.tags, TAG: purpose}.items()]


def tags_of(clients: Clients, arn: str) -> dict[str, str]:
    pages = clients.sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def agreed(question: str) -> bool:
    """Whether a person says yes; without one, it is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


@contextmanager
def explained() -> Iterator[None]:
    """AWS's errors as `Unreachable`, with the way out."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise Unreachable(f"no credentials for AWS ({error}): {CREDENTIALS}") from error
    except (CredentialRetrievalError, TokenRetrievalError) as error:
        raise Unreachable(
            f"AWS's credentials can't be had: {error}. Again: aws sso login"
        ) from error
    except ClientError as error:
        raise Unreachable(with_way_out(str(error))) from error
    except BotoCoreError as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL")
        at = f" (AWS_ENDPOINT_URL is {endpoint}: for S3 alone, AWS_ENDPOINT_URL_S3)"
        raise Unreachable(f"no good answer from AWS: {error}{at if endpoint else ''}") from error
