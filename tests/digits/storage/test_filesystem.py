"""Models in S3 when the server, or the way to it, fails."""

from pathlib import Path

import pytest

from digits.core.errors import InputError, Unreachable, UserError
from digits.storage import filesystem, model_store
from tests.helpers.deployments import ONE, TWO, deploy
from tests.helpers.s3 import Proxy

pytestmark = pytest.mark.slow(5)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer attempts, shorter waits."""
    monkeypatch.setattr(filesystem, "ATTEMPTS", 2)
    monkeypatch.setattr(filesystem, "READ_S", 0.3)


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
        with pytest.raises(Unreachable, match=rf"no bucket nowhere at {s3_proxy.url}.*aws s3 mb"):
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
