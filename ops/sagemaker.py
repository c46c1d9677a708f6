"""What we have in the account, and away with it: digits sagemaker list|clean [--all]

`list` shows all that training and deployment have made: jobs that run, endpoints, their models and
configurations, files in S3, logs. An endpoint costs money by the hour until it is removed, a job
until it ends; files and logs by the gigabyte.

`clean` removes, after a question, what is not in use. With --all endpoints and running jobs too.
What does not bear our tag is left alone.
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
from ops.tools.sagemaker import aws, bucket, settings, training
from ops.tools.sagemaker.aws import Clients

ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/"


@dataclass(frozen=True)
class Thing:
    """Something of ours in the account."""

    kind: str
    name: str
    note: str
    in_use: bool
    remove: Callable[[], Any]


def main() -> None:
    args = parse_args()
    there = settings.load()
    with aws.explained():
        clients = aws.connect(there.region)
        found = []
        for it in things(clients, there.bucket):  # what costs most is shown though S3 can't be read
            found.append(it)
            if not args.json:
                print(f"{it.kind:<13} {it.note:<22} {'in use' if it.in_use else '':<6} {it.name}")
        if args.json:
            print(json.dumps([as_json(it) for it in found], indent=2))
        elif not found:
            print(f"nothing of ours in {there.region} and s3://{there.bucket}/{bucket.FOLDER}")
        if args.command == "clean":
            clean([it for it in found if args.all or not it.in_use])


def as_json(thing: Thing) -> dict[str, Any]:
    return {"kind": thing.kind, "name": thing.name, "note": thing.note, "in_use": thing.in_use}


def clean(unwanted: Sequence[Thing]) -> None:
    if not unwanted:
        say("nothing to remove; with --all, what is in use too")
    elif aws.agreed(f"Remove {len(unwanted)} of these, {summary(unwanted)}?"):
        failed = [f"{it.kind} {it.name}: {why}" for it in unwanted if (why := problem(it))]
        if failed:
            raise InputError("not removed; the same command again:\n  " + "\n  ".join(failed))
        say("removed")


def problem(thing: Thing) -> str | None:
    """Remove it; why it could not be, if so: the next one may cost more."""
    try:
        thing.remove()
    except (ClientError, BotoCoreError) as error:
        return str(error)
    return None


def summary(found: Sequence[Thing]) -> str:
    counts = Counter(it.kind for it in found)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def things(clients: Clients, name: str) -> Iterator[Thing]:
    """All that is ours, in the order in which it can be removed; `name` is the bucket's."""
    sagemaker = clients.sagemaker
    running = listed(clients, "TrainingJob", StatusEquals="InProgress")
    for job in running:
        stop = partial(sagemaker.stop_training_job, TrainingJobName=job)
        yield Thing("training job", job, "running", True, stop)
    running += listed(clients, "TrainingJob", StatusEquals="Stopping")  # these still write
    endpoints = listed(clients, "Endpoint")
    configurations: set[str | None] = set()
    models, archives = set(), set()
    for endpoint in endpoints:
        described = sagemaker.describe_endpoint(EndpointName=endpoint)
        configurations |= {
            described["EndpointConfigName"],
            described.get("PendingDeploymentSummary", {}).get("EndpointConfigName"),
            aws.tags_of(clients, described["EndpointArn"]).get(aws.PROVEN),  # the way back
        }
        remove = partial(sagemaker.delete_endpoint, EndpointName=endpoint)
        yield Thing("endpoint", endpoint, described["EndpointStatus"], True, remove)
    for configuration in listed(clients, "EndpointConfig"):
        used = configuration in configurations
        if used:
            described = sagemaker.describe_endpoint_config(EndpointConfigName=configuration)
            models |= {variant["ModelName"] for variant in described["ProductionVariants"]}
        remove = partial(sagemaker.delete_endpoint_config, EndpointConfigName=configuration)
        yield Thing("configuration", configuration, "", used, remove)
    for model in listed(clients, "Model"):
        used = model in models
        if used:
            container = sagemaker.describe_model(ModelName=model)["PrimaryContainer"]
            archives.add(container["ModelDataUrl"])
        yield Thing("model", model, "", used, partial(sagemaker.delete_model, ModelName=model))
    yield from stored(clients, name, running, archives)
    yield from logs(clients, running, endpoints)


def listed(clients: Clients, kind: str, **filters: str) -> list[str]:
    """Names of what bears our prefix and our tag."""
    pages = clients.sagemaker.get_paginator(xform_name(f"List{kind}s")).paginate(
        NameContains=aws.PREFIX, **filters
    )
    key = "TrainingJobSummaries" if kind == "TrainingJob" else f"{kind}s"
    found = {item[f"{kind}Name"]: item[f"{kind}Arn"] for page in pages for item in page[key]}
    ours = {name: arn for name, arn in found.items() if name.startswith(aws.PREFIX)}
    return [name for name, arn in ours.items() if is_ours(clients, arn)]


def is_ours(clients: Clients, arn: str) -> bool:
    try:
        return aws.TAG in aws.tags_of(clients, arn)
    except ClientError as error:
        if aws.is_absent(error):  # removed since it was listed
            return False
        raise


def stored(
    clients: Clients, name: str, running: Sequence[str], archives: Collection[str]
) -> Iterator[Thing]:
    """Folders of the bucket: one for each archive, data set, version of the code, and job."""
    folders: dict[str, dict[str, int]] = defaultdict(dict)
    for key, size in bucket.keys(clients, name, f"{bucket.FOLDER}/").items():
        folders["/".join(key.split("/")[:3])][key] = size
    for folder, objects in folders.items():
        kind = folder.split("/")[1]
        used = any(archive.startswith(f"s3://{name}/{folder}/") for archive in archives)
        note = f"{len(objects)} files, {sum(objects.values()) / 1e6:.1f} MB"
        remove = partial(bucket.remove, clients, name, list(objects))
        in_use = used if kind == "models" else bool(running)
        yield Thing("folder", f"s3://{name}/{folder}", note, in_use, remove)


def logs(clients: Clients, running: Sequence[str], endpoints: Sequence[str]) -> Iterator[Thing]:
    """The logs of each host of each job, and those of each endpoint."""
    pages = clients.logs.get_paginator("describe_log_streams").paginate(
        logGroupName=training.LOGS, logStreamNamePrefix=aws.PREFIX
    )
    try:
        streams = [item["logStreamName"] for page in pages for item in page["logStreams"]]
    except ClientError as error:
        if not aws.is_absent(error):
            raise
        streams = []
    for stream in streams:
        words = {"logGroupName": training.LOGS, "logStreamName": stream}
        remove = partial(clients.logs.delete_log_stream, **words)
        yield Thing("log", stream, "", stream.split("/")[0] in running, remove)
    pages = clients.logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=ENDPOINT_LOGS + aws.PREFIX
    )
    for group in (item["logGroupName"] for page in pages for item in page["logGroups"]):
        remove = partial(clients.logs.delete_log_group, logGroupName=group)
        yield Thing("log", group, "", group.removeprefix(ENDPOINT_LOGS) in endpoints, remove)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.sagemaker", __doc__)
    parser.add_argument("command", choices=("list", "clean"))
    parser.add_argument("--all", action="store_true", help="clean: endpoints and running jobs too")
    parser.add_argument("--json", action="store_true", help="what there is, for a machine")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
