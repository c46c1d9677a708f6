"""Deploy a promoted model to a folder, a bucket or SageMaker: digits deploy --to URL

URL is a folder or s3://bucket/prefix. The endpoint and the credentials come from the environment,
as for any AWS tool (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_PROFILE, ...). If the bucket demands
encryption by the server: DIGITS_S3_SSE=AES256 or aws:kms, and DIGITS_S3_SSE_KMS_KEY.

The newest tag of the environment (digit-classifier#production#N) names the commit to deploy. Its
models/digit-classifier comes from DVC's cache or remote, and must be the model that its
metrics/evaluation.json describes. The command copies it to URL/<model id>/, reads it back and runs
its golden images. Only then does URL/production.json name it; until then servers use the former
model. If the command is killed or fails, run it again to complete the deployment.

With `--to sagemaker` the model is deployed to the endpoint digits-STAGE, as compute.sagemaker in
params.yaml says: archive, model, configuration, then the endpoint. The command runs the golden
images there, and restores the former model if the answers are wrong. --delete removes the endpoint,
after a question.

--check reports what URL serves, and whether it is whole and answers as expected.
--prune --keep N removes models, except the newest N, those in use, and those of the last hour.

Exit code 0: done; with --check: whole. 1: with --check: not whole. 2: something is missing, broken
or out of reach, and servers still use the former model.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from digits.core import command_line, errors
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.model import self_test
from digits.storage import location, model_store
from digits.storage.model_store import Pointer
from ops.tools.models import Release, bring_release, find_release

SAGEMAKER = "sagemaker"  # in place of a URL


class Deployed(BaseModel):
    """A deployment: what was served before, and what is served now."""

    message: str
    before: Pointer | None
    pointer: Pointer


class Checked(BaseModel):
    """What a URL serves, and the problem with it if there is one."""

    message: str
    whole: bool
    problem: str | None
    pointer: Pointer | None


class Removed(BaseModel):
    """The ids of the models that were removed, or whether the endpoint was."""

    message: str
    removed: list[str] | bool


def main() -> None:
    args = parse_args()
    if args.to != SAGEMAKER:
        location.find(args.to)  # a URL that cannot be used is an error, not a result of --check
    result: Deployed | Checked | Removed
    if args.prune:
        result = prune(args.to, args.keep)
    elif args.delete:
        result = delete_endpoint(args.stage)
    elif args.check:
        result = check(args.to, args.stage)
    else:
        result = deploy(args.to, args.stage)
    print(result.model_dump_json(indent=2) if args.json else result.message)
    sys.exit(1 if isinstance(result, Checked) and not result.whole else 0)


def deploy(url: str, environment: str) -> Deployed:
    """Deploy the environment's model to a URL or to its endpoint."""
    release = find_release(environment)
    before = read_pointer(url, environment)
    check_not_older(release, before, url)
    say(f"fetching {release.model}")
    contents = bring_release(release)
    model = model_store.check(contents, release.model)
    pointer = Pointer(model=model, version=release.version, tag=release.tag)
    if url == SAGEMAKER:
        from ops.tools.sagemaker import hosting

        changed, images = hosting.deploy(environment, pointer, contents, before)
    else:
        changed = before != pointer
        images = copy(url, environment, pointer, contents, before)
    replaced = f", in place of {before.version if before else 'nothing'}" if changed else ""
    message = (
        f"{url}: {environment} {'now' if changed else 'still'} serves {describe(pointer)}"
        f"{replaced}; {images} golden images answered as expected"
    )
    return Deployed(message=message, before=before, pointer=pointer)


def copy(
    url: str,
    environment: str,
    pointer: Pointer,
    contents: Mapping[str, bytes],
    before: Pointer | None,
) -> int:
    """Copy a model to the URL, try it there, and then point at it; returns how many images."""
    say(f"copying it to {url}")
    model_store.put_model(url, contents, pointer.version)
    say("running its golden images on the copy")
    images = run_golden_images(url, pointer.model)
    model_store.move_pointer(url, environment, pointer, before)
    # A --prune at the same time may have removed the model while nothing pointed at it.
    model_store.put_model(url, contents, pointer.version)
    return images


def read_pointer(url: str, environment: str) -> Pointer | None:
    """The model that a URL or the endpoint serves; None if nothing was deployed yet."""
    if url == SAGEMAKER:
        from ops.tools.sagemaker import hosting  # boto3

        return hosting.read_pointer(environment)
    return model_store.read_pointer(url, environment)


def check_not_older(release: Release, served: Pointer | None, url: str) -> None:
    """Raises `InputError` if a newer tag is served: this clone then lacks the newest tags."""
    if served and tag_number(served.tag) > tag_number(release.tag):
        raise InputError(
            f"{url} serves {served.version} by {served.tag}; the newest tag here is {release.tag}, "
            f"an older one. Fetch the others: git fetch --tags"
        )


def tag_number(tag: str) -> int:
    """The number in the tag of an environment; 0 if it has none."""
    last = tag.rpartition("#")[2]
    return int(last) if last.isdecimal() else 0


def run_golden_images(url: str, model: str) -> int:
    """Fetch a model as a server does, run its golden images, and return their number."""
    with tempfile.TemporaryDirectory(prefix="deploy-") as temporary:
        folder = Path(temporary, "model")
        model_store.fetch_model(url, model, folder)
        return self_test.check(folder)


def check(url: str, environment: str) -> Checked:
    """Read what a URL serves and test it; raises `Unreachable` if the URL can't be read."""
    pointer, problem = None, None
    try:
        pointer = read_pointer(url, environment)
        if url == SAGEMAKER:
            from ops.tools.sagemaker import hosting

            images = hosting.check(environment)
        elif pointer is None:
            raise InputError(f"nothing was deployed yet: there is no {environment}.json")
        else:
            images = run_golden_images(url, pointer.model)
        state = f"whole; {images} golden images answered as expected"
    except InputError as error:
        problem = str(error)
        state = f"NOT WHOLE: {problem}"
    served = describe(pointer) if pointer else "nothing"
    return Checked(
        message=f"{url}: {environment} serves {served}: {state}",
        whole=problem is None,
        problem=problem,
        pointer=pointer,
    )


def delete_endpoint(environment: str) -> Removed:
    from ops.tools.sagemaker import hosting
    from ops.tools.sagemaker.aws import agreed

    removed = hosting.delete(environment, agreed)
    return Removed(message="removed" if removed else "left as it is", removed=removed)


def prune(url: str, keep: int) -> Removed:
    removed = model_store.prune(url, keep)
    message = "\n".join([f"{url}: {len(removed)} models removed", *removed])
    return Removed(message=message, removed=removed)


def describe(pointer: Pointer) -> str:
    return f"{pointer.version} ({pointer.tag}), model {pointer.model[:12]}"


def target(text: str) -> str:
    return text if text == SAGEMAKER else command_line.path_or_url(text)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.deploy", __doc__)
    parser.add_argument(
        "--to",
        metavar="URL",
        required=True,
        type=target,
        help="a folder, s3://bucket/prefix or sagemaker",
    )
    parser.add_argument(
        "--stage",
        choices=model_store.ENVIRONMENTS,
        default="production",
        help="the environment to deploy (production)",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--check", action="store_true", help="report what URL serves and whether it is whole"
    )
    action.add_argument("--prune", action="store_true", help="remove old models; requires --keep")
    action.add_argument("--delete", action="store_true", help="remove the endpoint in SageMaker")
    parser.add_argument("--keep", metavar="N", type=int, help="how many models --prune leaves")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    if args.prune != (args.keep is not None) or (args.prune and args.keep < 0):
        parser.error("--prune and --keep N belong together; N is 0 or more")
    if args.delete and args.to != SAGEMAKER:
        parser.error("--delete is for --to sagemaker; for a URL, use --prune --keep N")
    if args.prune and args.to == SAGEMAKER:
        parser.error("--prune is for a URL; for SageMaker, use digits sagemaker clean")
    return args


if __name__ == "__main__":
    errors.run(main, failure=2)
