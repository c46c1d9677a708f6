"""What goes wrong with a folder or a bucket, in words, and the way out."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from digits.core import urls
from digits.core.errors import FULL_DISK, Unreachable
from digits.storage.location import ENCRYPTION, KMS_KEY, Storage

FORBIDDEN = ("AccessDenied", "Forbidden", "403")  # S3's refusals of credentials that it knows
SETTINGS_ERRORS = (  # botocore's, which it raises before it sends anything
    "ConfigParseError",
    "InvalidSTSRegionalEndpointsConfigError",
    "PartialCredentialsError",
    "ProfileNotFound",
)


@contextmanager
def explained(storage: Storage, name: str = "", is_write: bool = False) -> Iterator[None]:
    """Raise a file system's errors as `Unreachable`, in words; pass on `FileNotFoundError`."""
    try:
        yield
    except _failures(storage) as error:
        if isinstance(error, FileNotFoundError) and s3_code(error) != "NoSuchBucket":
            raise
        where = f"{storage.url}/{name}".rstrip("/")
        reason = _explain(storage, error) + _explain_encryption(storage, error) * is_write
        raise Unreachable(f"{where}: {reason}") from error


def is_forbidden(error: Unreachable) -> bool:
    """Whether it is only a right that is missing: the server, the bucket and the user are known."""
    cause = error.__cause__
    return isinstance(cause, PermissionError) and s3_code(cause) in (*FORBIDDEN, None)


def s3_code(error: BaseException | None) -> str | None:
    """S3's own name for an error."""
    code = getattr(error and error.__cause__, "response", {}).get("Error", {}).get("Code")
    return None if code is None else str(code)


def _failures(storage: Storage) -> tuple[type[Exception], ...]:
    if not storage.is_bucket:
        return (OSError,)
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    return (OSError, BotoCoreError, ClientError)


def _explain(storage: Storage, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return "no space left. The served model has not changed. Free some space, then try again"
    if not storage.is_bucket:
        return str(error)
    endpoint = urls.endpoint("S3")
    at = f"at {endpoint[1]}" if endpoint else "at AWS (AWS_ENDPOINT_URL names another server)"
    if s3_code(error) == "NoSuchBucket":
        bucket = storage.root.split("/")[0]
        option = f" --endpoint-url {shlex.quote(endpoint[1])}" if endpoint else ""
        return f"there is no bucket {bucket} {at}. Create it: aws s3 mb s3://{bucket}{option}"
    if isinstance(error, PermissionError) and s3_code(error) not in (*FORBIDDEN, None):
        return (
            f"the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE) are not "
            f"accepted {at}: {error}"
        )
    if isinstance(error, PermissionError):
        return (
            f"forbidden {at}: {error}. The credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE) need "
            f"s3:ListBucket and s3:GetObject; also s3:PutObject to deploy, and s3:DeleteObject to "
            f"prune"
        )
    if type(error).__name__ == "NoCredentialsError":
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if type(error).__name__ in SETTINGS_ERRORS:
        return f"a setting in the environment or in ~/.aws/config is wrong: {error}"
    return (
        f"no valid answer {at}: {str(error) or type(error).__name__}. When the server "
        f"works again, try again"
    )


def _explain_encryption(storage: Storage, error: Exception) -> str:
    """A second cause of a refused write, which S3's answer does not name."""
    if s3_code(error) is None or not storage.is_bucket:  # not an answer by S3
        return ""
    if kind := os.environ.get(ENCRYPTION):
        return (
            f". The write asked for encryption by the server ({ENCRYPTION}={kind}): the server "
            f"must support it, and the credentials need the rights to use its key"
        )
    if isinstance(error, PermissionError):
        return (
            f". Or the bucket's policy demands encryption by the server: set {ENCRYPTION} to "
            f"AES256 or aws:kms ({KMS_KEY} names another key than the bucket's own)"
        )
    return ""
