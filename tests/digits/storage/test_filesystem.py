"""Models in S3 when the server, or the way to it, fails; URLs and settings that are wrong."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from digits.core.errors import InputError, Unreachable, UserError
from digits.storage import filesystem, location, model_store
from tests.helpers.deployments import ONE, TWO, deploy
from tests.helpers.s3 import Proxy

pytestmark = pytest.mark.slow(5)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer attempts, shorter waits."""
    monkeypatch.setattr(location, "ATTEMPTS", 2)
    monkeypatch.setattr(location, "READ_S", 0.3)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", ["unavailable", "cut", "silent", "unanswered"])
@pytest.mark.parametrize("name", ["model.onnx", "production.json"])
def test_a_short_fault_is_not_noticed(s3_proxy: Proxy, bucket: str, fault: str, name: str) -> None:
    s3_proxy.fail(fault, "PUT", name, times=1)
    assert model_store.read_pointer(bucket, "production") != deploy(bucket, ONE)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", ["unavailable", "cut", "silent"])
@pytest.mark.parametrize("name", ["model.onnx", "production.json"])
def test_a_lasting_fault_is_reported_and_a_second_try_completes(
    s3_proxy: Proxy, bucket: str, tmp_path: Path, fault: str, name: str
) -> None:
    first = deploy(bucket, ONE)
    s3_proxy.fail(fault, "PUT", name)
    before = len(s3_proxy.seen)
    with pytest.raises(Unreachable, match=rf"{name}: no valid answer at .* try again"):
        deploy(bucket, TWO, 2)
    assert sum("PUT" in each and name in each for each in s3_proxy.seen[before:]) <= 8
    s3_proxy.heal()
    assert model_store.read_pointer(bucket, "production") == first
    second = deploy(bucket, TWO, 2)
    model_store.fetch_model(bucket, second.model, tmp_path / "model")


@pytest.mark.usefixtures("hasty")
def test_a_pointer_that_moved_without_an_answer_has_moved(s3_proxy: Proxy, bucket: str) -> None:
    first = deploy(bucket, ONE)
    s3_proxy.fail("unanswered", "PUT", "production.json")
    assert deploy(bucket, TWO, 2) == model_store.read_pointer(bucket, "production") != first


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", ["unavailable", "silent", "truncated", "shorter", "flipped"])
@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_an_answer_that_is_not_whole_is_refused(
    s3_proxy: Proxy, bucket: str, tmp_path: Path, fault: str, name: str
) -> None:
    new = deploy(bucket, ONE)
    s3_proxy.fail(fault, "GET", name)
    with pytest.raises(UserError, match=name):
        model_store.fetch_model(bucket, new.model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    s3_proxy.heal()
    model_store.fetch_model(bucket, new.model, tmp_path / "model")


def test_an_answer_that_never_ends_is_not_waited_for(
    s3_proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = deploy(bucket, ONE)
    monkeypatch.setattr(filesystem, "DEADLINE_S", 1)
    s3_proxy.fail("trickling", "GET", "model.onnx")
    with pytest.raises(Unreachable, match=r"model\.onnx: no valid answer"):
        model_store.fetch_model(bucket, new.model, "nowhere")
    s3_proxy.fail("silent", "PUT", "pointer")
    with pytest.raises(Unreachable, match=r"pointer: no valid answer .*FSTimeoutError"):
        filesystem.write(location.find(bucket), "pointer", b"content")


def test_a_first_write_gives_way_to_one_that_came_in_between(bucket: str) -> None:
    storage = location.find(bucket)

    def is_absent(content: bytes | None) -> bool:
        filesystem.write(storage, "new", b"another's")
        return content is None

    assert filesystem.replace(storage, "new", b"ours", is_absent) == b"another's"


@pytest.mark.usefixtures("hasty")
def test_a_request_whose_answer_breaks_off_is_repeated(
    s3_proxy: Proxy, bucket: str, tmp_path: Path
) -> None:
    new = deploy(bucket, ONE)
    s3_proxy.fail("truncated", "GET", "model.onnx", times=1)
    model_store.fetch_model(bucket, new.model, tmp_path / "model")


def test_a_file_that_does_not_read_back_is_not_pointed_at(s3_proxy: Proxy, bucket: str) -> None:
    s3_proxy.fail("flipped", "GET", "golden.npz")
    with pytest.raises(InputError, match=r"golden\.npz does not read back as it was written"):
        deploy(bucket, ONE)
    assert model_store.read_pointer(bucket, "production") is None
    s3_proxy.fail("flipped", "GET", "golden.npz", times=1)
    deploy(bucket, ONE)


def test_a_bucket_that_is_not_there_is_named(s3_proxy: Proxy) -> None:
    for act in (
        lambda url: model_store.read_pointer(url, "production"),
        lambda url: model_store.put_model(url, ONE, "the model"),
        lambda url: model_store.prune(url, 0),
    ):
        with pytest.raises(
            Unreachable,
            match=rf"no bucket nowhere at {s3_proxy.url}. Create it: aws s3 mb s3://nowhere "
            rf"--endpoint-url {s3_proxy.url}$",
        ):
            act("s3://nowhere/digits")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_forbidden_request_names_the_rights_it_needs(
    s3_proxy: Proxy, bucket: str, method: str
) -> None:
    s3_proxy.fail("forbidden", method)
    with pytest.raises(Unreachable, match=r"forbidden at .*need s3:ListBucket"):
        deploy(bucket, ONE)
    s3_proxy.heal()
    assert model_store.read_pointer(bucket, "production") is None


@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_not_there_is_named(
    s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(Unreachable, match=r"no valid answer at http://127\.0\.0\.1:1: "):
        model_store.read_pointer("s3://models", "production")


def test_without_credentials_it_says_which_variables_to_set(
    s3_proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Unreachable, match="no credentials: set AWS_ACCESS_KEY_ID"):
        model_store.read_pointer("s3://models", "production")


DENIED = 403, b"<Error><Code>AccessDenied</Code><Message>explicit deny</Message></Error>"


@pytest.mark.parametrize(
    "asked",
    [
        {"DIGITS_S3_SSE": "AES256"},
        {"DIGITS_S3_SSE": "aws:kms"},
        {"DIGITS_S3_SSE": "aws:kms", "DIGITS_S3_SSE_KMS_KEY": "alias/digits"},
    ],
)
def test_a_bucket_that_demands_encryption_is_written_to(
    s3_proxy: Proxy,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, str],
) -> None:
    """As with a bucket policy: a PUT, or a POST that begins a large file, needs the header."""
    headers = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
    expected = dict(zip(headers, asked.values(), strict=False))

    def answer(
        method: str, path: str, sent: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes] | None:
        begins = (method == "PUT" and "uploadId=" not in path) or path.endswith("?uploads")
        found = {name: sent[name] for name in headers if name in sent}
        return DENIED if begins and found != expected else None

    s3_proxy.instead = answer
    with pytest.raises(Unreachable, match=r"production\.json|model|golden") as refusal:
        deploy(bucket, ONE)
    assert "forbidden at" in str(refusal.value)
    assert "Or the bucket's policy demands encryption by the server: set DIGITS_S3_SSE to" in str(
        refusal.value
    )
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    new = deploy(bucket, ONE)
    model_store.fetch_model(bucket, new.model, tmp_path / "model")
    if len(asked) == 1:
        return  # a large file is sent with the same header
    large = tmp_path / "large"
    large.write_bytes(bytes(101 << 20))  # in several parts
    filesystem.put(location.find(bucket), "large", large)
    assert any(seen.startswith("POST") and seen.endswith("?uploads") for seen in s3_proxy.seen)


def test_a_write_with_encryption_that_is_refused_says_so(
    s3_proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITS_S3_SSE", "aws:kms")
    s3_proxy.fail("forbidden", "PUT")
    with pytest.raises(Unreachable, match=r"DIGITS_S3_SSE=aws:kms\): the server must support it"):
        deploy(bucket, ONE)
    s3_proxy.fail("forbidden", "GET")
    with pytest.raises(Unreachable) as refusal:
        model_store.read_pointer(bucket, "production")
    assert "DIGITS_S3_SSE" not in str(refusal.value)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"DIGITS_S3_SSE": "aes256"},
            "DIGITS_S3_SSE is 'aes256'; expected one of: AES256, aws:kms, aws:kms:dsse",
        ),
        ({"DIGITS_S3_SSE_KMS_KEY": "k"}, "DIGITS_S3_SSE must be aws:kms"),
        ({"DIGITS_S3_SSE_KMS_KEY": "k", "DIGITS_S3_SSE": "AES256"}, "DIGITS_S3_SSE must be"),
    ],
)
def test_an_encryption_that_s3_does_not_have_is_refused(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        location.find("s3://bucket/prefix")


MISSPELT = ["s3:/bucket/x", "s3:bucket/x", "S3://bucket/x", "s3//bucket/x", "s3a://b/x", "gs://b/x"]


def test_of_a_folder_the_file_that_counts_is_removed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without this file counts as incomplete, so a kill leaves nothing to use."""
    storage, removed = location.find(str(tmp_path)), []
    remove = storage.filesystem.rm_file

    def remove_and_tell(path: str) -> None:
        removed.append(Path(path).name)
        remove(path)

    for name in "abc":
        filesystem.write(storage, f"folder/{name}", b"")
    monkeypatch.setattr(storage.filesystem, "rm_file", remove_and_tell)
    assert filesystem.remove(storage, "folder", "b", lambda entries: True)
    assert (removed[0], len(removed)) == ("b", 3)
    assert not (tmp_path / "folder").exists()


def test_a_folder_has_the_name_of_a_file_on_the_disk_before_the_next_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, no pointer may name a model that is not there."""
    synced = []

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, (tmp_path / "pointer").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    filesystem.write(location.find(str(tmp_path)), "pointer", b"content")
    assert synced == [(False, False), (True, True)]


@pytest.mark.parametrize("url", [*MISSPELT, "s3://", "s3:", ""])
@pytest.mark.parametrize("find", [location.find, location.find_file, model_store.locate])
def test_a_misspelt_url_never_becomes_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find: Callable[[str], Any], url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"cannot be used; expected a folder or s3://bucket/pre"):
        find(url)
    with pytest.raises(InputError, match="cannot be used"):
        deploy(url, ONE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_no_bucket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"names no file; expected s3://bucket/name"):
        location.find_file("s3://out.csv")
    storage, name = location.find_file("./s3:out.csv")  # so a user can write such a name
    assert (storage.root, name) == (str(tmp_path), "s3:out.csv")


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_of_another_form_is_named(
    s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "minio:9000")
    with pytest.raises(InputError, match=rf"^{variable} is 'minio:9000'; expected http://HOST"):
        model_store.read_pointer("s3://models", "production")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AWS_CONFIG_FILE": "config"}, "Invalid endpoint: minio:9000"),
        ({"AWS_PROFILE": "nobody"}, "a setting .* is wrong: .*nobody"),
        ({"AWS_DEFAULT_REGION": "us east"}, "the settings of S3 .*us east"),
    ],
)
def test_a_wrong_setting_is_named(
    s3_proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config").write_text("[default]\nendpoint_url = minio:9000\n")
    if "AWS_CONFIG_FILE" in changes:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        model_store.read_pointer("s3://models", "production")


def test_what_stands_for_a_folder_in_a_bucket_is_no_file(moto: str, bucket: str) -> None:
    storage = location.find(bucket)
    filesystem.write(storage, "a/b.png", b"x")
    name, _, key = bucket.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=moto)
    for folder in (f"{key}/", f"{key}/a/"):  # as the console of AWS makes them
        client.put_object(Bucket=name, Key=folder)
    assert [name for name, _, _ in filesystem.walk(storage, [])] == ["a/b.png"]


def test_hidden_files_and_the_operating_systems_are_passed_over_and_named(place: str) -> None:
    system = ("a/.DS_Store", "a/.git/x/y", "a/.git/z", "a/__MACOSX/._b.png", "a/thumbs.DB")
    storage = location.find(place)
    for name in ("a/b.png", "c.png", *system):
        filesystem.write(storage, name, b"x")
    passed_over: list[str] = []
    assert sorted(name for name, _, _ in filesystem.walk(storage, passed_over)) == [
        "a/b.png",
        "c.png",
    ]
    expected = {"a/.DS_Store", "a/.git", "a/__MACOSX", "a/thumbs.DB"}
    assert set(passed_over) - {".lock"} == expected  # a lock is of `write`
    assert len(passed_over) == len(set(passed_over))
