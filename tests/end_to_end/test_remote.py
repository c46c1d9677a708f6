"""Data and models of every revision in a bucket: DVC against SeaweedFS over HTTP."""

import hashlib
import json
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers import s3, warm_python
from tests.helpers.http_server import QuietHandler, answer_http
from tests.helpers.model_project import Models
from tests.helpers.project import Project
from tests.helpers.small import ROOT, SMALL
from tests.helpers.workflows import repro

pytestmark = pytest.mark.slow(50)

MODEL = "models/digit-classifier/model.onnx"
SSE = ("", "-aws-kms-key-id")
PART = "ann"


@pytest.fixture(scope="module")
def bucket() -> Iterator[s3.Bucket]:
    with s3.bucket() as found:
        yield found


def set_up(project: Project, url: str, endpoint: str = "", *more: str) -> str:
    """`make remote`, with this environment's tools."""
    bin = f"BIN={warm_python.programs()}"
    words = ("make", "--old-file=.venv/run", bin, "remote", f"URL={url}", f"ENDPOINT={endpoint}")
    words = (*words, *more)
    project.environment |= s3.CREDENTIALS | {"PYTHONPATH": str(ROOT)}
    return project.run(*words)


def clone(project: Project, name: str, endpoint: str) -> Project:
    """Another machine's, which knows the endpoint from its environment."""
    made = Project(project.folder.parent / name)
    project.run("git", "clone", "--quiet", str(project.folder), str(made.folder))
    made.environment |= s3.CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint}
    return made


def sha256(project: Project) -> str:
    return hashlib.sha256((project.folder / MODEL).read_bytes()).hexdigest()


def test_a_second_clone_has_every_revision_without_computing(
    bucket: s3.Bucket, tmp_path: Path
) -> None:
    project = Project.scratch(tmp_path / "project")
    said = set_up(project, f"s3://{bucket.name}/pipeline", bucket.endpoint)
    assert f"The remote is s3://{bucket.name}/pipeline. Commit .dvc/config" in said
    assert "verify = true" in (project.folder / ".dvc" / "config").read_text()
    assert bucket.endpoint not in (project.folder / ".dvc" / "config").read_text()
    models = []
    for settings in (SMALL, {"train.seed": 1}):
        repro(project, settings)
        project.run("dvc", "push", "--run-cache")
        models.append(sha256(project))
    assert models[0] != models[1]
    said = project.run("python", "-m", "ops.doctor", "HEAD", "HEAD~1")
    assert "whole: " in said

    other = clone(project, "other", bucket.endpoint)
    other.run("dvc", "pull")
    assert "Data and pipelines are up to date" in other.run("dvc", "repro")
    assert sha256(other) == models[1]
    other.run("git", "checkout", "--quiet", "HEAD~1")
    other.run("dvc", "pull")
    assert "Data and pipelines are up to date" in other.run("dvc", "repro")
    assert sha256(other) == models[0]
    assert other.run("git", "status", "--porcelain") == ""

    third = clone(project, "third", bucket.endpoint)
    third.run("dvc", "fetch", "--all-commits")
    third.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    for revision, model in (("HEAD", models[1]), ("HEAD~1", models[0])):
        third.run("git", "checkout", "--quiet", revision)
        third.run("dvc", "checkout")
        assert sha256(third) == model

    # Without its dvc.lock, which would tell: the run cache knows what the same inputs gave. That
    # is so for stages whose outputs are all DVC's; it does not push those that Git has.
    fourth = clone(project, "fourth", bucket.endpoint)
    fourth.run("dvc", "fetch", "--run-cache")
    (fourth.folder / "dvc.lock").unlink()
    said = fourth.run("dvc", "repro", "--pull", "fetch")
    assert "Stage 'fetch' is cached - skipping run" in said


def test_parameters_that_ran_before_train_nothing(tmp_path: Path) -> None:
    """Nor in a second clone, where dvc.lock knows only what ran last."""
    project = Project.scratch(tmp_path / "project")
    set_up(project, str(tmp_path / "remote"))
    project.commit("a remote")
    for settings in (SMALL, {"train.seed": 1}):
        repro(project, settings)
        assert "files of earlier runs pushed" in project.run("python", "-m", "ops.push")
    assert "0 files of earlier runs pushed" in project.run("python", "-m", "ops.push")
    other = clone(project, "other", "")
    other.run("dvc", "pull", "--run-cache")
    for each, words in ((project, ("dvc", "repro")), (other, ("dvc", "repro", "--pull"))):
        each.run("git", "checkout", "--quiet", "HEAD~1", "--", "params.yaml")
        said = each.run(*words)
        for stage in ("train", "export", "evaluate"):
            assert f"Stage '{stage}' is cached - skipping run" in said
        assert "Running stage 'describe'" in said
        assert said.count("Running stage") == 1
        assert each.run("git", "diff", "HEAD~1", "--", "dvc.lock", "metrics") == ""


@pytest.fixture(scope="module")
def made(bucket: s3.Bucket, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A model in production and a newer one, in a part of the bucket of its own."""
    folder = tmp_path_factory.mktemp("made")
    made = Models.create(folder / "ann", server=folder / "server", storage=None)
    for name in ("Makefile", ".dvc/s3.config"):
        shutil.copy(ROOT / name, made.folder / name)
    set_up(made, f"s3://{bucket.name}/{PART}", bucket.endpoint)
    made.train(range(100, 130))
    made.registry("promote")
    made.train(range(100, 129))
    made.run("git", "remote", "set-url", "origin", "../server")
    return made


@pytest.fixture
def ann(made: Models, bucket: s3.Bucket, tmp_path: Path) -> Iterator[Models]:
    """A copy; at the end, that part of the bucket is as it was."""
    shutil.copytree(made.folder.parent, tmp_path, dirs_exist_ok=True)
    copy = Models(tmp_path / "ann")
    copy.environment |= s3.CREDENTIALS | {"PYTHONPATH": str(ROOT)}
    before = {key: bucket.read(key) for key in stored(bucket)}
    yield copy
    for key in stored(bucket) - before.keys():
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    for key, content in before.items():
        bucket.write(key, content)


def stored(bucket: s3.Bucket) -> set[str]:
    return {key for key in bucket.stored() if key.startswith(f"{PART}/")}


def refuse_checksums(
    method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes] | None:
    """As Google Cloud Storage and others do."""
    kinds = ("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer")
    if any(name.lower().startswith(kinds) for name in headers):
        return 400, b"<Error><Code>InvalidArgument</Code><Message>a checksum</Message></Error>"
    return None


def test_a_server_that_refuses_checksums_is_used_as_any_other(
    ann: Models, bucket: s3.Bucket
) -> None:
    url, python = f"s3://{bucket.name}/{PART}/plain", {"PYTHONPATH": str(ROOT)}
    with s3.proxy(bucket.endpoint) as server:
        server.instead = refuse_checksums
        assert ".dvc/s3.config" not in set_up(ann, url, server.url)
        ann.run("dvc", "push")
        shutil.rmtree(ann.folder / ".dvc" / "cache")
        ann.run("dvc", "pull", "--force")
        ann.run("git", "add", "--all", ".dvc")

        # On a machine that has a configuration already, which `make remote` leaves alone.
        configuration = ann.folder.parent / "home" / ".aws" / "config"
        configuration.parent.mkdir()
        configuration.write_text("[default]\nregion = eu-central-1\n")
        said = set_up(ann, f"{url}2", server.url)
        assert f"add the lines of .dvc/s3.config to {configuration}" in said
        assert "configpath" not in (ann.folder / ".dvc" / "config.local").read_text()
        assert "a checksum" in ann.run("dvc", "push", code=1)
        ann.run("python", "-m", "ops.push", **python)
        ann.commit("another remote")
        assert "whole: " in ann.run("python", "-m", "ops.doctor", **python)
        with configuration.open("a") as file:
            _, _, lines = (ann.folder / ".dvc" / "s3.config").read_text().partition("[default]\n")
            file.write(lines)
        assert "s3.config" not in set_up(ann, f"{url}3", server.url)


def test_a_bucket_that_demands_encryption_is_pushed_to(ann: Models, moto: str) -> None:
    """moto has keys, SeaweedFS has none."""
    urllib.request.urlopen(urllib.request.Request(f"{moto}/encrypted", method="PUT")).close()
    seen = []

    def note(
        method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes] | None:
        if method == "PUT":
            seen.append({name: headers.get(f"x-amz-server-side-encryption{name}") for name in SSE})
        return None

    with s3.proxy(moto) as server:
        server.instead = note
        set_up(ann, "s3://encrypted/digits", server.url, "SSE=aws:kms", "KMS_KEY=alias/digits")
        ann.run("dvc", "push")
        assert seen
        assert all(tuple(each.values()) == ("aws:kms", "alias/digits") for each in seen)
    assert "sse = aws:kms" in (ann.folder / ".dvc" / "config").read_text()


def test_what_is_in_use_outlives_a_clean_up(ann: Models, bucket: s3.Bucket, tmp_path: Path) -> None:
    """What a tag holds stays; with the tag gone, so does it."""
    ann.train(range(100, 128))
    words = ("dvc", "gc", "--force", "--cloud", "--workspace")
    before = stored(bucket)
    ann.run(*words, "--all-tags")
    assert len(before - stored(bucket)) == 3
    out = ("--out", "../got", "--force")
    ann.run("dvc", "artifacts", "get", ".", "digit-classifier", "--stage", "production", *out)
    assert len(json.loads((tmp_path / "got" / "model.json").read_text())["wrong"]) == 30
    assert "v1.0.0 already" in ann.registry("promote", "--version", "1.0.0")


@pytest.mark.parametrize("how", ["truncated", "corrupt", "missing"])
def test_damage_in_the_bucket_is_named_refused_and_mended(
    ann: Models, bucket: s3.Bucket, how: str
) -> None:
    digest = hashlib.md5((ann.folder / MODEL).read_bytes()).hexdigest()
    key = f"{PART}/files/md5/{digest[:2]}/{digest[2:]}"
    whole = bucket.read(key)
    if how == "missing":
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    else:
        bucket.write(key, whole[:-1] if how == "truncated" else whole[:-1] + b"?")
    assert f"{MODEL} is missing or damaged in" in ann.registry("promote", code=2)
    ben = ann.clone("ben")
    ben.environment |= s3.CREDENTIALS | {"AWS_ENDPOINT_URL": bucket.endpoint}
    ben.run("sh", "-c", "! dvc pull")  # it ends with 1, or with 255
    assert not (ben.folder / MODEL).exists()
    environment = {"PYTHONPATH": str(ROOT)}
    words = ("python", "-m", "ops.doctor")
    assert f"{how:<9} in the remote  {MODEL}" in ann.run(*words, code=1, **environment)
    assert f"mended    in the remote  {MODEL}" in ann.run(*words, "--repair", **environment)
    assert bucket.read(key) == whole
    ann.registry("promote")
    assert ann.held() == "v1.1.0"


def test_a_bucket_that_is_missing_is_named(ann: Models) -> None:
    ann.run("dvc", "remote", "modify", "storage", "url", "s3://nowhere/x")
    ann.commit("another bucket")
    ann.run("git", "push", "--quiet", "origin", "main")
    said = ann.registry("promote", code=2)
    assert "is missing or damaged in nowhere/x/files/md5" in said or "NoSuchBucket" in said
    said = ann.run("python", "-m", "ops.doctor", code=1, PYTHONPATH=str(ROOT))
    assert said.count("missing   in the remote") == 3


@pytest.mark.parametrize(("status", "words"), [(403, "Forbidden"), (503, "Service Unavailable")])
def test_a_server_that_does_not_answer_is_no_verdict(ann: Models, status: int, words: str) -> None:
    class Handler(QuietHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

    with answer_http(Handler) as endpoint:
        ann.run("dvc", "remote", "modify", "--local", "storage", "endpointurl", endpoint)
        before = ann.tags_on_server()
        said = ann.registry("promote", code=2)
        assert words in said
        assert ann.tags_on_server() == before
        doctor = ("python", "-m", "ops.doctor", "--repair")
        assert words in ann.run(*doctor, code=2, PYTHONPATH=str(ROOT))


def test_a_folder_serves_as_well(ann: Models, tmp_path: Path) -> None:
    """And what was said of an endpoint is forgotten, which a folder does not have."""
    set_up(ann, str(tmp_path / "elsewhere"))
    assert "endpointurl" not in (ann.folder / ".dvc" / "config.local").read_text()
    ann.run("dvc", "push")
    ann.commit("moved")
    ann.run("git", "push", "--quiet", "origin", "main")
    ann.registry("promote")
    assert (tmp_path / "elsewhere" / "files" / "md5").is_dir()


def test_a_remote_wants_a_place(ann: Models) -> None:
    words = ("make", "--old-file=.venv/run", f"BIN={warm_python.programs()}", "remote")
    before = (ann.folder / ".dvc" / "config").read_text()
    assert "URL is missing: make remote URL=s3://bucket/path" in ann.run(*words, code=2)
    for url in ("s3:/bucket", "S3://bucket", "s3://", "gs://bucket/x", "http://host/bucket"):
        said = ann.run(*words, f"URL={url}", code=2, PYTHONPATH=str(ROOT))
        assert f"'{url}' cannot be used; expected a folder or s3://bucket/prefix" in said
    for url in ("s3://Digits/x", "s3://<bucket>/<path>", "s3://digits/../x", "s3://digits/x?y"):
        said = ann.run(*words, f"URL={url}", code=2, PYTHONPATH=str(ROOT))
        assert f"URL is {url}; expected s3://bucket/path. A bucket's name has" in said
    for url, message in (
        ("models/x", "in this repository; expected a folder outside of"),
        ("/nowhere/x", "but there is no folder /nowhere. Is a disk not mounted?"),
        ("/etc/passwd", "which is a file; expected a folder"),
    ):
        said = ann.run(*words, f"URL={url}", code=2, PYTHONPATH=str(ROOT))
        assert f"URL is {url}, {message}" in said
    said = ann.run(*words, "URL=s3://bucket/x", "ENDPOINT=minio:9000", code=2, PYTHONPATH=str(ROOT))
    assert "ENDPOINT is 'minio:9000'; expected http://HOST:PORT" in said
    assert (ann.folder / ".dvc" / "config").read_text() == before


def test_a_remote_is_checked_before_it_is_set(ann: Models, bucket: s3.Bucket) -> None:
    words = ("python", "-m", "ops.remote")
    python = {"PYTHONPATH": str(ROOT)}
    before = (ann.folder / ".dvc" / "config").read_text()
    assert "  ok       conditional writes  for digits deploy" in ann.run(*words, **python)
    others = {"AWS_ACCESS_KEY_ID": "nobody", **python}
    at = ("--endpoint", bucket.endpoint)
    said = ann.run(*words, "s3://digits/other", *at, code=2, **others)
    assert f"are not accepted at {bucket.endpoint}" in said
    said = ann.run(*words, "s3://nowhere/other", *at, code=2, **python)
    assert f"there is no bucket nowhere at {bucket.endpoint}. Create it:" in said
    assert (ann.folder / ".dvc" / "config").read_text() == before
    with s3.rclone(ann.folder.parent) as endpoint:
        said = ann.run(*words, "s3://ann/x", "--endpoint", endpoint, **python)
        assert "  MISSING  conditional writes  for digits deploy" in said
        assert "The remote is s3://ann/x. Commit .dvc/config" in said


def test_a_configuration_that_is_left_of_another_remote_is_named_and_mended(
    tmp_path: Path,
) -> None:
    storage = tmp_path / "storage"
    ann = Models.create(tmp_path / "ann", server=None, storage=storage)
    ann.environment |= {"PYTHONPATH": str(ROOT)}
    ann.train(range(30), push=False)
    endpoint = "['remote \"storage\"']\n    endpointurl = http://127.0.0.1:9\n"
    (ann.folder / ".dvc" / "config.local").write_text(endpoint)
    for words in (("remote",), ("push",), ("doctor",)):
        said = ann.run("python", "-m", f"ops.{words[0]}", code=2)
        assert "DVC's configuration can't be used: " in said
        assert "belongs to another remote than .dvc/config, set both: digits remote URL" in said
    ann.run("python", "-m", "ops.remote", str(storage))
    ann.run("python", "-m", "ops.push")
    assert storage.is_dir()


def test_until_then_every_command_says_that_the_remote_is_a_placeholder(tmp_path: Path) -> None:
    """At once, without a network, whatever credentials the environment has."""
    ann = Models.create(tmp_path / "ann", server=tmp_path / "server", storage=None)
    ann.environment |= s3.CREDENTIALS | {"PYTHONPATH": str(ROOT)}
    ann.train(range(30), push=False)
    ann.run("git", "push", "--quiet", "origin", "main")
    way_out = "make remote URL=s3://bucket/path, or URL=/a/folder"
    for words in (("push",), ("status", "--cloud"), ("gc", "--workspace", "--cloud", "--force")):
        said = ann.run("sh", "-c", f"! dvc {' '.join(words)}")
        assert f"(a placeholder; type: {way_out})" in said
    for module, *words in (("push",), ("remote",), ("registry", "promote")):
        said = ann.run("python", "-m", f"ops.{module}", *words, code=2)
        assert f"(.dvc/config has at most a placeholder). Set one: {way_out}" in said
    assert "only the cache is checked, since there is no DVC remote" in ann.run(
        "python", "-m", "ops.doctor"
    )
    shutil.rmtree(ann.folder / ".dvc" / "cache")
    for command in ("pull", "fetch"):
        assert f"(a placeholder; type: {way_out})" in ann.run("sh", "-c", f"! dvc {command}")
    program = "import pathlib; from ops.tools import dvc; "
    program += "dvc.fetch_committed('HEAD', 'models', pathlib.Path('x'))"
    assert way_out in ann.run("python", "-c", program, code=1)
    # The client of S3 itself refuses the bucket's name, so the profile is not the only protection.
    ann.run("dvc", "remote", "modify", "storage", "--unset", "profile")
    assert 'Invalid bucket name "<bucket>"' in ann.run("sh", "-c", "! dvc push")
