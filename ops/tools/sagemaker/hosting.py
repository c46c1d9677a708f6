"""A model folder behind a SageMaker endpoint, for digits deploy --to sagemaker.

Archive, model and endpoint configuration are named by the content of what was asked for: a second
try finds what the first has made. Only the endpoint changes, from one configuration to another, and
SageMaker keeps the former machines until the new ones answer /ping. Which release it is stands in
the model's environment; which configuration last answered its golden images, in a tag of the
endpoint. So what a deployment that was killed left untried is never gone back to.
"""

import hashlib
import io
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from botocore.exceptions import BotoCoreError, ClientError

from digits.core import files
from digits.core.arrays import Float32Array, Float64Array, UInt8Array
from digits.core.command_line import say
from digits.core.errors import InputError, UserError
from digits.evaluation.metrics import softmax
from digits.model.classifier import TOLERANCE, Classifier
from digits.storage.model_store import MODEL_FILES, Pointer
from ops.tools.sagemaker import aws, bucket, settings
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.settings import Settings

ARCHIVE = "model.tar.gz"
POLL_S = 15
BODY_BYTES = 5 << 20  # of a request; SageMaker takes 6 MiB
PIXEL_BYTES = 5  # "255, "
ROUNDED = 1e-7  # probabilities come with six digits
WAIT_S = 2400  # for new machines and the end of the old; a failed update is undone within that
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
# The release, in the environment of its containers.
VARIABLES = {key: f"DIGITS_RELEASE_{key.upper()}" for key in Pointer.model_fields}


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of ours that has stopped changing, and the release behind it."""

    status: str
    reason: str  # why it failed; empty if it did not
    arn: str
    configuration: str
    proven: str | None  # the configuration that last answered as it should
    pointer: Pointer
    archive: str


def read_pointer(stage: str) -> Pointer | None:
    """What the stage's endpoint serves; None if there is none. Raises as `deploy` does."""
    with aws.explained():
        found = find(aws.connect(settings.load().region), name_of(stage))
    return found.pointer if found else None


def deploy(
    stage: str, pointer: Pointer, contents: Mapping[str, bytes], seen: Pointer | None
) -> tuple[bool, int]:
    """Have the stage's endpoint serve a release; goes back to the former one if it answers wrongly.

    Parameters
    ----------
    pointer : model id, version and tag of the release
    contents : the model folder's files, by name
    seen : what the endpoint served when it was decided to deploy

    Returns
    -------
    whether the endpoint was changed, and the number of golden images that it answered

    Raises
    ------
    InputError
        If AWS refuses, somebody else has deployed meanwhile, the endpoint is not ours, does not
        start, or answers wrongly. Then what last answered as it should is served, or, if nothing
        did, nothing.
    """
    there = settings.load()
    name, image = name_of(stage), there.required("hosting_image")
    with aws.explained():
        clients = aws.connect(there.region)
        before = find(clients, name)
        if (there_now := before and before.pointer) != seen:
            raise InputError(
                f"{name} serves {there_now.version if there_now else 'nothing'} by now: somebody "
                f"else has deployed, too. The same command again, if it still is to be"
            )
        wanted = prepare(clients, there, image, pointer, contents)
        former = before.proven if before else None
        try:
            now = before
            if now is None or (now.status, now.configuration) != ("InService", wanted):
                now = switch(clients, there, name, before, wanted)
            say("trying it on the golden images")
            images = try_endpoint(clients, name, contents)
        except UserError as error:
            kept = (
                "It did so before. Back: digits registry rollback"
                if former == wanted
                else go_back(clients, there, name, former)
            )
            raise InputError(f"{name}: {error}\n  {kept}") from None
        if former != wanted:
            proven = [{"Key": aws.PROVEN, "Value": wanted}]
            clients.sagemaker.add_tags(ResourceArn=now.arn, Tags=proven)
        return now is not before, images


def check(stage: str) -> int:
    """Send the golden images of what an endpoint serves; how many there are.

    Raises
    ------
    InputError
        If there is no such endpoint, it is not in service, or answers wrongly.
    """
    with tempfile.TemporaryDirectory(prefix="deploy-") as temporary:
        folder = Path(temporary)
        bring(name_of(stage), folder)
        contents = {name: (folder / name).read_bytes() for name in MODEL_FILES}
    with aws.explained():
        return try_endpoint(aws.connect(settings.load().region), name_of(stage), contents)


def delete(stage: str, agreed: Callable[[str], bool]) -> bool:
    """Remove the stage's endpoint, if whoever is asked agrees; whether it was."""
    name = name_of(stage)
    with aws.explained():
        clients = aws.connect(settings.load().region)
        endpoint = find(clients, name)
        if endpoint is None:
            raise InputError(f"there is no endpoint {name}")
        if not agreed(f"{name} serves {endpoint.pointer.version}. Remove it?"):
            return False
        clients.sagemaker.delete_endpoint(EndpointName=name)
    return True


def name_of(stage: str) -> str:
    return f"{aws.PREFIX}{stage}"


def find(clients: Clients, name: str) -> Endpoint | None:
    """An endpoint once it has stopped changing; raises `InputError` if it is not ours."""
    deadline = time.monotonic() + WAIT_S
    told = ""
    while True:
        try:
            found = clients.sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if aws.is_absent(error):
                return None
            raise
        status = found["EndpointStatus"]
        if status not in CHANGING:
            break
        if time.monotonic() > deadline:
            raise InputError(f"{name} is still {status} after {WAIT_S} s; the same command again")
        if status != told:
            say(f"  {name}: {status}")
            told = status
        time.sleep(POLL_S)
    try:
        configuration = clients.sagemaker.describe_endpoint_config(
            EndpointConfigName=found["EndpointConfigName"]
        )
        model = clients.sagemaker.describe_model(
            ModelName=configuration["ProductionVariants"][0]["ModelName"]
        )
        container = model["PrimaryContainer"]
        said = {key: container["Environment"][name] for key, name in VARIABLES.items()}
    except (ClientError, KeyError) as error:
        if isinstance(error, ClientError) and not aws.is_absent(error):
            raise
        raise InputError(f"the endpoint {name} was not made by digits deploy: {error!r}") from None
    return Endpoint(
        status,
        found.get("FailureReason", ""),
        found["EndpointArn"],
        found["EndpointConfigName"],
        aws.tags_of(clients, found["EndpointArn"]).get(aws.PROVEN),
        Pointer.parse(said, name),
        container["ModelDataUrl"],
    )


def prepare(
    clients: Clients,
    there: Settings,
    image: str,
    pointer: Pointer,
    contents: Mapping[str, bytes],
) -> str:
    """Make archive, model and endpoint configuration, where they are not there; its name."""
    archive = bucket.pack({name: contents[name] for name in MODEL_FILES})
    folder = bucket.send(clients, there.bucket, "models", {ARCHIVE: archive})
    said = pointer.model_dump()
    model = {
        "PrimaryContainer": {
            "Image": image,
            "ModelDataUrl": folder + ARCHIVE,
            "Environment": {name: said[key] for key, name in VARIABLES.items()},
        },
        "ExecutionRoleArn": there.role,
        "EnableNetworkIsolation": True,
        "Tags": aws.tags(there, "hosting"),
    }
    model_name = name_by_content(pointer, model)
    make(clients.sagemaker.create_model, ModelName=model_name, **model)
    configuration = {
        "ProductionVariants": [
            {
                "VariantName": "all",
                "ModelName": model_name,
                "InstanceType": there.hosting_instance_type,
                "InitialInstanceCount": there.hosting_instance_count,
            }
        ],
        "Tags": aws.tags(there, "hosting"),
    }
    name = name_by_content(pointer, configuration)
    make(clients.sagemaker.create_endpoint_config, EndpointConfigName=name, **configuration)
    return name


def name_by_content(pointer: Pointer, asked: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(files.canonical_json(asked).encode()).hexdigest()
    return f"{aws.PREFIX}{pointer.version.replace('.', '-')}-{digest[:16]}"


def make(create: Callable[..., Any], **asked: Any) -> None:
    """Create something that is named by its content, if it is not there."""
    try:
        create(**asked)
    except ClientError as error:
        if not aws.exists_already(error):
            raise


def switch(
    clients: Clients, there: Settings, name: str, before: Endpoint | None, configuration: str
) -> Endpoint:
    """Have an endpoint take a configuration, and wait until it does; raises `InputError` if not."""
    if before and before.status == "Failed":  # it never started, and can't be updated
        remove(clients, name)
        before = None
    if before:
        say(f"updating {name} from {before.pointer.version}, which answers meanwhile")
        clients.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=configuration)
    else:
        say(f"creating {name}: {there.hosting_instance_count} x {there.hosting_instance_type}")
        clients.sagemaker.create_endpoint(
            EndpointName=name,
            EndpointConfigName=configuration,
            Tags=aws.tags(there, "hosting"),
        )
    try:
        now = find(clients, name)
    except (ClientError, BotoCoreError):
        say(f"{name} goes on changing, and costs money. The same command again completes it")
        raise
    if now and now.status == "InService" and now.configuration == configuration:
        return now
    reason = now.reason or now.status if now else "it is gone"
    raise InputError(aws.with_way_out(f"it does not take {configuration}: {reason}"))


def go_back(clients: Clients, there: Settings, name: str, former: str | None) -> str:
    """Have an endpoint serve what last answered as it should, or nothing; says what came of it."""
    try:
        now = find(clients, name)
        if former is None:
            if now:
                remove(clients, name)
            return "The endpoint is removed; there was no former one"
        if now is None or (now.status, now.configuration) != ("InService", former):
            now = switch(clients, there, name, now, former)
    except (UserError, ClientError, BotoCoreError) as error:
        return f"THE WAY BACK FAILED TOO, look at it now: {error}"
    return f"It serves {now.pointer.version}, as before"


def remove(clients: Clients, name: str) -> None:
    clients.sagemaker.delete_endpoint(EndpointName=name)
    find(clients, name)  # until it is gone


def try_endpoint(clients: Clients, name: str, contents: Mapping[str, bytes]) -> int:
    """Send the golden images of a model folder; how many there are.

    Raises
    ------
    InputError
        If the endpoint does not answer, or not as the model did when it was exported.
    """
    with np.load(io.BytesIO(contents["golden.npz"])) as golden:
        images, logits = golden["images"], golden["logits"]
    model = hashlib.sha256(contents["model.json"]).hexdigest()
    classes = json.loads(contents["model.json"])["classes"]
    found, expected = ask(clients, name, model, classes, images), softmax(logits)
    differing = int((found.argmax(1) != expected.argmax(1)).sum())
    # Logits that are off by TOLERANCE move no probability further.
    tolerance = min(TOLERANCE * float(np.abs(logits).max()), 0.01)
    gap = float(np.abs(found - expected).max())
    if differing or not gap <= tolerance:
        raise InputError(
            f"it answers {differing} of {len(images)} golden images with another class; "
            f"probabilities differ by {gap:.1e}, expected at most {tolerance:.0e}"
        )
    return len(images)


def ask(
    clients: Clients,
    name: str,
    model: str,
    classes: Sequence[str],
    images: UInt8Array,
) -> Float64Array:
    """The probabilities that an endpoint gives, (n, classes), by requests that it takes.

    Raises
    ------
    InputError
        If it does not answer, does so by another model, or leaves something out.
    """
    most = max(1, BODY_BYTES // (PIXEL_BYTES * math.prod(images.shape[1:])))
    if not 0 < len(images) <= most:
        parts = (images[i : i + most] for i in range(0, len(images), most))
        answers = [ask(clients, name, model, classes, part) for part in parts]
        return np.concatenate([np.empty((0, len(classes))), *answers])
    try:
        answer = clients.runtime.invoke_endpoint(
            EndpointName=name,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps({"images": images.tolist()}).encode(),
        )
        document = json.loads(answer["Body"].read())
        said, rows = document["model"], document["predictions"]
        found = np.array([[row["probabilities"][c] for c in classes] for row in rows], float)
    except (ClientError, BotoCoreError) as error:
        raise InputError(aws.with_way_out(f"no answer: {error}")) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"its answer has no probabilities: {error!r}") from None
    if said != model:
        raise InputError(f"it answers by the model {said}; expected {model}")
    if len(found) != len(images):
        raise InputError(f"it answers {len(found)} images of {len(images)}")
    return found


@dataclass(frozen=True)
class Remote(Classifier):
    """A model that an endpoint computes; the same model folder, here, says how images are made."""

    clients: Clients
    endpoint: str

    def logits(self, images: UInt8Array, workers: int = 1) -> Float32Array:
        """As `Classifier.logits`, up to a constant of each image."""
        probabilities = ask(self.clients, self.endpoint, self.id, self.classes, images)
        scores: Float32Array = np.log(np.maximum(probabilities, ROUNDED)).astype(np.float32)
        return scores


def remote(name: str, folder: Path) -> Remote:
    """What an endpoint serves, with its model folder here; raises as `deploy` does."""
    with aws.explained():
        clients = aws.connect(settings.load().region)
    return Remote(**vars(Classifier.load(folder)), clients=clients, endpoint=name)


def bring(name: str, folder: Path) -> Pointer:
    """Bring the model folder that an endpoint serves.

    Raises
    ------
    InputError
        If there is no such endpoint of ours, it is not in service, or its archive is gone.
    """
    with aws.explained(), tempfile.TemporaryDirectory(prefix="endpoint-") as temporary:
        clients = aws.connect(settings.load().region)
        endpoint = find(clients, name)
        if endpoint is None or endpoint.status != "InService":
            status = endpoint.status if endpoint else "not there"
            raise InputError(f"the endpoint {name} is {status}")
        archive = Path(temporary, ARCHIVE)
        bucket.fetch(clients, endpoint.archive, archive)
        for file, content in bucket.unpack(archive, MODEL_FILES).items():
            files.write(folder / file, content)
    return endpoint.pointer
