"""List or remove what this project has in an AWS account: digits sagemaker list|clean [--all]

`list` shows what training and deployment have created: running jobs, endpoints, their models and
configurations, files in S3, logs. An endpoint costs money until it is removed, a job until it ends;
files and logs cost by the gigabyte.

`clean` asks, then removes what is not in use. With --all it also removes endpoints and running
jobs. Resources without this project's tag are never touched.

Exit code 0: done. 1: refused or failed.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from digits.core import command_line, errors
from digits.core.command_line import say
from digits.core.errors import InputError
from ops.tools.sagemaker import aws, bucket, training
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.settings import load_settings

ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/"


@dataclass(frozen=True)
class Resource:
    """Something in the account that this project has created."""

    kind: str
    name: str
    note: str
    in_use: bool
    remove: Callable[[], Any]


def main() -> None:
    args = parse_args()
    settings = load_settings()
    with aws.connected(settings.region) as clients:
        resources = []
        for resource in find_all(clients, settings.bucket):  # prints endpoints though S3 may fail
            resources.append(resource)
            if not args.json:
                print(line(resource))
        if args.json:
            keys = ("kind", "name", "note", "in_use")
            rows = [{key: getattr(resource, key) for key in keys} for resource in resources]
            print(json.dumps(rows, indent=2))
        elif not resources:
            print(f"nothing in {settings.region} and s3://{settings.bucket}/{bucket.FOLDER}")
        if args.command == "clean":
            clean([resource for resource in resources if args.all or not resource.in_use])


def line(resource: Resource) -> str:
    in_use = "in use" if resource.in_use else ""
    return f"{resource.kind:<13} {resource.note:<22} {in_use:<6} {resource.name}"


def clean(unwanted: Sequence[Resource]) -> None:
    """Ask, then remove resources; also the others if one can't be removed."""
    if not unwanted:
        return say("nothing to remove; --all also removes what is in use")
    counts = Counter(resource.kind for resource in unwanted)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    if not aws.agreed(f"Remove {len(unwanted)} of these, {kinds}?"):
        return
    failures = []
    for resource in unwanted:
        try:
            resource.remove()
        except (ClientError, BotoCoreError) as error:
            failures.append(f"{resource.kind} {resource.name}: {error}")
    if failures:
        raise InputError("not removed; run the same command again:\n  " + "\n  ".join(failures))
    say("removed")


def find_all(clients: Clients, bucket_name: str) -> Iterator[Resource]:
    """All of the project's resources, in the order in which they can be removed."""
    sagemaker = clients.sagemaker
    running = find_names(clients, "TrainingJob", StatusEquals="InProgress")
    for job in running:
        stop = partial(sagemaker.stop_training_job, TrainingJobName=job)
        yield Resource("training job", job, "running", True, stop)
    running += find_names(clients, "TrainingJob", StatusEquals="Stopping")  # these still write
    endpoints = find_names(clients, "Endpoint")
    used_configurations: set[str | None] = set()
    used_models, used_archives = set(), set()
    for endpoint in endpoints:
        described = sagemaker.describe_endpoint(EndpointName=endpoint)
        used_configurations |= {
            described["EndpointConfigName"],
            described.get("PendingDeploymentSummary", {}).get("EndpointConfigName"),
            aws.tags_of(clients, described["EndpointArn"]).get(aws.PROVEN),  # to go back to
        }
        delete = partial(sagemaker.delete_endpoint, EndpointName=endpoint)
        yield Resource("endpoint", endpoint, described["EndpointStatus"], True, delete)
    for configuration in find_names(clients, "EndpointConfig"):
        in_use = configuration in used_configurations
        if in_use:
            described = sagemaker.describe_endpoint_config(EndpointConfigName=configuration)
            used_models |= {variant["ModelName"] for variant in described["ProductionVariants"]}
        delete = partial(sagemaker.delete_endpoint_config, EndpointConfigName=configuration)
        yield Resource("configuration", configuration, "", in_use, delete)
    for model in find_names(clients, "Model"):
        in_use = model in used_models
        if in_use:
            container = sagemaker.describe_model(ModelName=model)["PrimaryContainer"]
            used_archives.add(container["ModelDataUrl"])
        delete = partial(sagemaker.delete_model, ModelName=model)
        yield Resource("model", model, "", in_use, delete)
    yield from find_folders(clients, bucket_name, running, used_archives)
    yield from find_logs(clients, running, endpoints)


def find_names(clients: Clients, kind: str, **filters: str) -> list[str]:
    """The names of resources of a kind that have our prefix and our tag."""
    pages = clients.sagemaker.get_paginator(xform_name(f"List{kind}s")).paginate(
        NameContains=aws.PREFIX, **filters
    )
    key = "TrainingJobSummaries" if kind == "TrainingJob" else f"{kind}s"
    arns = {item[f"{kind}Name"]: item[f"{kind}Arn"] for page in pages for item in page[key]}
    return [
        name
        for name, arn in arns.items()
        if name.startswith(aws.PREFIX) and aws.TAG in (aws.found(aws.tags_of, clients, arn) or {})
    ]


def find_folders(
    clients: Clients, bucket_name: str, running: Sequence[str], used_archives: Collection[str]
) -> Iterator[Resource]:
    """Folders of the bucket: one for each archive, data set, version of the code, and job."""
    folders: dict[str, dict[str, int]] = defaultdict(dict)
    for key, size in bucket.keys(clients, bucket_name, f"{bucket.FOLDER}/").items():
        folders["/".join(key.split("/")[:3])][key] = size
    for folder, objects in folders.items():
        url = f"s3://{bucket_name}/{folder}"
        if folder.split("/")[1] == "models":
            in_use = any(archive.startswith(f"{url}/") for archive in used_archives)
        else:
            in_use = bool(running)
        note = f"{len(objects)} files, {sum(objects.values()) / 1e6:.1f} MB"
        delete = partial(bucket.remove, clients, bucket_name, list(objects))
        yield Resource("folder", url, note, in_use, delete)


def find_logs(
    clients: Clients, running: Sequence[str], endpoints: Sequence[str]
) -> Iterator[Resource]:
    """The logs of each host of each job, and those of each endpoint."""
    streams = clients.logs.get_paginator("describe_log_streams").paginate(
        logGroupName=training.LOGS, logStreamNamePrefix=aws.PREFIX
    )
    pages = aws.found(list, streams) or []
    for stream in (item["logStreamName"] for page in pages for item in page["logStreams"]):
        names = {"logGroupName": training.LOGS, "logStreamName": stream}
        delete = partial(clients.logs.delete_log_stream, **names)
        yield Resource("log", stream, "", stream.split("/")[0] in running, delete)
    pages = clients.logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=ENDPOINT_LOGS + aws.PREFIX
    )
    for group in (item["logGroupName"] for page in pages for item in page["logGroups"]):
        delete = partial(clients.logs.delete_log_group, logGroupName=group)
        yield Resource("log", group, "", group.removeprefix(ENDPOINT_LOGS) in endpoints, delete)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.sagemaker", __doc__)
    parser.add_argument("command", choices=("list", "clean"))
    parser.add_argument(
        "--all", action="store_true", help="clean: also remove endpoints and running jobs"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
