"""Training jobs: what is asked of AWS, what comes back, and what can go wrong in between."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.stub import Stubber

from digits.core.errors import InputError, Unreachable
from ops.tools import imports
from ops.tools.sagemaker import aws as clients_of
from ops.tools.sagemaker import bucket, container, training
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.settings import Settings, load_settings
from tests.helpers import run_stages
from tests.helpers import sagemaker_platform as platform
from tests.helpers.project import Project
from tests.helpers.sagemaker_platform import Platform, refusal
from tests.helpers.small import ROOT, small_params

pytestmark = pytest.mark.slow(4)

OUTPUTS = {"weights": "w.safetensors", "metrics": "m.json", "curve": "out/c.csv"}
ENVIRONMENT = {"DIGITS_COMPUTE_WORKERS": "1", "DIGITS_COMPUTE_PROCESSES": "1"}


def words(prepared: Path) -> list[str]:
    paths = {"params": "params.yaml", "data": str(prepared), **OUTPUTS, "resume": ".resume"}
    return [word for name, path in paths.items() for word in (f"--{name}", path)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with small parameters."""
    small_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_section(folder: Path, section: Mapping[str, Any], **compute: str) -> None:
    """Small parameters that say where in AWS; the committed ones have no such section."""
    path = small_params(folder)
    document = yaml.safe_load(path.read_text())
    document["compute"] |= {"sagemaker": dict(section), **compute}
    path.write_text(yaml.safe_dump(document))


def train(prepared: Path) -> None:
    training.run("stages.train", words(prepared), ENVIRONMENT)


def made(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS.values()}


# The whole way


@pytest.mark.slow(10)
def test_a_job_gives_the_bytes_that_the_stage_gives_here_and_is_paid_for_once(
    aws: Platform, here: Path, prepared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(prepared)
    said = capfd.readouterr().err
    assert "  epoch 2 of 2: training loss" in said
    assert (
        said.index("sending data") < said.index("-1: 1 x ml.m5.xlarge") < said.index("is complete")
    )
    there = made(here)
    run_stages.run_train(here / "params.yaml", prepared, here)
    names = ("weights.safetensors", "metrics/train.json", "training.csv")
    assert list(there.values()) == [(here / name).read_bytes() for name in names]

    # Lost, and wanted again, with another number of workers and from another folder.
    for name in OUTPUTS.values():
        (here / name).unlink()
    aws.calls.clear()
    elsewhere = here / "copy"
    shutil.copytree(prepared, elsewhere)
    training.run("stages.train", words(elsewhere), {"DIGITS_COMPUTE_WORKERS": "4"})
    assert made(here) == there
    assert "was already complete" in capfd.readouterr().err
    assert not [name for name in aws.names() if name.endswith(("PutObject", "CreateTrainingJob"))]

    # Its archive was removed: another attempt, for which nothing has to be sent.
    aws.calls.clear()
    storage = aws.client("s3")
    for item in storage.list_objects_v2(Bucket=platform.BUCKET)["Contents"]:
        if "/jobs/" in item["Key"]:
            storage.delete_object(Bucket=platform.BUCKET, Key=item["Key"])
    train(prepared)
    assert made(here) == there
    (asked,) = aws.asked("sagemaker:CreateTrainingJob")
    assert asked["TrainingJobName"].endswith("-2")
    assert not aws.asked("s3:PutObject")


@pytest.mark.slow(10)
def test_dvc_repro_trains_there_by_its_parameters_alone(aws: Platform, tmp_path: Path) -> None:
    """And the lock is that of a run here."""
    project = Project.scratch(tmp_path / "project")
    section = {key.lower(): value for key, value in platform.SETTINGS.items() if key != "TAGS"}
    write_section(project.folder, section, backend="sagemaker")
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    credentials = {name: os.environ[name] for name in names}
    project.run("dvc", "repro", "train", **credentials)
    assert len(aws.asked("sagemaker:CreateTrainingJob")) == 1
    lock = project.lock()
    project.run("dvc", "repro", "--force", "--single-item", "train",
                DIGITS_COMPUTE_BACKEND="local")  # fmt: skip
    assert project.lock() == lock
    assert len(aws.asked("sagemaker:CreateTrainingJob")) == 1


@pytest.mark.slow(10)
def test_a_failed_job_says_why_and_the_next_attempt_has_another_name(
    aws: Platform, here: Path, prepared: Path
) -> None:
    small_params(here, {"train.epochs": 0})
    for attempt in (1, 2):
        with pytest.raises(InputError, match=r"failed: AlgorithmError: .*train\.epochs is 0"):
            train(prepared)
        assert aws.asked("sagemaker:CreateTrainingJob")[-1]["TrainingJobName"].endswith(
            f"-{attempt}"
        )
    assert not (here / "w.safetensors").exists()


# The name


def digest(prepared: Path, image: str = platform.IMAGE) -> str:
    return training.find_work("stages.train", words(prepared), image).digest


def test_the_name_follows_what_decides_the_result_and_nothing_else(
    here: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(prepared)
    small_params(here, {"compute.workers": 3, "gate.max_loss": 20, "data.source": "mnist"})
    assert digest(prepared) == before
    small_params(here, {"train.seed": 1})
    assert digest(prepared) != before
    small_params(here)
    assert digest(prepared, "another:1") != before
    other = tmp_path / "other"
    shutil.copytree(prepared, other)
    assert digest(other) == before
    (other / "val-labels.npy").write_bytes(b"other")
    assert digest(other) != before

    root = tmp_path / "root"
    for name in ("digits", "stages", "ops"):
        shutil.copytree(ROOT / name, root / name)
    for file in [*ROOT.glob("*.txt"), ROOT / "dvc.yaml"]:
        shutil.copy(file, root)
    monkeypatch.setattr(training, "ROOT", root)
    for file in training.launcher_files() - imports.reached("stages/train.py").keys():
        (root / file).write_text((root / file).read_text() + "\n# edited\n")
    assert digest(prepared) == before
    (root / "digits" / "training" / "loop.py").write_text("edited = True\n")
    assert digest(prepared) != before


# What AWS may answer, through botocore's Stubber: each answer is checked against the service


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> tuple[Clients, Stubber]:
    """Clients without a server: of SageMaker as told, of logs none."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(training, "POLL_S", 0)
    clients = clients_of.connect("us-east-1")
    monkeypatch.setattr(training.Log, "print_new", lambda self: None)
    stub = Stubber(clients.sagemaker)
    stub.activate()
    return clients, stub


def described(status: str, secondary: str, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "digits-train-1",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/digits-train-1",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"},
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "CreationTime": 0,
        **more,
    }


ABSENT = ("ValidationException", "Requested resource not found.")
STEP = {"Status": "Downloading", "StartTime": 0, "StatusMessage": "Downloading input data"}


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (described("Stopped", "Stopped"), "was stopped; the same command continues"),
        (
            described("Stopped", "MaxRuntimeExceeded"),
            "reached its time limit, compute.sage",
        ),
        (described("Stopped", "MaxWaitTimeExceeded"), "found no spot machine in time"),
        (
            described("Failed", "Failed", FailureReason="AlgorithmError: no loss, exit code: 1"),
            "failed: AlgorithmError: no loss, exit code: 1",
        ),
        (
            described(
                "Failed",
                "Failed",
                FailureReason="ClientError: Please check if your ECR "
                "image exists and has proper pull permissions",
            ),
            "the image must be in ECR in this region",
        ),
        (
            described(
                "Failed",
                "Failed",
                FailureReason="CapacityError: Unable to provision requested ML compute capacity",
            ),
            "AWS has no free machine",
        ),
        (
            described(
                "Failed",
                "Failed",
                FailureReason="AlgorithmError: [Errno 28] No space left on device",
            ),
            "compute.sagemaker.volume_gb",
        ),
    ],
)
def test_how_a_job_ended_is_told(
    ended: dict[str, Any],
    message: str,
    stubbed: tuple[Clients, Stubber],
    here: Path,
    prepared: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clients, stub = stubbed
    running = described("InProgress", "Downloading", SecondaryStatusTransitions=[STEP])
    for answer in (running, running, running, ended):
        stub.add_response("describe_training_job", answer)
    with pytest.raises(InputError, match=message):
        bring(clients, here, prepared)
    stub.assert_no_pending_responses()
    assert capfd.readouterr().err.count("Downloading input data") == 1


def bring(clients: Clients, here: Path, prepared: Path) -> bool:
    section = {key.lower(): value for key, value in platform.SETTINGS.items() if key != "TAGS"}
    settings = Settings.parse(section)
    work = training.find_work("stages.train", words(prepared), platform.IMAGE)
    with clients_of.explained():
        return training.run_attempt(clients, settings, work, "digits-train-1", ENVIRONMENT)


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_an_attempt_that_ended_before_is_followed_by_another(
    status: str, stubbed: tuple[Clients, Stubber], here: Path, prepared: Path
) -> None:
    clients, stub = stubbed
    stub.add_response("describe_training_job", described(status, status))
    assert not bring(clients, here, prepared)


def test_one_that_is_being_stopped_is_waited_for(
    stubbed: tuple[Clients, Stubber], here: Path, prepared: Path
) -> None:
    clients, stub = stubbed
    for status in ("Stopping", "Stopping", "Stopped"):
        stub.add_response("describe_training_job", described(status, status))
    assert not bring(clients, here, prepared)
    stub.assert_no_pending_responses()


def refuse_creation(stub: Stubber, monkeypatch: pytest.MonkeyPatch, code: str, text: str) -> None:
    """There is no job of the name, and none can be made."""
    monkeypatch.setattr(bucket, "send", lambda *words: None)
    stub.add_client_error(
        "describe_training_job", "ValidationException", "Requested resource not found."
    )
    stub.add_client_error("create_training_job", code, text)


def test_two_that_ask_at_once_share_a_job(
    stubbed: tuple[Clients, Stubber],
    here: Path,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients, stub = stubbed
    refuse_creation(stub, monkeypatch, "ResourceInUse", "names must be unique")
    for status in ("InProgress", "InProgress", "Failed"):
        stub.add_response("describe_training_job", described(status, "Training"))
    with pytest.raises(InputError, match=r"failed"):
        bring(clients, here, prepared)
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        ("ResourceLimitExceeded", "The account-level service limit is 0", "Service Quotas"),
        ("ValidationException", "Could not assume role arn:aws:iam::1:role/x", "trusts sagemaker"),
        ("AccessDeniedException", "arn:aws:sts::1:assumed-role/me is not authorized to perform: "
         "sagemaker:CreateTrainingJob", "ops/tools/sagemaker/policy.json"),
        ("AccessDeniedException", "User is not authorized to perform: iam:PassRole", "role.json"),
        ("ExpiredTokenException", "The security token is expired", "aws sts get-caller-identity"),
        ("ThrottlingException", "Rate exceeded", "Refused 8 times, with growing waits"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_helps(
    code: str,
    text: str,
    message: str,
    stubbed: tuple[Clients, Stubber],
    here: Path,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients, stub = stubbed
    refuse_creation(stub, monkeypatch, code, text)
    with pytest.raises(Unreachable, match=message) as caught:
        bring(clients, here, prepared)
    assert text in str(caught.value)


def test_a_job_that_is_no_longer_followed_goes_on_and_that_is_said(
    stubbed: tuple[Clients, Stubber],
    here: Path,
    prepared: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clients, stub = stubbed
    stub.add_response("describe_training_job", described("InProgress", "Training"))
    stub.add_client_error("describe_training_job", "ThrottlingException", "Rate exceeded")
    with pytest.raises(Unreachable, match=r"ThrottlingException"):
        bring(clients, here, prepared)
    assert "the same command finds it again" in capfd.readouterr().err


@pytest.mark.parametrize("refused", [2, 9])
def test_throttling_is_tried_again_and_then_given_up(
    refused: int, aws: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP: the Stubber answers past botocore's own attempts."""
    monkeypatch.setattr(clients_of, "ATTEMPTS", 3)
    slow = refusal("ThrottlingException", "Rate exceeded")
    aws.refusals["sagemaker:DescribeTrainingJob"] = [slow] * refused
    clients = clients_of.connect("us-east-1")
    given_up = pytest.raises(Unreachable, match=r"(?s)ThrottlingException.*growing waits")
    with given_up if refused > 2 else nullcontext(), clients_of.explained():
        assert training.describe(clients, "digits-train-1") is None
    assert len(aws.asked("sagemaker:DescribeTrainingJob")) == 3


def test_without_credentials_it_says_which(
    here: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in platform.SETTINGS.items():
        monkeypatch.setenv(f"DIGITS_COMPUTE_SAGEMAKER_{name}", value)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers those of other tests
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Unreachable, match=r"no credentials for AWS.*AWS_ACCESS_KEY_ID"):
        train(prepared)


# Errors before any request


def test_a_spot_job_may_wait_for_a_machine_and_then_run_as_long_as_another() -> None:
    settings = Settings(
        region="us-east-1", bucket="bucket", role="arn", image="image", max_run_s=7200, spot=True
    )
    work = training.Work("stages.train", {}, {}, {}, "a" * 64)
    assert training.request(settings, work, "name", {})["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 7200,
        "MaxWaitTimeInSeconds": 7200 + training.WAITING_S,
    }


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("VOLUME_GB", "0", "volume_gb is 0; expected greater than or equal to 1"),
        ("BUCKET", "s3://bucket", "bucket is 's3://bucket'; expected"),
        ("SPOT", "perhaps", "spot is 'perhaps'; expected a valid boolean"),
        ("TAGS", "a", "tags is 'a'; expected a section of keys"),
        ("MAX_RUN_S", "0", "max_run_s is 0"),
    ],
)
def test_a_setting_that_is_not_valid_is_an_error_before_any_request(
    setting: str,
    value: str,
    message: str,
    aws: Platform,
    here: Path,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"DIGITS_COMPUTE_SAGEMAKER_{setting}", value)
    with pytest.raises(InputError, match=message):
        train(prepared)
    assert not {"s3:PutObject", "sagemaker:CreateTrainingJob"} & set(aws.names())


def test_the_section_is_strict_and_says_what_is_missing(here: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)compute\.sagemaker\.region is missing.*role is"):
        load_settings()
    section = {"region": "a", "bucket": "abc", "role": "r", "imag": "x"}
    write_section(here, section)
    with pytest.raises(InputError, match=r"compute\.sagemaker\.imag is unknown; expected one of:"):
        load_settings()
    del section["imag"]
    write_section(here, section)
    with pytest.raises(InputError, match=r"compute\.sagemaker\.image is missing\. Set it in"):
        load_settings().required("image")


@pytest.mark.parametrize(
    "arguments", [[], ["--data"], ["--data", "no-such-folder"], ["--weights", "w"], ["a", "b", "c"]]
)
def test_arguments_that_are_no_paths_are_refused(here: Path, arguments: list[str]) -> None:
    with pytest.raises(InputError, match=r"expected pairs of --option PATH"):
        training.find_work("stages.train", arguments, platform.IMAGE)


# Archives


def test_an_archive_has_the_same_bytes_whenever_it_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    contents = {"b": b"2" * 100_000, "a": b"1"}
    packed = bucket.pack(contents)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert bucket.pack(dict(reversed(contents.items()))) == packed
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packed)
    assert bucket.unpack(io.BytesIO(path.read_bytes()), contents) == contents


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 1) -> Any:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, target, size if kind == tarfile.REGTYPE else 0
    return found


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("../w")], r"holds '\.\./w', which is not expected"),
        ([member("/w")], "holds '/w'"),
        ([member("w/../../x")], "which is not expected"),
        ([member("w", tarfile.SYMTYPE, "/etc/passwd")], "holds 'w'"),
        ([member("w", tarfile.LNKTYPE, "m")], "holds 'w'"),
        ([member("w", tarfile.CHRTYPE)], "holds 'w'"),
        ([member("w", tarfile.FIFOTYPE)], "holds 'w'"),
        ([member("w", tarfile.DIRTYPE)], "holds 'w'"),
        ([member("w"), member("w"), member("m")], "holds 'w'"),
        ([member("w"), member("more")], "holds 'more'"),
        ([member("w")], "it lacks m"),
        ([], "it lacks m, w"),
    ],
)
def test_an_archive_with_anything_else_in_it_is_refused(
    members: list[tarfile.TarInfo], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(b"x" * each.size))
    with pytest.raises(InputError, match=message):
        bucket.unpack(io.BytesIO(path.read_bytes()), ["w", "m"])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("length", [0, 10, 100, 2000])
def test_a_truncated_archive_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(bucket.pack({"w": os.urandom(3000)})[:length])
    with pytest.raises(InputError, match=r"damaged|lacks"):
        bucket.unpack(io.BytesIO(path.read_bytes()), ["w"])


def test_a_file_of_a_terabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        tar.fileobj.write(member("w", size=1 << 40).tobuf(tarfile.GNU_FORMAT))  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"w has 1,099,511,627,776 bytes"):
        bucket.unpack(io.BytesIO(path.read_bytes()), ["w"])


@pytest.mark.parametrize("what", ["work", "weights.safetensors"])
def test_an_archive_that_is_not_what_its_manifest_says_reaches_no_output(
    what: str, aws: Platform, here: Path, prepared: Path
) -> None:
    work = training.find_work("stages.train", words(prepared), platform.IMAGE)
    contents = {name: b"x" for name in work.outputs.values()}
    digests = {name: bucket.sha256(content) for name, content in contents.items()}
    manifest: dict[str, Any] = {"work": work.digest, "files": digests}
    if what == "work":
        manifest["work"] = "0" * 64
    else:
        contents[what] = b"y"
    contents[container.MANIFEST] = json.dumps(manifest).encode()
    key = "digits-sagemaker/jobs/a/output/model.tar.gz"
    aws.client("s3").put_object(Bucket=platform.BUCKET, Key=key, Body=bucket.pack(contents))
    job = {"ModelArtifacts": {"S3ModelArtifacts": f"s3://{platform.BUCKET}/{key}"}}
    refused = pytest.raises(InputError, match=r"do not match its manifest, or it is of other work")
    with refused, clients_of.connected("us-east-1") as clients:
        training.fetch_outputs(clients, work, job)
    assert not any((here / name).exists() for name in OUTPUTS.values())


# Ctrl-C


@pytest.mark.parametrize(
    ("answer", "stopped"), [("y\n", True), ("\n", True), ("", True), ("n\n", False)]
)
def test_ctrl_c_asks_and_then_stops_the_job(
    answer: str, stopped: bool, aws: Platform, here: Path, prepared: Path
) -> None:
    """A closed terminal can't answer: then it is stopped, since it costs money."""
    running = {"TrainingJobStatus": "InProgress", "SecondaryStatusTransitions": [STEP]}
    work = training.find_work("stages.train", words(prepared), platform.IMAGE)
    name = f"digits-train-{work.digest[:20]}-1"
    aws.states[name] = running
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.launch", "stages.train", *words(prepared)],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DIGITS_COMPUTE_BACKEND": "sagemaker"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Downloading input data" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(answer, timeout=60)
    assert process.returncode == 130, out + err
    assert f"{name} still runs, and costs money until it ends. Stop it?" in out
    assert bool(aws.asked("sagemaker:StopTrainingJob")) == stopped
    assert ("It stops within" if stopped else "the same command finds it again") in err
