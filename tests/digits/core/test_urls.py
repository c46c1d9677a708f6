"""URLs are told from paths, and those from the environment are checked."""

import pytest

from digits.core import command_line, urls
from digits.core.errors import InputError

MISSPELT = [
    "s3:/bucket",
    "s3:bucket/x",
    "s3:",
    "S3://bucket",
    "S3:bucket",
    "s3//bucket/x",
    "s3a://bucket",
    "s3n:bucket",
    "https:/host/x",
    "gs:/bucket",
    "file:/tmp/x",
]


@pytest.mark.parametrize("text", [*MISSPELT, "s3://bucket", "file:///tmp", "http://host"])
def test_a_url_is_no_path_even_if_it_is_misspelt(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert urls.looks_like_url(text)
    monkeypatch.setenv(command_line.STARTED_IN, "/some/folder")
    assert command_line.path_or_url(text) == text


@pytest.mark.parametrize(
    "text", ["", "s3", "s3/x", "a/b", "/s3:/x", "./s3:x", "12:30.csv", "run-12:30", "a b:c"]
)
def test_a_path_is_no_url(text: str) -> None:
    assert not urls.looks_like_url(text)


@pytest.mark.parametrize(
    "url",
    [
        "http://minio:9000",
        "HTTPS://s3.eu-west-1.amazonaws.com",
        "http://127.0.0.1:1/path/",
        "http://[::1]:9000",
        "http://a",
        "http://a:65535",
    ],
)
def test_a_servers_url_is_returned(url: str) -> None:
    assert urls.check_server("X", url) == url


@pytest.mark.parametrize(
    "url",
    [
        "minio:9000",
        "//minio:9000",
        "127.0.0.1",
        "http://",
        "http:/minio",
        "http://mi nio",
        "http://mi_nio:9000",
        "http://minio:65536",
        "http://minio:port",
        "http://minio:",
        "http://minio:9000\n",
        " http://minio:9000",
        "http://user:word@minio",
        "http://minio?x=1",
        "http://minio/#x",
        "http://[::1",
        "ftp://minio",
        "s3://bucket",
    ],
)
def test_any_other_url_of_a_server_is_refused_by_name(url: str) -> None:
    with pytest.raises(InputError, match=r"^X is .*; expected http://HOST:PORT or https://"):
        urls.check_server("X", url)


def test_the_endpoint_is_the_services_before_the_general_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    assert urls.endpoint("S3") is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    with pytest.raises(InputError, match=r"^AWS_ENDPOINT_URL is 'minio:9000'"):
        urls.endpoint("S3")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio:9000")
    assert urls.endpoint("S3") == ("AWS_ENDPOINT_URL_S3", "http://minio:9000")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert urls.endpoint("S3") is None
