"""The policy allows every call that is made, on what it is made, and nothing else."""

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from ops import sagemaker as account
from ops.tools.sagemaker import aws as clients_of
from ops.tools.sagemaker import bucket, container, hosting, training
from tests.helpers import sagemaker_platform as platform
from tests.helpers.sagemaker_platform import Platform
from tests.helpers.small import ROOT, small_params
from tests.ops.tools.sagemaker.test_hosting import hosted, release  # noqa: F401
from tests.ops.tools.sagemaker.test_training import words

pytestmark = pytest.mark.slow(4)

PLACES = {"REGION": "us-east-1", "ACCOUNT": "123456789012", "BUCKET": platform.BUCKET} | {
    "ROLE": platform.ROLE.rpartition("/")[2]
}
ARN = "arn:aws:sagemaker:us-east-1:123456789012"
LOGS = "arn:aws:logs:us-east-1:123456789012:log-group"
KINDS = {"TrainingJob": "training-job", "EndpointConfig": "endpoint-config"} | {
    "Endpoint": "endpoint",
    "Model": "model",
}


def statements() -> list[dict[str, Any]]:
    text = (ROOT / "ops" / "tools" / "sagemaker" / "policy.json").read_text()
    for name, value in PLACES.items():
        text = re.sub(rf"\b{name}\b", value, text)
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def needs(operation: str, params: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Actions in IAM's words, what they are done to, and the value of their condition."""
    service, _, name = operation.partition(":")
    if service == "s3":
        place = f"arn:aws:s3:::{params['Bucket']}"
        if name == "ListObjectsV2":
            yield "s3:ListBucket", place, params["Query"]["prefix"]
        elif name == "DeleteObjects":
            for key in params["Keys"]:
                yield "s3:DeleteObject", f"{place}/{key}", ""
        else:
            yield f"s3:{name}", f"{place}/{params['Key']}", ""
            if "x-amz-tagging" in params["Headers"]:
                yield "s3:PutObjectTagging", f"{place}/{params['Key']}", ""
    elif service == "logs":
        group, stream = params.get("logGroupName"), params.get("logStreamName")
        place = f"{LOGS}:{group}:log-stream:{stream}" if stream else f"{LOGS}:{group}"
        place += ":" if name == "DescribeLogStreams" else ""
        yield operation, "*" if name == "DescribeLogGroups" else place, ""
    elif name == "ListTags":
        yield operation, params["ResourceArn"], ""
    elif name.startswith("List"):
        yield operation, "*", ""
    else:
        for kind, part in KINDS.items():
            if f"{kind}Name" in params:
                yield operation, f"{ARN}:{part}/{params[f'{kind}Name']}", ""
                if "Tags" in params:
                    yield "sagemaker:AddTags", f"{ARN}:{part}/{params[f'{kind}Name']}", ""
        for key in params.keys() & {"RoleArn", "ExecutionRoleArn"}:
            yield "iam:PassRole", params[key], "sagemaker.amazonaws.com"


def allows(statement: dict[str, Any], action: str, place: str, condition: str) -> bool:
    values = [v for test in statement.get("Condition", {}).values() for v in test.values()]
    return (
        action in as_list(statement["Action"])
        and any(fnmatchcase(place, pattern) for pattern in as_list(statement["Resource"]))
        and all(fnmatchcase(condition, value) for value in values)
    )


@pytest.fixture
def everything(
    hosted: Platform,  # noqa: F811
    release: Callable[..., dict[str, Any]],  # noqa: F811
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Platform:
    """All that can be done, done; in jobs that only write files."""
    aws = hosted
    small_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clients_of, "agreed", lambda question: True)
    monkeypatch.setattr("builtins.input", lambda question: "y")
    work = training.find_work("stages.train", words(prepared), platform.IMAGE)

    def write(request: dict[str, Any]) -> None:
        contents = {name: b"x" for name in work.outputs.values()}
        digests = {name: bucket.sha256(content) for name, content in contents.items()}
        manifest = {"work": work.digest, "files": digests}
        contents[container.MANIFEST] = json.dumps(manifest).encode()
        key = f"{bucket.FOLDER}/jobs/{request['TrainingJobName']}/output/model.tar.gz"
        aws.client("s3").put_object(Bucket=platform.BUCKET, Key=key, Body=bucket.pack(contents))
        aws.write_log(f"{request['TrainingJobName']}/algo-1-1", "epoch 1")

    monkeypatch.setattr(aws, "run", write)
    training.run("stages.train", words(prepared), {})
    release(1)
    release(2)
    hosting.check("production")
    clients = clients_of.connect("us-east-1")
    name = aws.asked("sagemaker:CreateTrainingJob")[0]["TrainingJobName"]
    aws.states[name] = {"TrainingJobStatus": "InProgress"}
    training.offer_to_stop(clients, name)
    group = "/aws/sagemaker/Endpoints/digits-production"
    aws.client("logs").create_log_group(logGroupName=group)
    account.clean(list(account.find_all(clients, platform.BUCKET)))
    release(1, tag=3)
    hosting.delete("production", lambda question: True)
    return aws


def test_every_call_is_allowed_and_nothing_else_is(everything: Platform) -> None:
    used = set()
    for operation, params in everything.calls:
        for action, place, condition in needs(operation, params):
            used.add(action)
            assert any(allows(s, action, place, condition) for s in statements()), (action, place)
    allowed = {action for s in statements() for action in as_list(s["Action"])}
    assert allowed == used


def test_everything_that_is_made_is_tagged(everything: Platform) -> None:
    made = [(name, p) for name, p in everything.calls if name.startswith("sagemaker:Create")]
    assert {name for name, _ in made} == {
        f"sagemaker:Create{kind}" for kind in ("TrainingJob", "Model", "EndpointConfig", "Endpoint")
    }
    for name, params in made:
        tags = {tag["Key"]: tag["Value"] for tag in params["Tags"]}
        assert clients_of.TAG in tags, name
        assert tags["team"] == "vision", name
    for params in everything.asked("s3:PutObject"):
        assert params["Headers"]["x-amz-tagging"].startswith("digits=")


@pytest.mark.parametrize("name", ["policy.json", "role.json"])
def test_a_policy_names_no_account_and_fits_into_one(name: str) -> None:
    text = (ROOT / "ops" / "tools" / "sagemaker" / name).read_text()
    assert not re.search(r"\d{12}", text)
    assert len(re.sub(r"\s", "", text)) <= 6144  # characters of a managed policy
