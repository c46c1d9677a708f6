"""A stage as a training job on SageMaker, for ops.launch.

Data and code go to S3 by content, once. The job's name comes from the content of all that decides
the result and the number of the attempt, so that the same work is found again: one that runs is
followed, one that is done is fetched, and only else is a new one made. It goes on from the
checkpoints of the attempt before.
"""

import hashlib
import itertools
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from digits.core import files
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.core.params import read_yaml
from ops.tools import imports
from ops.tools.sagemaker import aws, bucket, container, settings
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.bucket import Content
from ops.tools.sagemaker.settings import Settings

ROOT = Path(__file__).parents[3]  # of the code that runs, and its dvc.yaml
RUNS_IT = (  # in the container, beside what the stage imports
    "digits/__init__.py",
    "stages/__init__.py",
    "ops/__init__.py",
    "ops/launch.py",
    "ops/tools/__init__.py",
    "ops/tools/compute.py",
    "ops/tools/processes.py",
    "ops/tools/sagemaker/__init__.py",
    "ops/tools/sagemaker/container.py",
)
# What these files import from outside the standard library.
PACKAGES = ("numpy", "psutil", "pydantic", "pyyaml", "safetensors", "torch", "tqdm")

POLL_S = 10
LOGS = "/aws/sagemaker/TrainingJobs"
WAITING_S = 3600  # how long a spot job may wait for a machine
RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True)
class Work:
    """What is to be done; `digest` is of all that decides the result."""

    stage: str
    paths: Mapping[str, str]  # by option of its command
    params: Mapping[str, Any]  # its sections of params.yaml
    channels: Mapping[str, Mapping[str, Content]]  # `data` and `code`: files by name
    digest: str

    @property
    def outputs(self) -> dict[str, str]:
        """Option: name of its file in the archive that comes back."""
        outputs = self.paths.keys() - {"params", "data", "resume"}
        return {option: option + Path(self.paths[option]).suffix for option in sorted(outputs)}


def run(stage: str, arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run a stage there; its outputs appear here.

    Parameters
    ----------
    stage : its module; dvc.yaml has its dependencies and parameters
    arguments : pairs --option PATH: `data` a folder, `params` a file, `resume`; the rest outputs
    environment : of the stage, on each host

    Raises
    ------
    InputError
        If something is missing, AWS refuses, or the job fails; says what helps.
    KeyboardInterrupt
        Upon Ctrl-C, after the question whether to stop the job.
    """
    there = settings.load()
    work = find_work(stage, arguments, there.required("image"))
    with aws.explained():
        clients = aws.connect(there.region)
        for attempt in itertools.count(1):
            name = f"{aws.PREFIX}{stage.rpartition('.')[2]}-{work.digest[:20]}-{attempt}"
            try:
                if is_brought(clients, there, work, name, environment):
                    return
            except KeyboardInterrupt:
                offer_to_stop(clients, name)
                raise


def is_brought(
    clients: Clients, there: Settings, work: Work, name: str, environment: Mapping[str, str]
) -> bool:
    """Find a job or make it, and bring its outputs; False if another name is needed."""
    job = describe(clients, name) or create(clients, there, work, name, environment)
    match job["TrainingJobStatus"]:
        case "InProgress":
            job = follow(clients, name)
            if job["TrainingJobStatus"] != "Completed":
                raise InputError(aws.with_way_out(f"{name} {failure(job)}"))
            say(f"{name} is done, {job.get('BillableTimeInSeconds', 'some')} s to pay")
            bring(clients, work, job)
            return True
        case "Completed":
            try:
                bring(clients, work, job)
            except InputError as error:
                say(str(error))
            else:
                say(f"{name} had done this already")
                return True
        case "Stopping":
            job = follow(clients, name)
    say(f"{name} {failure(job)}; the next attempt")
    return False


# What is to be done


def find_work(stage: str, arguments: Sequence[str], image: str) -> Work:
    """Data, code and parameters of a stage, as its command and dvc.yaml name them."""
    paths = {option: path for option, path in zip(arguments[::2], arguments[1::2], strict=False)}
    data = Path(paths.get("--data", ""))
    if len(arguments) != 2 * len(paths) or "--data" not in paths or not data.is_dir():
        raise InputError(
            f"arguments of {stage} are {list(arguments)}; expected pairs of --option PATH, and "
            f"--data to be a folder"
        )
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    try:
        declared = stages[stage.removeprefix("stages.")]
    except KeyError:
        raise InputError(f"{stage} is no stage of dvc.yaml; has: {', '.join(stages)}") from None
    document = read_yaml(paths.get("--params", "params.yaml"))
    params = {name: document[name] for name in declared.get("params", []) if name in document}
    code = sorted(imports.reached(f"{stage.replace('.', '/')}.py", read_code))
    code += [dep for dep in declared["deps"] if dep.startswith("requirements")]
    carried: dict[str, Content] = {
        path: ROOT / path for path in (*code, *RUNS_IT, container.CONSTRAINTS)
    }
    carried[container.REQUIREMENTS] = pins().encode()
    decides = {
        "stage": stage,
        "image": image,
        "params": params,
        "data": container.folder_digests(data),
        "code": {path: files.sha256(ROOT / path) for path in code},
    }
    return Work(
        stage,
        {option.removeprefix("--"): path for option, path in paths.items()},
        params,
        {"data": {name: data / name for name in decides["data"]}, "code": carried},
        hashlib.sha256(files.canonical_json(decides).encode()).hexdigest(),
    )


def read_code(path: str) -> bytes | None:
    return (ROOT / path).read_bytes() if (ROOT / path).is_file() else None


def pins() -> str:
    """A line NAME==VERSION for each of `PACKAGES`."""
    text = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("requirements-compute.txt", "requirements.txt")
    )
    found = dict(re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE))
    return "".join(f"{name}=={found[name]}\n" for name in PACKAGES)


# The job


def describe(clients: Clients, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = clients.sagemaker.describe_training_job(TrainingJobName=name)
    except ClientError as error:
        if aws.is_absent(error):
            return None
        raise
    return found


def create(
    clients: Clients, there: Settings, work: Work, name: str, environment: Mapping[str, str]
) -> Mapping[str, Any]:
    """Send what is missing and make the job, unless another one has just made it."""
    asked = request(there, work, name, environment)
    aws.check(clients.sagemaker, "CreateTrainingJob", asked)  # before anything is sent
    for channel, contents in work.channels.items():
        bucket.send(clients, there.bucket, channel, contents)
    say(f"{name}: {there.instance_count} x {there.instance_type}, for {there.max_run_s} s at most")
    try:
        clients.sagemaker.create_training_job(**asked)
    except ClientError as error:
        if not aws.exists_already(error):
            raise
        return describe(clients, name) or {"TrainingJobStatus": "Deleting"}
    return {"TrainingJobStatus": "InProgress"}


def request(
    there: Settings, work: Work, name: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What CreateTrainingJob is asked; the container reads the hyperparameters."""
    digests = {channel: bucket.digest(contents) for channel, contents in work.channels.items()}
    ours = f"s3://{there.bucket}/{bucket.FOLDER}"
    sections = {f"params.{name}": json.dumps(section) for name, section in work.params.items()}
    stopping = {"MaxRuntimeInSeconds": there.max_run_s}
    if there.spot:
        stopping["MaxWaitTimeInSeconds"] = there.max_run_s + WAITING_S
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": there.required("image"),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-m", "ops.tools.sagemaker.container"],
        },
        "RoleArn": there.role,
        "HyperParameters": {
            "stage": work.stage,
            "outputs": json.dumps(work.outputs),
            "work": work.digest,
            **digests,
            **sections,
        },
        "InputDataConfig": [
            {
                "ChannelName": channel,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": bucket.url(there.bucket, channel, digest),
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for channel, digest in digests.items()
        ],
        "OutputDataConfig": {"S3OutputPath": f"{ours}/jobs"},
        "CheckpointConfig": {
            "S3Uri": f"{ours}/checkpoints/{work.digest}",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {
            "InstanceType": there.instance_type,
            "InstanceCount": there.instance_count,
            "VolumeSizeInGB": there.volume_gb,
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": there.spot,
        "Environment": {
            "PYTHONPATH": "/opt/ml/input/data/code",
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        "Tags": aws.tags(there, "training"),
    }


def follow(clients: Clients, name: str) -> Mapping[str, Any]:
    """Tell what a job does and what it says, until it ends; its last description."""
    log, told = Log(clients, name), 0
    try:
        while True:
            job = describe(clients, name) or {"TrainingJobStatus": "Deleting"}
            steps = job.get("SecondaryStatusTransitions", [])
            for step in steps[told:]:
                say(f"  {step['Status']}: {step.get('StatusMessage', '')}")
            told = len(steps)
            log.tell()
            if job["TrainingJobStatus"] not in RUNNING:
                return job
            time.sleep(POLL_S)
    except (ClientError, BotoCoreError):
        say(f"{name} may go on, and is no longer followed; the same command finds it again")
        raise


class Log:
    """What the hosts of a job print, each line once."""

    def __init__(self, clients: Clients, name: str) -> None:
        self.logs = clients.logs
        self.name = name
        self.tokens: dict[str, str] = {}  # by stream: where to go on

    def tell(self) -> None:
        try:
            found = self.logs.describe_log_streams(
                logGroupName=LOGS, logStreamNamePrefix=f"{self.name}/"
            )
        except ClientError as error:
            if aws.is_absent(error):  # the account's first job has said nothing yet
                return
            raise
        streams = [stream["logStreamName"] for stream in found["logStreams"]]
        for stream in streams:
            host = stream.rpartition("/")[2].rpartition("-")[0]
            prefix = f"[{host}] " if len(streams) > 1 else ""
            for line in self.news(stream):
                say(f"  {prefix}{line}")

    def news(self, stream: str) -> Iterator[str]:
        while True:
            since = {"nextToken": self.tokens[stream]} if stream in self.tokens else {}
            page = self.logs.get_log_events(
                logGroupName=LOGS, logStreamName=stream, startFromHead=True, **since
            )
            yield from (event["message"] for event in page["events"])
            if self.tokens.get(stream) == page["nextForwardToken"]:
                return
            self.tokens[stream] = page["nextForwardToken"]


def failure(job: Mapping[str, Any]) -> str:
    """How a job ended that did not complete, and what follows from that."""
    match job.get("SecondaryStatus"):
        case "MaxRuntimeExceeded":
            return "ran out of its time: compute.sagemaker.max_run_s. It goes on where it was"
        case "MaxWaitTimeExceeded":
            return "found no spot machine in time: later, or without compute.sagemaker.spot"
    status = job["TrainingJobStatus"].lower()
    if status == "stopped":
        return "was stopped; the same command goes on after its last whole epoch"
    return f"{status}: {job['FailureReason']}" if "FailureReason" in job else f"is {status}"


def offer_to_stop(clients: Clients, name: str) -> None:
    """After Ctrl-C: stop the job, unless a person says otherwise."""
    job = describe(clients, name)
    if job is None or job["TrainingJobStatus"] != "InProgress":
        return
    try:
        answer = input(f"\n{name} goes on, and costs money until it ends. Stop it? [Y/n] ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower().startswith("n"):
        say("It goes on; the same command finds it again")
        return
    clients.sagemaker.stop_training_job(TrainingJobName=name)
    say("It is stopping, within two minutes; the same command goes on after its last whole epoch")


# What comes back


def bring(clients: Clients, work: Work, job: Mapping[str, Any]) -> None:
    """Put the outputs of a job in their places, all checked before the first is written."""
    url = job["ModelArtifacts"]["S3ModelArtifacts"]
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        archive = Path(folder, "model.tar.gz")
        bucket.fetch(clients, url, archive)
        try:
            found = bucket.unpack(archive, [container.MANIFEST, *work.outputs.values()])
            manifest = json.loads(found[container.MANIFEST])
            digests = {name: bucket.sha256(found[name]) for name in work.outputs.values()}
            if manifest != {"work": work.digest, "files": digests}:
                raise InputError("it is not what its manifest says, or of other work")
        except (ValueError, InputError) as error:
            raise InputError(f"{url} is of no use: {error}") from None
    for option, name in work.outputs.items():
        files.write(work.paths[option], found[name])
