"""Tell URLs from paths, and check the URLs that come from the command line or the environment."""

import os
import re

from digits.core.errors import InputError

# A colon and a slash, as in s3:/bucket and S3://bucket; or S3 in another spelling, as in s3:bucket
# and s3//bucket. A local folder of such a name can be written ./s3:bucket.
LIKE_A_URL = re.compile(r"[a-z][a-z0-9+.-]*:/|s3[an]?:|s3//", re.IGNORECASE)
SERVER = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:(?P<port>[0-9]{1,5}))?(/[!-~]*)?",
    re.IGNORECASE,
)


def looks_like_url(text: str) -> bool:
    """Whether a text is a URL, right or misspelt, so that it must not be read as a path."""
    return bool(LIKE_A_URL.match(text)) or "://" in text


def check_server(name: str, url: str) -> str:
    """Return the URL of a server if it has the form that botocore expects of an endpoint.

    Raises `InputError` if it has another one, with the variable or option `name` in its message.
    """
    match = SERVER.fullmatch(url)
    if match is None or "?" in url or "#" in url or int(match["port"] or 0) > 65535:
        raise InputError(
            f"{name} is {url!r}; expected http://HOST:PORT or https://HOST:PORT, with letters, "
            f"digits, hyphens and dots in HOST, and PORT up to 65535"
        )
    return url


def endpoint(service: str) -> tuple[str, str] | None:
    """The server that the environment names in place of AWS's: the variable and the URL, or None.

    The variable of the service counts, as AWS_ENDPOINT_URL_S3, else AWS_ENDPOINT_URL. Raises
    `InputError` as `check_server`.
    """
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    for name in (f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL"):
        if url := os.environ.get(name):
            return name, check_server(name, url)
    return None
