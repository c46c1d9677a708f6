"""A model folder behind a SageMaker endpoint, for digits deploy --to sagemaker.

The names of archive, model and endpoint configuration come from their content, so a second attempt
finds what the first has created. Only the endpoint changes, from one configuration to another, and
SageMaker keeps the old machines until the new ones answer /ping. The model's environment names the
release. A tag of the endpoint names the configuration that last answered its golden images
correctly: a deployment that fails goes back to that one, never to one that was not tested.
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
from ops.tools.sagemaker import aws, bucket
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.settings import Settings, load_settings

ARCHIVE = "model.tar.gz"
POLL_S = 15
BODY_BYTES = 5 << 20  # of a request; SageMaker accepts 6 MiB
PIXEL_BYTES = 5  # "255, "
ROUNDED = 1e-7  # probabilities are sent with six digits
WAIT_S = 2400  # for new machines to start and old ones to stop, or for a failed update to undo
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
# The variables of a container that hold its release.
VARIABLES = {key: f"DIGITS_RELEASE_{key.upper()}" for key in Pointer.model_fields}


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that we created and that is not changing, and the release that it serves."""

    status: str
    reason: str  # of a failure; empty if there was none
    arn: str
    configuration: str
    proven: str | None  # the configuration that last answered correctly
    pointer: Pointer
    archive: str


def read_pointer(environment: str) -> Pointer | None:
    """The release that the endpoint serves; None without an endpoint. Raises as `deploy` does."""
    with aws.connected(load_settings().region) as clients:
        endpoint = find(clients, name_of(environment))
    return endpoint.pointer if endpoint else None


def deploy(
    environment: str, pointer: Pointer, contents: Mapping[str, bytes], seen: Pointer | None
) -> tuple[bool, int]:
    """Have the environment's endpoint serve a release, or go back if it answers incorrectly.

    Parameters
    ----------
    pointer : model id, version and tag of the release
    contents : the model folder's files, by name
    seen : what the endpoint served when the decision to deploy was made

    Returns whether the endpoint was changed, and the number of golden images that it answered.

    Raises `InputError` if AWS refuses, another deployment came in between, we did not create the
    endpoint, it does not start, or it answers incorrectly. Then the endpoint serves the release
    that last answered correctly, or is removed if there is none.
    """
    settings = load_settings()
    name, image = name_of(environment), settings.required("hosting_image")
    with aws.connected(settings.region) as clients:
        before = find(clients, name)
        served = before.pointer if before else None
        if served != seen:
            raise InputError(
                f"{name} now serves {served.version if served else 'nothing'}: another deployment "
                f"came in between. Run the same command again if you still want to deploy"
            )
        configuration = prepare(clients, settings, image, pointer, contents)
        proven = before.proven if before else None
        try:
            now = before
            if now is None or (now.status, now.configuration) != ("InService", configuration):
                now = switch(clients, settings, name, before, configuration)
            say("testing it with the golden images")
            images = check_answers(clients, name, contents)
        except UserError as error:
            outcome = (
                "It answered correctly before. To go back: digits registry rollback"
                if proven == configuration
                else go_back(clients, settings, name, proven)
            )
            raise InputError(f"{name}: {error}\n  {outcome}") from None
        if proven != configuration:
            tag = {"Key": aws.PROVEN, "Value": configuration}
            clients.sagemaker.add_tags(ResourceArn=now.arn, Tags=[tag])
        return now is not before, images


def check(environment: str) -> int:
    """Test the environment's endpoint with its golden images. Returns how many there are.

    Raises `InputError` if there is no such endpoint, it is not in service, or it answers
    incorrectly.
    """
    with tempfile.TemporaryDirectory(prefix="deploy-") as temporary:
        folder = Path(temporary)
        bring(name_of(environment), folder)
        contents = {name: (folder / name).read_bytes() for name in MODEL_FILES}
    with aws.connected(load_settings().region) as clients:
        return check_answers(clients, name_of(environment), contents)


def delete(environment: str, agreed: Callable[[str], bool]) -> bool:
    """Ask, then remove the environment's endpoint. Returns False if the answer is no."""
    name = name_of(environment)
    with aws.connected(load_settings().region) as clients:
        endpoint = find(clients, name)
        if endpoint is None:
            raise InputError(f"there is no endpoint {name}")
        if not agreed(f"{name} serves {endpoint.pointer.version}. Remove it?"):
            return False
        clients.sagemaker.delete_endpoint(EndpointName=name)
    return True


def name_of(environment: str) -> str:
    return f"{aws.PREFIX}{environment}"


def find(clients: Clients, name: str) -> Endpoint | None:
    """Wait until an endpoint is not changing; None if it does not exist.

    Raises `InputError` if it is still changing after `WAIT_S`, or we did not create it.
    """
    deadline = time.monotonic() + WAIT_S
    reported = ""
    while True:
        described = aws.found(clients.sagemaker.describe_endpoint, EndpointName=name)
        if described is None:
            return None
        status = described["EndpointStatus"]
        if status not in CHANGING:
            break
        if time.monotonic() > deadline:
            raise InputError(
                f"{name} is still {status} after {WAIT_S} s. Run the same command again"
            )
        if status != reported:
            say(f"  {name}: {status}")
            reported = status
        time.sleep(POLL_S)
    try:
        describe = clients.sagemaker.describe_endpoint_config
        configuration = aws.found(describe, EndpointConfigName=described["EndpointConfigName"])
        variant = (configuration or {})["ProductionVariants"][0]
        model = aws.found(clients.sagemaker.describe_model, ModelName=variant["ModelName"])
        container = (model or {})["PrimaryContainer"]
        release = {key: container["Environment"][name] for key, name in VARIABLES.items()}
    except KeyError as error:
        raise InputError(
            f"the endpoint {name} was not created by digits deploy: {error!r}"
        ) from None
    return Endpoint(
        status,
        described.get("FailureReason", ""),
        described["EndpointArn"],
        described["EndpointConfigName"],
        aws.tags_of(clients, described["EndpointArn"]).get(aws.PROVEN),
        Pointer.parse(release, name),
        container["ModelDataUrl"],
    )


def prepare(
    clients: Clients,
    settings: Settings,
    image: str,
    pointer: Pointer,
    contents: Mapping[str, bytes],
) -> str:
    """Create the archive, model and endpoint configuration that do not exist yet.

    Returns the name of the endpoint configuration.
    """
    archive = bucket.pack({name: contents[name] for name in MODEL_FILES})
    folder = bucket.send(clients, settings.bucket, "models", {ARCHIVE: archive})
    release = pointer.model_dump()
    model = {
        "PrimaryContainer": {
            "Image": image,
            "ModelDataUrl": folder + ARCHIVE,
            "Environment": {name: release[key] for key, name in VARIABLES.items()},
        },
        "ExecutionRoleArn": settings.role,
        "EnableNetworkIsolation": True,
        "Tags": aws.tags(settings, "hosting"),
    }
    model_name = name_by_content(pointer, model)
    create_once(clients.sagemaker.create_model, ModelName=model_name, **model)
    configuration = {
        "ProductionVariants": [
            {
                "VariantName": "all",
                "ModelName": model_name,
                "InstanceType": settings.hosting_instance_type,
                "InitialInstanceCount": settings.hosting_instance_count,
            }
        ],
        "Tags": aws.tags(settings, "hosting"),
    }
    name = name_by_content(pointer, configuration)
    create = clients.sagemaker.create_endpoint_config
    create_once(create, EndpointConfigName=name, **configuration)
    return name


def name_by_content(pointer: Pointer, request: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(files.canonical_json(request).encode()).hexdigest()
    return f"{aws.PREFIX}{pointer.version.replace('.', '-')}-{digest[:16]}"


def create_once(create: Callable[..., Any], **request: Any) -> None:
    """Create a resource whose name comes from its content, unless it exists."""
    try:
        create(**request)
    except ClientError as error:
        if not aws.exists_already(error):
            raise


def switch(
    clients: Clients, settings: Settings, name: str, before: Endpoint | None, configuration: str
) -> Endpoint:
    """Create or update an endpoint and wait for it; raises `InputError` if that fails."""
    if before and before.status == "Failed":  # it never started, so it can't be updated
        remove(clients, name)
        before = None
    if before:
        say(f"updating {name}; {before.pointer.version} answers until the new machines do")
        clients.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=configuration)
    else:
        count, machine = settings.hosting_instance_count, settings.hosting_instance_type
        say(f"creating {name}: {count} x {machine}")
        clients.sagemaker.create_endpoint(
            EndpointName=name,
            EndpointConfigName=configuration,
            Tags=aws.tags(settings, "hosting"),
        )
    try:
        now = find(clients, name)
    except (ClientError, BotoCoreError):
        say(f"{name} is still changing, and costs money. The same command completes it")
        raise
    if now and now.status == "InService" and now.configuration == configuration:
        return now
    reason = now.reason or now.status if now else "it was removed"
    raise InputError(aws.with_advice(f"it could not be switched to {configuration}: {reason}"))


def go_back(clients: Clients, settings: Settings, name: str, proven: str | None) -> str:
    """Switch an endpoint back to the proven configuration, or remove it if there is none.

    Returns a sentence for the user about the outcome.
    """
    try:
        now = find(clients, name)
        if proven is None:
            if now:
                remove(clients, name)
            return "The endpoint is removed, because no earlier release answered correctly"
        if now is None or (now.status, now.configuration) != ("InService", proven):
            now = switch(clients, settings, name, now, proven)
    except (UserError, ClientError, BotoCoreError) as error:
        return f"GOING BACK FAILED TOO, check the endpoint now: {error}"
    return f"It serves {now.pointer.version}, as before"


def remove(clients: Clients, name: str) -> None:
    clients.sagemaker.delete_endpoint(EndpointName=name)
    find(clients, name)  # returns when it no longer exists


def check_answers(clients: Clients, name: str, contents: Mapping[str, bytes]) -> int:
    """Compare an endpoint's answers with a model folder's golden outputs. Returns how many.

    Raises `InputError` if the endpoint does not answer, or its answers differ from those of the
    exported model.
    """
    with np.load(io.BytesIO(contents["golden.npz"])) as golden:
        images, logits = golden["images"], golden["logits"]
    model = hashlib.sha256(contents["model.json"]).hexdigest()
    classes = json.loads(contents["model.json"])["classes"]
    answered, expected = ask(clients, name, model, classes, images), softmax(logits)
    differing = int((answered.argmax(1) != expected.argmax(1)).sum())
    # If the logits are within TOLERANCE, no probability differs by more than this.
    tolerance = min(TOLERANCE * float(np.abs(logits).max()), 0.01)
    gap = float(np.abs(answered - expected).max())
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
    """The probabilities that an endpoint answers, (n, classes), in as many requests as needed.

    Raises `InputError` if it does not answer, its model is another one, or its answer is
    incomplete.
    """
    at_once = max(1, BODY_BYTES // (PIXEL_BYTES * math.prod(images.shape[1:])))
    if not 0 < len(images) <= at_once:
        parts = (images[i : i + at_once] for i in range(0, len(images), at_once))
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
        answering, rows = document["model"], document["predictions"]
        answered = np.array([[row["probabilities"][c] for c in classes] for row in rows], float)
    except (ClientError, BotoCoreError) as error:
        raise InputError(aws.with_advice(f"no answer: {error}")) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"its answer has no probabilities: {error!r}") from None
    if answering != model:
        raise InputError(f"it answers with the model {answering}; expected {model}")
    if len(answered) != len(images):
        raise InputError(f"it answers {len(answered)} images of {len(images)}")
    return answered


@dataclass(frozen=True)
class Remote(Classifier):
    """A model that runs on an endpoint; its local model folder describes the preprocessing."""

    clients: Clients
    endpoint: str

    def logits(self, images: UInt8Array, workers: int = 1) -> Float32Array:
        """As `Classifier.logits`, up to a constant for each image."""
        probabilities = ask(self.clients, self.endpoint, self.id, self.classes, images)
        scores: Float32Array = np.log(np.maximum(probabilities, ROUNDED)).astype(np.float32)
        return scores


def remote(name: str, folder: Path) -> Remote:
    """The model of an endpoint and of a local model folder; raises as `deploy` does."""
    with aws.connected(load_settings().region) as clients:
        return Remote(**vars(Classifier.load(folder)), clients=clients, endpoint=name)


def bring(name: str, folder: Path) -> Pointer:
    """Download the model folder that an endpoint serves. Returns its release.

    Raises `InputError` if we created no such endpoint, it is not in service, or its archive no
    longer exists.
    """
    with aws.connected(load_settings().region) as clients:
        endpoint = find(clients, name)
        if endpoint is None or endpoint.status != "InService":
            problem = f"is {endpoint.status}" if endpoint else "does not exist"
            raise InputError(f"the endpoint {name} {problem}")
        for file, content in bucket.fetch(clients, endpoint.archive, MODEL_FILES).items():
            files.write(folder / file, content)
    return endpoint.pointer
