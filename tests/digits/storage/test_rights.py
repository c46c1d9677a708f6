"""What the credentials may do: SeaweedFS with users of few rights, rclone without conditions."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from digits.core.errors import InputError, Unreachable
from digits.storage import filesystem, location, model_store, rights
from ops.tools import local_s3
from tests.helpers import s3
from tests.helpers.deployments import ONE, TWO, deploy, pointer

pytestmark = pytest.mark.slow(5)

USERS = {"reader": ("Read", "List"), "blind": ("Write",)}
READER = {rights.WRITE, rights.CONDITIONAL, rights.DELETE}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with local_s3.serve("digits", USERS) as endpoint:
        yield endpoint


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    from s3fs import S3FileSystem

    yield monkeypatch
    S3FileSystem.clear_instance_cache()  # it has read the environment


def use(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    for name, value in variables.items():
        environment.setenv(name, value)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (local_s3.ADMINISTRATOR, set()),
        ("reader", READER),
        ("blind", {rights.LIST, rights.READ}),
    ],
)
def test_each_missing_right_is_named_and_no_file_stays(
    endpoint: str, environment: pytest.MonkeyPatch, user: str, expected: set[str]
) -> None:
    use(environment, local_s3.environment(endpoint, user))
    problems = rights.missing(location.find(f"s3://digits/{user}"))
    assert problems.keys() == expected
    assert all("forbidden at" in problem for problem in problems.values())
    use(environment, local_s3.environment(endpoint))
    assert not list(filesystem.walk(location.find(f"s3://digits/{user}"), []))


def test_credentials_that_the_server_does_not_know_are_no_missing_right(
    endpoint: str, environment: pytest.MonkeyPatch
) -> None:
    use(environment, local_s3.environment(endpoint, "nobody"))
    with pytest.raises(Unreachable, match=r"AWS_PROFILE\) are not accepted at http://127"):
        rights.missing(location.find("s3://digits/x"))


def test_a_bucket_that_is_not_there_is_no_missing_right(
    endpoint: str, environment: pytest.MonkeyPatch
) -> None:
    use(environment, local_s3.environment(endpoint))
    with pytest.raises(Unreachable, match="there is no bucket nowhere at"):
        rights.missing(location.find("s3://nowhere/x"))


def test_a_model_is_deployed_to_a_product(
    endpoint: str, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(environment, local_s3.environment(endpoint))
    new = deploy("s3://digits/models", ONE)
    model_store.fetch_model("s3://digits/models", new.model, tmp_path / "model")
    with pytest.raises(InputError, match="another deployment moved"):
        model_store.move_pointer("s3://digits/models", "production", pointer(TWO, 2), None)


def test_a_server_without_conditional_writes_is_refused_before_anything_is_served(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "digits").mkdir()
    with s3.rclone(tmp_path) as endpoint:
        use(environment, {**s3.CREDENTIALS, "AWS_ENDPOINT_URL": endpoint})
        storage = location.find("s3://digits/models")
        problems = rights.missing(storage)
        assert problems.keys() == {rights.CONDITIONAL}
        assert "ignores the conditions of a write" in problems[rights.CONDITIONAL]
        with pytest.raises(InputError, match="Deploy to a folder, or to the bucket of a server"):
            deploy(storage.url, ONE)
        assert model_store.read_pointer(storage.url, "production") is None


def test_a_folder_has_every_right_or_says_why_not(tmp_path: Path) -> None:
    assert rights.missing(location.find(str(tmp_path / "new"))) == {}
    assert os.listdir(tmp_path / "new") == []
    assert rights.missing(location.find("/proc/new")).keys() == READER
