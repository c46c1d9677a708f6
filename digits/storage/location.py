"""The place that a URL names: a local folder, or a prefix in an S3 bucket."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.core import urls
from digits.core.errors import InputError

CONNECT_S = 5
READ_S = 10  # without receiving a byte
ATTEMPTS = 3  # for a request without an answer, after waits of up to 1 and 2 seconds

# In the environment: the encryption by the server that a bucket's policy may demand of each write.
ENCRYPTION, KMS_KEY = "DIGITS_S3_SSE", "DIGITS_S3_SSE_KMS_KEY"
ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")


@dataclass(frozen=True)
class Storage:
    """A local folder, or a prefix in a bucket; file names are relative to it."""

    url: str
    filesystem: Any  # fsspec's
    root: str
    is_bucket: bool

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root


def find(url: str) -> Storage:
    """The storage that a URL names; it need not exist.

    Parameters
    ----------
    url : a folder, file:// or s3://bucket/prefix; the environment holds endpoint and credentials

    Raises
    ------
    InputError
        If the URL is none of these, a misspelt one included, or the endpoint is not a server's URL.
    """
    import fsspec  # 0.05 s, of which a --help has no need

    scheme, separator, rest = url.partition("://")
    is_path = not urls.looks_like_url(url)
    if not url:  # as from a variable that is not set
        raise _not_usable(url)
    if is_path or (separator and scheme == "file"):
        folder = Path(url if is_path else rest).absolute()
        return Storage(str(folder), fsspec.filesystem("file"), str(folder), False)
    rest = rest.strip("/")
    if scheme != "s3" or not rest:
        raise _not_usable(url)
    urls.endpoint("S3")
    filesystem = fsspec.filesystem(
        "s3",
        use_listings_cache=False,  # other processes write too
        s3_additional_kwargs=encryption(),
        config_kwargs={
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            # Some S3 servers do not support botocore's checksums; our readers compare sha256.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    )
    filesystem.retries = 2  # for an answer that breaks off; botocore retries if there is none
    return Storage(f"s3://{rest}", filesystem, rest, True)


def encryption() -> dict[str, str]:
    """S3's options of a write that has the server encrypt it, as the environment says.

    Raises `InputError` if a variable has another value than S3 knows.
    """
    kind, key = os.environ.get(ENCRYPTION, ""), os.environ.get(KMS_KEY, "")
    if kind not in ("", *ENCRYPTIONS):
        raise InputError(f"{ENCRYPTION} is {kind!r}; expected one of: {', '.join(ENCRYPTIONS)}")
    if key and not kind.startswith("aws:kms"):
        raise InputError(f"{KMS_KEY} is set; then {ENCRYPTION} must be aws:kms or aws:kms:dsse")
    options = {"ServerSideEncryption": kind, "SSEKMSKeyId": key}
    return {name: value for name, value in options.items() if value}


def find_file(url: str) -> tuple[Storage, str]:
    """The storage that holds a file, and the file's name in it; raises `InputError` as `find`."""
    storage = find(url)
    if storage.is_bucket and "/" not in storage.root:
        raise InputError(f"{url!r} names no file; expected s3://bucket/name")
    folder, separator, name = url.rpartition("/")
    return find(folder or separator or "."), name


def _not_usable(url: str) -> InputError:
    return InputError(f"{url!r} cannot be used; expected a folder or s3://bucket/prefix")
