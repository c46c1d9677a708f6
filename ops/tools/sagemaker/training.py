"""Run a stage as a training job on SageMaker, for ops.launch.

Data and code are uploaded to S3 once, named by their content. A job's name is the digest of
everything that decides its result, and the number of the attempt. So the same work finds its job
again: a running job is followed, and the outputs of a completed one are fetched. A new job is
created only if there is neither; it continues from the checkpoints of the attempt before.
"""

import hashlib
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from digits.core import files
from digits.core.command_line import say
from digits.core.errors import ROOT, InputError
from digits.core.params import read_yaml
from ops.tools import imports
from ops.tools.sagemaker import aws, bucket, container
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.bucket import Content
from ops.tools.sagemaker.settings import Settings, load_settings

# The modules that start the stage in the container; ops.launch imports this one to start the job.
LAUNCHERS = ("ops/launch.py", "ops/tools/sagemaker/container.py")
HERE_ONLY = "ops/tools/sagemaker/training.py"
# The packages that the stage and the launcher import.
PACKAGES = ("numpy", "psutil", "pydantic", "pyyaml", "safetensors", "torch", "tqdm")

POLL_S = 10
LOGS = "/aws/sagemaker/TrainingJobs"
WAITING_S = 3600  # how long a spot job may wait for a machine
RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True)
class Work:
    """A stage to run; `digest` covers everything that decides its result."""

    stage: str
    paths: Mapping[str, str]  # by option of the stage's command
    params: Mapping[str, Any]  # the stage's sections of params.yaml
    channels: Mapping[str, Mapping[str, Content]]  # `data` and `code`: contents by file name
    digest: str

    @property
    def outputs(self) -> dict[str, str]:
        """The file's name in the job's archive, by option of the stage's command."""
        outputs = self.paths.keys() - {"params", "data", "resume"}
        return {option: option + Path(self.paths[option]).suffix for option in sorted(outputs)}


def run(stage: str, arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run a stage on SageMaker and fetch its outputs.

    Parameters
    ----------
    stage : module; dvc.yaml has its dependencies and parameters
    arguments : pairs --option PATH: `data` a folder, `params` a file, `resume`; else outputs
    environment : of the stage, on each host

    Raises `InputError` if something is missing, AWS refuses, or the job fails; its message says
    what helps. After Ctrl-C, asks whether to stop the job.
    """
    settings = load_settings()
    work = find_work(stage, arguments, settings.required("image"))
    with aws.connected(settings.region) as clients:
        for attempt in itertools.count(1):
            name = f"{aws.PREFIX}{stage.rpartition('.')[2]}-{work.digest[:20]}-{attempt}"
            try:
                if run_attempt(clients, settings, work, name, environment):
                    return
            except KeyboardInterrupt:
                offer_to_stop(clients, name)
                raise


def run_attempt(
    clients: Clients, settings: Settings, work: Work, name: str, environment: Mapping[str, str]
) -> bool:
    """Find or create a job, and fetch its outputs; False if this attempt is of no use any more."""
    job = describe(clients, name) or create(clients, settings, work, name, environment)
    match job["TrainingJobStatus"]:
        case "InProgress":
            job = follow(clients, name)
            if job["TrainingJobStatus"] != "Completed":
                raise InputError(aws.with_advice(f"{name} {failure(job)}"))
            say(f"{name} is complete; billed: {job.get('BillableTimeInSeconds', 'some')} s")
            fetch_outputs(clients, work, job)
            return True
        case "Completed":
            try:
                fetch_outputs(clients, work, job)
            except InputError as error:
                say(str(error))
            else:
                say(f"{name} was already complete")
                return True
        case "Stopping":
            job = follow(clients, name)
    say(f"{name} {failure(job)}; now the next attempt")
    return False


# The work


def find_work(stage: str, arguments: Sequence[str], image: str) -> Work:
    """The data, code and parameters of a stage, from its arguments and dvc.yaml."""
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
        raise InputError(
            f"{stage} is not a stage of dvc.yaml; expected one of: {', '.join(stages)}"
        ) from None
    document = read_yaml(paths.get("--params", "params.yaml"))
    params = {name: document[name] for name in declared.get("params", []) if name in document}
    code = sorted(imports.reached(f"{stage.replace('.', '/')}.py"))
    code += [dep for dep in declared["deps"] if dep.startswith("requirements")]
    uploaded: dict[str, Content] = {
        path: ROOT / path for path in (*code, *launcher_files(), container.CONSTRAINTS)
    }
    uploaded[container.REQUIREMENTS] = pins().encode()
    identity = {
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
        {"data": {name: data / name for name in identity["data"]}, "code": uploaded},
        hashlib.sha256(files.canonical_json(identity).encode()).hexdigest(),
    )


def launcher_files() -> set[str]:
    """The code that starts the stage, and what makes the folders packages."""

    def read(path: str) -> bytes | None:
        return None if path == HERE_ONLY else imports.read_code(path)

    code = {path for module in LAUNCHERS for path in imports.reached(module, read)}
    folders = {folder for path in code for folder in Path(path).parents} - {Path()}
    return code | {f"{folder}/__init__.py" for folder in {*folders, Path("stages")}}


def pins() -> str:
    """A line NAME==VERSION for each of `PACKAGES`."""
    text = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("requirements-compute.txt", "requirements.txt")
    )
    versions = dict(re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE))
    return "".join(f"{name}=={versions[name]}\n" for name in PACKAGES)


# The job


def describe(clients: Clients, name: str) -> Mapping[str, Any] | None:
    job: Mapping[str, Any] | None = aws.found(
        clients.sagemaker.describe_training_job, TrainingJobName=name
    )
    return job


def create(
    clients: Clients, settings: Settings, work: Work, name: str, environment: Mapping[str, str]
) -> Mapping[str, Any]:
    """Upload the missing files and create the job, unless another process has just created it."""
    for channel, contents in work.channels.items():
        bucket.send(clients, settings.bucket, channel, contents)
    machines = f"{settings.instance_count} x {settings.instance_type}"
    say(f"{name}: {machines}, for at most {settings.max_run_s} s")
    try:
        clients.sagemaker.create_training_job(**request(settings, work, name, environment))
    except ClientError as error:
        if not aws.exists_already(error):
            raise
        return describe(clients, name) or {"TrainingJobStatus": "Deleting"}
    return {"TrainingJobStatus": "InProgress"}


def request(
    settings: Settings, work: Work, name: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The parameters of CreateTrainingJob; the container reads the hyperparameters."""
    digests = {channel: bucket.digest(contents) for channel, contents in work.channels.items()}
    ours = f"s3://{settings.bucket}/{bucket.FOLDER}"
    sections = {f"params.{name}": json.dumps(section) for name, section in work.params.items()}
    stopping = {"MaxRuntimeInSeconds": settings.max_run_s}
    if settings.spot:
        stopping["MaxWaitTimeInSeconds"] = settings.max_run_s + WAITING_S
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": settings.required("image"),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-m", "ops.tools.sagemaker.container"],
        },
        "RoleArn": settings.role,
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
                        "S3Uri": bucket.url(settings.bucket, channel, digest),
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
            "InstanceType": settings.instance_type,
            "InstanceCount": settings.instance_count,
            "VolumeSizeInGB": settings.volume_gb,
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": settings.spot,
        "Environment": {
            "PYTHONPATH": "/opt/ml/input/data/code",
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        "Tags": aws.tags(settings, "training"),
    }


def follow(clients: Clients, name: str) -> Mapping[str, Any]:
    """Print a job's steps and its log until it ends. Returns its last description."""
    log, printed = Log(clients, name), 0
    try:
        while True:
            job = describe(clients, name) or {"TrainingJobStatus": "Deleting"}
            steps = job.get("SecondaryStatusTransitions", [])
            for step in steps[printed:]:
                say(f"  {step['Status']}: {step.get('StatusMessage', '')}")
            printed = len(steps)
            log.print_new()
            if job["TrainingJobStatus"] not in RUNNING:
                return job
            time.sleep(POLL_S)
    except (ClientError, BotoCoreError):
        say(f"lost contact with {name}, which may still run; the same command finds it again")
        raise


class Log:
    """The log of a job's hosts; each line is printed once."""

    def __init__(self, clients: Clients, name: str) -> None:
        self.logs = clients.logs
        self.name = name
        self.tokens: dict[str, str] = {}  # by stream: the next line to read

    def print_new(self) -> None:
        describe = self.logs.describe_log_streams
        answer = aws.found(describe, logGroupName=LOGS, logStreamNamePrefix=f"{self.name}/")
        if answer is None:  # the account's first job has not printed anything yet
            return
        streams = [stream["logStreamName"] for stream in answer["logStreams"]]
        for stream in streams:
            host = stream.rpartition("/")[2].rpartition("-")[0]
            prefix = f"[{host}] " if len(streams) > 1 else ""
            for line in self.new_lines(stream):
                say(f"  {prefix}{line}")

    def new_lines(self, stream: str) -> Iterator[str]:
        while True:
            position = {"nextToken": self.tokens[stream]} if stream in self.tokens else {}
            page = self.logs.get_log_events(
                logGroupName=LOGS, logStreamName=stream, startFromHead=True, **position
            )
            yield from (event["message"] for event in page["events"])
            if self.tokens.get(stream) == page["nextForwardToken"]:
                return
            self.tokens[stream] = page["nextForwardToken"]


def failure(job: Mapping[str, Any]) -> str:
    """How an incomplete job ended, and the advice that follows from that."""
    match job.get("SecondaryStatus"):
        case "MaxRuntimeExceeded":
            return (
                "reached its time limit, compute.sagemaker.max_run_s; the same command continues "
                "after its last whole epoch"
            )
        case "MaxWaitTimeExceeded":
            return "found no spot machine in time: try later, or without compute.sagemaker.spot"
    status = job["TrainingJobStatus"].lower()
    if status == "stopped":
        return "was stopped; the same command continues after its last whole epoch"
    return f"{status}: {job['FailureReason']}" if "FailureReason" in job else f"is {status}"


def offer_to_stop(clients: Clients, name: str) -> None:
    """After Ctrl-C: ask whether to stop the job. Without an answer it is stopped."""
    job = describe(clients, name)
    if job is None or job["TrainingJobStatus"] != "InProgress":
        return
    try:
        answer = input(f"\n{name} still runs, and costs money until it ends. Stop it? [Y/n] ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower().startswith("n"):
        say("It still runs; the same command finds it again")
        return
    clients.sagemaker.stop_training_job(TrainingJobName=name)
    say("It stops within two minutes; the same command continues after its last whole epoch")


# The outputs


def fetch_outputs(clients: Clients, work: Work, job: Mapping[str, Any]) -> None:
    """Download the outputs of a job and check them all, then write them to their paths."""
    url = job["ModelArtifacts"]["S3ModelArtifacts"]
    contents = bucket.fetch(clients, url, [container.MANIFEST, *work.outputs.values()])
    digests = {name: bucket.sha256(contents[name]) for name in work.outputs.values()}
    expected = {"work": work.digest, "files": digests}
    if json.loads(contents[container.MANIFEST]) != expected:
        raise InputError(
            f"{url} can't be used: its files do not match its manifest, or it is of other work"
        )
    for option, name in work.outputs.items():
        files.write(work.paths[option], contents[name])
