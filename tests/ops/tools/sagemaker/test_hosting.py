"""Endpoints: made, updated, tried, taken back, removed; and what is left in the account."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from botocore.stub import Stubber

from digits.core.errors import InputError, Unreachable
from digits.evaluation import metrics
from digits.model.classifier import Classifier
from digits.storage.model_store import MODEL_FILES
from ops import deploy
from ops import sagemaker as account
from ops.deploy import Deployed
from ops.predict import __main__
from ops.tools.models import Release
from ops.tools.sagemaker import aws as clients_of
from ops.tools.sagemaker import hosting
from ops.tools.sagemaker.settings import load_settings
from tests.helpers import sagemaker_platform as platform
from tests.helpers import warm_python
from tests.helpers.sagemaker_platform import Answer, Platform, refusal
from tests.helpers.servers import serve
from tests.helpers.tiny_models import model

pytestmark = pytest.mark.slow(4)

MODELS = {number: model(number) for number in (1, 2)}


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Deployed]:
    """Deploy a version; Git and DVC are left out, everything from the copy on is real."""

    def deploy_version(version: int, tag: int | None = None) -> Deployed:
        name = f"digit-classifier#production#{tag or version}"
        found = Release("c" * 40, name, f"v1.{version}.0")
        monkeypatch.setattr(deploy, "find_release", lambda environment: found)
        monkeypatch.setattr(deploy, "bring_release", lambda release: MODELS[version])
        return deploy.deploy("sagemaker", "production")

    return deploy_version


@pytest.fixture
def hosted(aws: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """The platform, with a container that answers as the server of this repository does."""
    monkeypatch.setattr(hosting, "POLL_S", 0)

    def answer(container: Mapping[str, Any], body: Mapping[str, str]) -> Answer:
        folder = unpack(aws, container["ModelDataUrl"], tmp_path)
        classifier = Classifier.load(folder)
        logits = classifier.logits(np.array(body["images"], dtype=np.uint8))
        rows = metrics.softmax(logits).round(6).tolist()
        names = classifier.classes
        predictions = [{"probabilities": dict(zip(names, row, strict=True))} for row in rows]
        return 200, json.dumps({"predictions": predictions, "model": classifier.id}).encode()

    aws.model = answer
    return aws


def unpack(aws: Platform, url: str, target: Path) -> Path:
    """/opt/ml/model as SageMaker makes it."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    content = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    folder = target / hashlib.sha256(content).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def serves(aws: Platform, name: str = "digits-production") -> str | None:
    """The version behind an endpoint, past all that is tested."""
    sagemaker = aws.client("sagemaker")
    names = [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]]
    if name not in names:
        return None
    configuration = sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    variants = sagemaker.describe_endpoint_config(EndpointConfigName=configuration)
    found = sagemaker.describe_model(ModelName=variants["ProductionVariants"][0]["ModelName"])
    version: str = found["PrimaryContainer"]["Environment"]["DIGITS_RELEASE_VERSION"]
    return version


def test_an_endpoint_is_made_then_updated_and_left_alone_if_it_serves_that(
    hosted: Platform, release: Callable[..., Deployed]
) -> None:
    message = release(1).message
    assert "sagemaker: production now serves v1.1.0" in message
    assert "in place of nothing; 30 golden images answered as expected" in message
    assert serves(hosted) == "v1.1.0"

    hosted.calls.clear()
    assert "still serves v1.1.0" in release(1).message
    assert not {"sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint", "s3:PutObject"} & set(
        hosted.names()
    )

    assert "now serves v1.2.0" in release(2).message
    assert serves(hosted) == "v1.2.0"
    assert len(hosted.asked("sagemaker:UpdateEndpoint")) == 1
    assert not hosted.asked("sagemaker:DeleteEndpoint")  # which would interrupt it
    found = deploy.check("sagemaker", "production")
    assert found.whole
    assert found.pointer
    assert found.pointer.tag == "digit-classifier#production#2"


def test_the_container_finds_the_model_folder_and_nothing_else(
    hosted: Platform, release: Callable[..., Deployed], tmp_path: Path
) -> None:
    release(1)
    (asked,) = hosted.asked("sagemaker:CreateModel")
    assert asked["EnableNetworkIsolation"] is True
    folder = unpack(hosted, asked["PrimaryContainer"]["ModelDataUrl"], tmp_path)
    assert {path.name for path in folder.iterdir()} == set(MODEL_FILES)
    assert all((folder / name).read_bytes() == MODELS[1][name] for name in MODEL_FILES)


@pytest.mark.slow(10)
def test_the_server_of_this_repository_keeps_the_hosting_contract(
    hosted: Platform, release: Callable[..., Deployed], tmp_path: Path
) -> None:
    """As its container's `serve` starts it, on the archive as SageMaker unpacks it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def answer(container: Mapping[str, Any], body: Mapping[str, Any]) -> Answer:
        folder = unpack(hosted, container["ModelDataUrl"], tmp_path)
        stated = container["Environment"] | {"PATH": path}
        with serve(folder, tmp_path, command=("sh", "serving/serve"), **stated) as server:
            with urllib.request.urlopen(f"{server.url}/ping", timeout=2) as ping:
                assert ping.status == 200
            found = server.ask("/invocations", body, Accept="application/json")
            return found.status, found.body

    hosted.model = answer
    assert "30 golden images answered as expected" in release(1).message


def test_a_clone_that_lacks_the_newest_tags_changes_nothing(
    hosted: Platform, release: Callable[..., Deployed]
) -> None:
    release(2)
    with pytest.raises(InputError, match=r"an older one. Fetch the others: git fetch --tags"):
        release(1)
    assert serves(hosted) == "v1.2.0"


def test_a_batch_goes_through_the_endpoint_and_gives_the_rows_of_a_run_here(
    hosted: Platform,
    release: Callable[..., Deployed],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release(1)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in MODEL_FILES:
        (folder / name).write_bytes(MODELS[1][name])
    np.save(tmp_path / "images.npy", np.load(folder / "golden.npz")["images"])
    monkeypatch.setattr(hosting, "BODY_BYTES", 7 * 64 * hosting.PIXEL_BYTES)  # seven images
    rows = {}
    for url in (str(folder), "sagemaker://digits-production"):
        out = tmp_path / f"{len(rows)}.parquet"
        words = ["predict", str(tmp_path / "images.npy"), str(out), "--model", url]
        monkeypatch.setattr(sys, "argv", words)
        hosted.calls.clear()
        __main__.main()
        rows[url] = pq.read_table(out)
    here, there = rows.values()
    assert here["predicted"] == there["predicted"]
    assert here.schema == there.schema
    gap = np.subtract(here["confidence"].to_numpy(), there["confidence"].to_numpy())
    assert np.abs(gap).max() < 1e-5
    bodies = hosted.asked("sagemaker:InvokeEndpoint")
    assert [len(call["Body"]["images"]) for call in bodies] == [7, 7, 7, 7, 2]
    assert json.loads((tmp_path / "1.parquet.manifest.json").read_text())["version"] == "v1.1.0"


def shifted(by: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An answer in which the least likely class of an image is more likely."""

    def shift(answer: dict[str, Any]) -> dict[str, Any]:
        row = answer["predictions"][0]["probabilities"]
        row[min(row, key=row.get)] += by
        return answer

    return shift


WRONG: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another class": shifted(1.5),
    "0 of 30 golden images with another class; probabilities differ": shifted(0.02),
    "answers with the model": lambda answer: answer | {"model": "0" * 64},
    "no probabilities": lambda answer: {"model": answer["model"], "predictions": [{}]},
    "answers 3 images of 30": lambda answer: answer | {"predictions": answer["predictions"][:3]},
}


@pytest.mark.parametrize("message", WRONG)
@pytest.mark.parametrize("first", [True, False])
def test_what_answers_wrongly_is_taken_back(
    message: str, first: bool, hosted: Platform, release: Callable[..., Deployed]
) -> None:
    """To the former release, or to nothing."""
    if not first:
        release(1)
    good = hosted.model
    assert good is not None

    def wrong(container: Mapping[str, Any], body: Mapping[str, str]) -> Answer:
        status, content = good(container, body)
        return status, json.dumps(WRONG[message](json.loads(content))).encode()

    hosted.model = wrong
    with pytest.raises(InputError, match=message) as caught:
        release(2)
    if first:
        assert "The endpoint is removed" in str(caught.value)
    else:
        assert "It serves v1.1.0, as before" in str(caught.value)
    assert serves(hosted) == (None if first else "v1.1.0")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            refusal("ModelError", "Received server error (500) from primary"),
            "no answer: .*ModelErr",
        ),
        ((200, b"<html>"), "its answer has no probabilities"),
    ],
)
def test_what_does_not_answer_is_taken_back(
    answer: Answer, message: str, hosted: Platform, release: Callable[..., Deployed]
) -> None:
    release(1)
    hosted.model = lambda container, body: answer
    with pytest.raises(InputError, match=message):
        release(2)
    assert serves(hosted) == "v1.1.0"


@pytest.fixture
def killed(
    hosted: Platform, release: Callable[..., Deployed], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """A deployment that ends after the endpoint's switch, before its golden images."""

    def deploy_and_end(version: int) -> None:
        def end(*words: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(hosting, "check_answers", end)
            with pytest.raises(KeyboardInterrupt):
                release(version)
        assert serves(hosted) == f"v1.{version}.0"

    return deploy_and_end


def test_a_deployment_that_was_killed_is_completed_by_the_same_command(
    hosted: Platform, release: Callable[..., Deployed], killed: Callable[[int], None]
) -> None:
    release(1)
    killed(2)
    hosted.calls.clear()
    assert "30 golden images answered as expected" in release(2).message
    assert "sagemaker:UpdateEndpoint" not in hosted.names()
    good, hosted.model = hosted.model, lambda container, body: (200, b"<html>")
    with pytest.raises(InputError, match=r"It serves v1\.2\.0, as before"):
        release(1, tag=3)
    hosted.model = good
    assert deploy.check("sagemaker", "production").whole


@pytest.mark.parametrize("tag", [2, 3])  # the same command again, and another release's
@pytest.mark.parametrize("first", [True, False])
def test_what_a_killed_deployment_left_untried_is_never_gone_back_to(
    tag: int,
    first: bool,
    hosted: Platform,
    release: Callable[..., Deployed],
    killed: Callable[[int], None],
) -> None:
    if not first:
        release(1)
    killed(2)
    account.clean([it for it in things() if not it.in_use])
    hosted.model = lambda container, body: (200, b"<html>")
    message = "The endpoint is removed" if first else r"It serves v1\.1\.0, as before"
    with pytest.raises(InputError, match=message):
        release(2, tag)
    assert serves(hosted) == (None if first else "v1.1.0")


def test_what_answered_once_and_no_longer_does_is_left_with_a_way_out(
    hosted: Platform, release: Callable[..., Deployed]
) -> None:
    release(1)
    hosted.model = lambda container, body: (200, b"<html>")
    with pytest.raises(InputError, match=r"correctly before. To go back: digits registry rollback"):
        release(1)
    assert serves(hosted) == "v1.1.0"


def test_what_an_update_under_way_brings_is_in_use(
    hosted: Platform, release: Callable[..., Deployed]
) -> None:
    """DescribeEndpoint names the former configuration until the new machines serve."""
    for version in (1, 2):
        release(version)
    coming, was = (
        hosted.asked(f"sagemaker:{operation}Endpoint")[-1]["EndpointConfigName"]
        for operation in ("Update", "Create")
    )
    under_way = endpoint("Updating", was, PendingDeploymentSummary={"EndpointConfigName": coming})
    arn = under_way["EndpointArn"]
    hosted.client("sagemaker").delete_tags(ResourceArn=arn, TagKeys=[clients_of.PROVEN])
    hosted.refusals["sagemaker:DescribeEndpoint"] = [(200, json.dumps(under_way).encode())]
    assert all(it.in_use for it in things())


def things() -> list[account.Resource]:
    return list(account.find_all(clients_of.connect("us-east-1"), platform.BUCKET))


def test_an_endpoint_that_somebody_else_made_is_left_alone(
    hosted: Platform, release: Callable[..., Deployed]
) -> None:
    sagemaker = hosted.client("sagemaker")
    container = {"Image": "theirs:1", "ModelDataUrl": "s3://theirs/model.tar.gz"}
    sagemaker.create_model(
        ModelName="theirs", PrimaryContainer=container, ExecutionRoleArn=platform.ROLE
    )
    variant = {"VariantName": "v", "ModelName": "theirs", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="theirs", ProductionVariants=[variant | {"InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName="digits-production", EndpointConfigName="theirs")
    with pytest.raises(InputError, match=r"digits-production was not created by digits deploy"):
        release(1)
    with pytest.raises(InputError, match=r"was not created by digits deploy"):
        hosting.delete("production", lambda question: True)
    assert not [it for it in things() if it.kind != "folder"]


def command(module: str, *words: str, answer: str = "", code: int = 0) -> str:
    found = subprocess.run(
        [warm_python.python(), "-m", module, *words],
        input=answer,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert found.returncode == code, found.stdout
    return found.stdout


@pytest.mark.slow(10)
def test_removal_asks_first(hosted: Platform, release: Callable[..., Deployed]) -> None:
    release(1)
    remove = ("ops.deploy", "--to", "sagemaker", "--delete")
    for answer in ("", "\n", "no\n"):
        said = command(*remove, answer=answer)
        assert "digits-production serves v1.1.0. Remove it? [y/N]" in said
        assert "left as it is" in said
        assert serves(hosted) == "v1.1.0"
    assert "removed" in command(*remove, answer="y\n")
    assert serves(hosted) is None
    assert "there is no endpoint digits-production" in command(*remove, answer="y\n", code=2)
    said = command("ops.deploy", "--to", "sagemaker", "--check", code=1)
    assert "serves nothing: NOT WHOLE" in said


@pytest.mark.slow(10)
def test_list_shows_what_there_is_and_clean_removes_what_nothing_uses(
    hosted: Platform, release: Callable[..., Deployed]
) -> None:
    assert "nothing in us-east-1" in command("ops.sagemaker", "list")
    release(1)
    release(2)
    hosted.write_log("digits-train-1/algo-1-1", "epoch 1")
    hosted.write_log("somebody-elses/algo-1-1", "epoch 1")
    group = "/aws/sagemaker/Endpoints/digits-production"
    hosted.client("logs").create_log_group(logGroupName=group)
    hosted.client("s3").put_object(Bucket=platform.BUCKET, Key="theirs", Body=b"1")
    shown = command("ops.sagemaker", "list")
    kinds = Counter(line.split()[0] for line in shown.splitlines())
    assert kinds == {"endpoint": 1, "configuration": 2, "model": 2, "folder": 2, "log": 2}
    assert shown.count("in use") == 5  # the endpoint, and one each of what it stands on
    listed = json.loads(command("ops.sagemaker", "list", "--json"))
    assert Counter(it["kind"] for it in listed) == kinds
    assert [it["in_use"] for it in listed].count(True) == 5

    assert "Remove 4 of these" in command("ops.sagemaker", "clean", answer="n\n")
    assert command("ops.sagemaker", "list") == shown
    command("ops.sagemaker", "clean", answer="y\n")
    assert serves(hosted) == "v1.2.0"
    assert deploy.check("sagemaker", "production").whole
    left = command("ops.sagemaker", "list")
    assert left.count("in use") == len(left.splitlines()) == 5

    command("ops.sagemaker", "clean", "--all", answer="y\n")
    assert "nothing in us-east-1" in command("ops.sagemaker", "list")
    assert [
        each["Key"]
        for each in hosted.client("s3").list_objects_v2(Bucket=platform.BUCKET)["Contents"]
    ] == ["theirs"]
    streams = hosted.client("logs").describe_log_streams(logGroupName=platform.LOGS)["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["somebody-elses/algo-1-1"]


@pytest.mark.slow(10)
def test_what_somebody_else_has_and_what_fails_do_not_keep_it_from_cleaning(
    hosted: Platform, release: Callable[..., Deployed]
) -> None:
    release(1)
    theirs = {"ModelName": "mnist-digits-prod", "ExecutionRoleArn": "arn:aws:iam::1:role/theirs"}
    hosted.client("sagemaker").create_model(PrimaryContainer={"Image": "theirs"}, **theirs)
    assert "mnist-digits-prod" not in command("ops.sagemaker", "list")
    hosted.refusals["sagemaker:DeleteEndpoint"] = [refusal("ValidationException", "just now, no")]
    said = command("ops.sagemaker", "clean", "--all", answer="y\n", code=1)
    assert "not removed; run the same command again:\n  endpoint digits-production:" in said
    left = command("ops.sagemaker", "list")
    assert left.splitlines() == [line for line in left.splitlines() if line.startswith("endpoint")]


def test_a_deployment_that_came_meanwhile_is_not_undone_by_an_older_one(
    hosted: Platform, release: Callable[..., Deployed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passed the first look, then took its time."""
    release(1)
    before = hosting.read_pointer("production")
    release(2)
    with monkeypatch.context() as patch:
        patch.setattr(hosting, "read_pointer", lambda stage: before)
        with pytest.raises(InputError, match=r"now serves v1\.2\.0: another deployment"):
            release(1)
    assert serves(hosted) == "v1.2.0"


# What an endpoint may do while it changes, through botocore's Stubber


@pytest.fixture
def stub(hosted: Platform, release: Callable[..., Deployed]) -> Iterator[Stubber]:
    """SageMaker's client as told, after a first deployment; its describing of ours is real."""
    made = clients_of.connect("us-east-1")
    with Stubber(made.sagemaker) as stubber:
        stubber.clients = made  # type: ignore[attr-defined]
        yield stubber


def endpoint(status: str, configuration: str = "c1", **more: Any) -> dict[str, Any]:
    return {
        "EndpointName": "digits-production",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/digits-production",
        "EndpointConfigName": configuration,
        "EndpointStatus": status,
        "CreationTime": 0,
        "LastModifiedTime": 0,
        **more,
    }


def tell(stub: Stubber, *described: dict[str, Any]) -> None:
    """What DescribeEndpoint says, one after the other; behind it stands a model of ours."""
    for each in described:
        stub.add_response("describe_endpoint", each)
        if each["EndpointStatus"] not in hosting.CHANGING:
            stub.add_response("describe_endpoint_config", CONFIGURATION)
            stub.add_response("describe_model", MODEL)
            stub.add_response("list_tags", {"Tags": []})


ARN = "arn:aws:sagemaker:us-east-1:123456789012"
CONFIGURATION = {
    "EndpointConfigName": "c1",
    "EndpointConfigArn": f"{ARN}:endpoint-config/c1",
    "ProductionVariants": [{"VariantName": "all", "ModelName": "m1"}],
    "CreationTime": 0,
}
MODEL = {
    "ModelName": "m1",
    "ModelArn": f"{ARN}:model/m1",
    "CreationTime": 0,
    "PrimaryContainer": {
        "ModelDataUrl": "s3://bucket/model.tar.gz",
        "Environment": {
            "DIGITS_RELEASE_MODEL": "a" * 64,
            "DIGITS_RELEASE_VERSION": "v1.0.0",
            "DIGITS_RELEASE_TAG": "digit-classifier#production#1",
        },
    },
}


def switch(stub: Stubber, before: hosting.Endpoint | None) -> None:
    clients = stub.clients  # type: ignore[attr-defined]
    with clients_of.explained():
        hosting.switch(clients, load_settings(), "digits-production", before, "c2")


def before(stub: Stubber) -> hosting.Endpoint:
    tell(stub, endpoint("InService"))
    found = hosting.find(stub.clients, "digits-production")  # type: ignore[attr-defined]
    assert found is not None
    return found


def test_it_is_waited_for_until_the_new_machines_serve(stub: Stubber) -> None:
    was = before(stub)
    stub.add_response("update_endpoint", {"EndpointArn": f"{ARN}:endpoint/digits-production"})
    tell(stub, *[endpoint("Updating")] * 3, endpoint("InService", "c2"))
    switch(stub, was)
    stub.assert_no_pending_responses()


def test_an_update_that_fails_leaves_the_former_and_says_why(stub: Stubber) -> None:
    was = before(stub)
    stub.add_response("update_endpoint", {"EndpointArn": f"{ARN}:endpoint/digits-production"})
    reason = "The primary container did not pass the ping health check"
    tell(stub, endpoint("Updating"), endpoint("RollingBack"))
    tell(stub, endpoint("InService", "c1", FailureReason=reason))
    with pytest.raises(InputError, match=f"it could not be switched to c2: {reason}"):
        switch(stub, was)
    stub.assert_no_pending_responses()


def test_an_endpoint_that_never_starts_is_removed(stub: Stubber) -> None:
    """Else it would stand in the way of the next try."""
    stub.add_response("create_endpoint", {"EndpointArn": f"{ARN}:endpoint/digits-production"})
    reason = "Please check if your ECR image exists and has proper pull permissions"
    tell(stub, endpoint("Creating", "c2"), endpoint("Failed", "c2", FailureReason=reason))
    with pytest.raises(InputError, match=r"the image must be in ECR"):
        switch(stub, None)
    tell(stub, endpoint("Failed", "c2", FailureReason=reason))
    stub.add_response("delete_endpoint", {})
    stub.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
    assert "The endpoint is removed" in go_back(stub, None)
    stub.assert_no_pending_responses()


def test_an_update_that_fails_over_what_was_never_proven_goes_further_back(stub: Stubber) -> None:
    """SageMaker itself goes back no further than to what was served last."""
    tell(stub, endpoint("InService", "c2", FailureReason="no ping"))
    stub.add_response("update_endpoint", {"EndpointArn": f"{ARN}:endpoint/digits-production"})
    tell(stub, endpoint("Updating", "c2"), endpoint("InService", "c1"))
    assert go_back(stub, "c1") == "It serves v1.0.0, as before"
    stub.assert_no_pending_responses()


def test_a_way_back_that_fails_is_shouted(stub: Stubber) -> None:
    tell(stub, endpoint("InService", "c2"))
    stub.add_client_error("update_endpoint", "ValidationException", "Could not find configuration")
    assert go_back(stub, "c1").startswith("GOING BACK FAILED TOO, check the endpoint now: An error")
    stub.assert_no_pending_responses()


def go_back(stub: Stubber, former: str | None) -> str:
    clients = stub.clients  # type: ignore[attr-defined]
    return hosting.go_back(clients, load_settings(), "digits-production", former)


def test_no_quota_is_told_with_the_way_out(stub: Stubber) -> None:
    text = "The account-level service limit 'ml.m5.large for endpoint usage' is 0 Instances"
    stub.add_client_error("create_endpoint", "ResourceLimitExceeded", text)
    with pytest.raises(Unreachable, match=r"(?s)service limit.*Service Quotas"):
        switch(stub, None)


def test_one_that_changes_for_ever_is_given_up(
    stub: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "WAIT_S", -1)
    tell(stub, endpoint("Updating"))
    with pytest.raises(InputError, match=r"is still Updating after"):
        hosting.find(stub.clients, "digits-production")  # type: ignore[attr-defined]
