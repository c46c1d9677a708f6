"""SageMaker on this machine: moto, and before it what moto does not do.

Training jobs run: the real entry point, as the request says, on a fake /opt/ml filled from S3; its
model folder becomes model.tar.gz. Names are taken once, endpoints are updated and answer.

    def test_a_job_is_asked_for_once(aws: Platform) -> None:     # the fixture sets the environment
        training.run("stages.train", words, {})
        assert len(aws.asked("sagemaker:CreateTrainingJob")) == 1
"""

import json
import re
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import boto3
import pytest
from botocore import session, validate
from botocore.model import ServiceModel, Shape
from s3fs import S3FileSystem

from tests.helpers import s3, warm_python

ROLE = "arn:aws:iam::123456789012:role/digits"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.15.0"
BUCKET = "models-of-digits"
SETTINGS = {
    "REGION": "us-east-1",
    "BUCKET": BUCKET,
    "ROLE": ROLE,
    "IMAGE": IMAGE,
    "HOSTING_IMAGE": "123456789012.dkr.ecr.us-east-1.amazonaws.com/digits:1",
    "TAGS": "{team: vision}",
}
LOGS = "/aws/sagemaker/TrainingJobs"
Answer = tuple[int, bytes]


def refusal(code: str, message: str, status: int = 400) -> Answer:
    return status, json.dumps({"__type": code, "message": message}).encode()


@dataclass
class Platform:
    """`calls` are the requests that came; `model` answers for an endpoint."""

    upstream: str
    folder: Path
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refusals: dict[str, list[Answer]] = field(default_factory=dict)  # the next of an operation
    states: dict[str, dict[str, Any]] = field(default_factory=dict)  # of jobs that did not succeed
    model: Callable[[dict[str, Any], Mapping[str, str]], Answer] | None = None
    wrong: list[str] = field(default_factory=list)  # what AWS would refuse of the calls
    url: str = ""
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client past all that is recorded."""
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service,
                endpoint_url=self.upstream,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return self.clients[service]

    def names(self) -> list[str]:
        """The operations that were called, each once, in their order."""
        return list(dict.fromkeys(name for name, _ in self.calls))

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]

    def instead(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer | None:
        operation, params = operation_of(method, path, headers, body)
        self.calls.append((operation, params))
        self.wrong += breaches(operation, params)
        if self.refusals.get(operation):
            return self.refusals[operation].pop(0)
        own = getattr(self, operation.rpartition(":")[2], None)
        found: Answer | None = own(params) if own else None
        return found

    def CreateTrainingJob(self, params: dict[str, Any]) -> Answer | None:
        name = params["TrainingJobName"]
        if (
            len(
                [
                    p
                    for p in self.asked("sagemaker:CreateTrainingJob")
                    if p["TrainingJobName"] == name
                ]
            )
            > 1
        ):
            return refusal("ResourceInUse", "Training job names must be unique")
        if name not in self.states:
            self.run(params)
        return None

    def DescribeTrainingJob(self, params: dict[str, Any]) -> Answer | None:
        state = self.states.get(params["TrainingJobName"])
        known = [p["TrainingJobName"] for p in self.asked("sagemaker:CreateTrainingJob")]
        if state is None or params["TrainingJobName"] not in known:
            return None
        return 200, json.dumps(state).encode()

    def StopTrainingJob(self, params: dict[str, Any]) -> Answer:
        self.states[params["TrainingJobName"]] = {"TrainingJobStatus": "Stopped"}
        return 200, b"{}"

    def CreateModel(self, params: dict[str, Any]) -> Answer | None:
        known = [p["ModelName"] for p in self.asked("sagemaker:CreateModel")]
        if known.count(params["ModelName"]) > 1:
            return refusal("ValidationException", "Cannot create already existing model")
        return None

    def CreateEndpointConfig(self, params: dict[str, Any]) -> Answer | None:
        known = [p["EndpointConfigName"] for p in self.asked("sagemaker:CreateEndpointConfig")]
        if known.count(params["EndpointConfigName"]) > 1:
            text = "Cannot create already existing endpoint configuration"
            return refusal("ValidationException", text)
        return None

    def UpdateEndpoint(self, params: dict[str, Any]) -> Answer:
        sagemaker = self.client("sagemaker")
        arn = sagemaker.describe_endpoint(EndpointName=params["EndpointName"])["EndpointArn"]
        tags = sagemaker.list_tags(ResourceArn=arn)["Tags"]
        sagemaker.delete_endpoint(EndpointName=params["EndpointName"])
        sagemaker.create_endpoint(**params, Tags=tags)
        return 200, json.dumps({"EndpointArn": arn}).encode()

    def InvokeEndpoint(self, params: dict[str, Any]) -> Answer:
        """Asks what serves the model of the endpoint's configuration."""
        sagemaker = self.client("sagemaker")
        configuration = sagemaker.describe_endpoint(EndpointName=params["EndpointName"])
        name = configuration["EndpointConfigName"]
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=name)
        model = sagemaker.describe_model(ModelName=variants["ProductionVariants"][0]["ModelName"])
        assert self.model is not None
        return self.model(model["PrimaryContainer"], params["Body"])

    def run(self, request: dict[str, Any]) -> None:
        """Run a training job to its end, and keep what came of it."""
        storage, name = self.client("s3"), request["TrainingJobName"]
        root = self.folder / name
        fill(root, request)
        for channel in request["InputDataConfig"]:
            url = channel["DataSource"]["S3DataSource"]["S3Uri"]
            download(storage, url, root / "input" / "data" / channel["ChannelName"])
        download(storage, request["CheckpointConfig"]["S3Uri"], root / "checkpoints")
        found = subprocess.run(
            request["AlgorithmSpecification"]["ContainerEntrypoint"],
            cwd="/",
            env=environment(root, request) | {"PATH": warm_python.path()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.write_log(f"{name}/algo-1-1234567890", found.stdout)
        if found.returncode:
            self.states[name] = {
                "TrainingJobStatus": "Failed",
                "FailureReason": f"AlgorithmError: {(root / 'output' / 'failure').read_text()}",
            }
            return
        archive = root / "output" / "model.tar.gz"
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(root / "model", ".")
        bucket, _, folder = request["OutputDataConfig"]["S3OutputPath"][5:].partition("/")
        storage.upload_file(str(archive), bucket, f"{folder}/{name}/output/model.tar.gz")

    def write_log(self, stream: str, text: str) -> None:
        logs = self.client("logs")
        groups = logs.describe_log_groups(logGroupNamePrefix=LOGS)["logGroups"]
        if not groups:
            logs.create_log_group(logGroupName=LOGS)
        logs.create_log_stream(logGroupName=LOGS, logStreamName=stream)
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in text.splitlines() if line]
        logs.put_log_events(logGroupName=LOGS, logStreamName=stream, logEvents=events)


def operation_of(
    method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[str, dict[str, Any]]:
    """service:Operation and its parameters, as a request has them on the wire."""
    if target := headers.get("X-Amz-Target"):
        service, _, operation = target.partition(".")
        return f"{'logs' if service.startswith('Logs') else 'sagemaker'}:{operation}", json.loads(
            body
        )
    if path.startswith("/endpoints/"):
        words = {"EndpointName": path.split("/")[2], "Body": json.loads(body)}
        return "sagemaker:InvokeEndpoint", words
    path, _, query = path.partition("?")
    bucket, _, key = path.lstrip("/").partition("/")
    name = {"PUT": "PutObject", "POST": "DeleteObjects", "GET": "GetObject"}[method]
    words = {"Bucket": bucket, "Key": key, "Query": dict(parse_qsl(query)), "Headers": headers}
    if name == "DeleteObjects":
        words["Keys"] = re.findall(r"<Key>(.*?)</Key>", body.decode())
    return f"s3:{name if key or name == 'DeleteObjects' else 'ListObjectsV2'}", words


@cache
def described(service: str) -> ServiceModel:
    return session.get_session().get_service_model(service)


def breaches(operation: str, params: Mapping[str, Any]) -> list[str]:
    """What of a request contradicts botocore's model of the service: names, types, limits."""
    service, _, name = operation.partition(":")
    if service == "s3" or name == "InvokeEndpoint":  # on the wire in another form
        return []
    shape = described(service).operation_model(name).input_shape
    assert shape is not None
    report = validate.validate_parameters(params, shape)
    return (
        [f"{operation}: {report.generate_report()}"]
        if report
        else [f"{operation}: {fault}" for fault in faults(params, shape, "")]
    )


# Classes of characters in the services' patterns, which `re` lacks.
CLASSES = {r"\p{L}": "a-zA-Z\u00c0-\uffff", r"\p{N}": r"\d", r"\p{Z}": r"\s"}


def faults(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """The limits of a shape that a value breaks; botocore checks neither pattern nor choices."""
    limits = shape.metadata
    match shape.type_name:
        case "structure":
            for name in value.keys() & shape.members.keys():
                yield from faults(value[name], shape.members[name], f"{path}.{name}".lstrip("."))
        case "map":
            for key, item in value.items():
                yield from faults(key, shape.key, f"{path} key {key!r}")
                yield from faults(item, shape.value, f"{path}.{key}")
        case "list":
            for i, item in enumerate(value):
                yield from faults(item, shape.member, f"{path}.{i}")
        case "string":
            pattern = limits.get("pattern", ".*")
            for theirs, ours in CLASSES.items():
                pattern = pattern.replace(theirs, ours)
            if not re.fullmatch(pattern, value, re.DOTALL):
                yield f"{path} is {value!r}; expected the form {pattern}"
            if value not in limits.get("enum", [value]):
                yield f"{path} is {value!r}; expected one of {limits['enum']}"
    size = value if isinstance(value, int | float) else len(value)
    if not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"{path} has the size {size:,}; expected {limits}"


def fill(root: Path, request: Mapping[str, Any], hosts: tuple[str, ...] = ("algo-1",)) -> None:
    """The folders and the configuration that the platform makes, for the first of the hosts."""
    for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
        (root / name).mkdir(parents=True, exist_ok=True)
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    write_config(
        root,
        hyperparameters=request["HyperParameters"],
        inputdataconfig={
            each["ChannelName"]: channel | {"RecordWrapperType": "None"}
            for each in request["InputDataConfig"]
        },
        resourceconfig={
            "current_host": hosts[0],
            "current_instance_type": "ml.m5.xlarge",
            "hosts": sorted(hosts),
            "network_interface_name": "eth0",
        },
    )


def write_config(root: Path, **documents: Any) -> None:
    for name, document in documents.items():
        (root / "input" / "config" / f"{name}.json").write_text(json.dumps(document))


def environment(root: Path, request: Mapping[str, Any]) -> dict[str, str]:
    """What a container's first process finds; /opt/ml is `root`."""
    stated = {k: v.replace("/opt/ml", str(root)) for k, v in request["Environment"].items()}
    return {
        "PATH": warm_python.REAL_PATH,
        "SAGEMAKER_BASE_DIR": str(root),
        "TRAINING_JOB_NAME": request["TrainingJobName"],
        **stated,
    }


def download(storage: Any, url: str, target: Path) -> None:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    found = storage.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    for item in found:
        path = target / item["Key"].removeprefix(prefix).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.download_file(bucket, item["Key"], str(path))


@contextmanager
def started(folder: Path) -> Iterator[Platform]:
    """A platform that the environment names, with an empty bucket."""
    with s3.moto() as upstream, s3.proxy(upstream) as proxy, pytest.MonkeyPatch.context() as patch:
        request = urllib.request.Request(f"{upstream}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()  # its memory is the process's
        made = Platform(upstream, folder, url=proxy.url)
        proxy.instead = made.instead
        made.client("s3").create_bucket(Bucket=BUCKET)
        for name, value in {**s3.CREDENTIALS, "AWS_ENDPOINT_URL": proxy.url}.items():
            patch.setenv(name, value)
        for name, value in SETTINGS.items():
            patch.setenv(f"DIGITS_COMPUTE_SAGEMAKER_{name}", value)
        yield made
        assert not made.wrong
    S3FileSystem.clear_instance_cache()  # it has read the environment
