"""Put the model that holds a stage where servers read it: digits deploy --to URL

URL is a folder or s3://bucket/prefix; endpoint and credentials come from the environment, as for
any AWS tool (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_PROFILE, ...). Which commit, the newest tag
of the stage says (digit-classifier#production#N). Its models/digit-classifier comes from DVC's
cache or remote, must be the one that its metrics/evaluation.json speaks of, is copied to
URL/<model id>/, read back and tried on its golden images; last, URL/production.json names it.
Until then the former one is served. Killed, or failed? The same command again completes it.

With `--to sagemaker` it goes behind the endpoint digits-STAGE, as compute.sagemaker in params.yaml
says: archive, model, configuration, then the endpoint, which is tried on the golden images and goes
back to what it served if it answers otherwise. --delete removes the endpoint, after a question.

--check says what URL serves, and whether that is whole and answers as it should.
--prune --keep N removes models but for the newest N, what a stage serves, and the last hour's.

Exit code 0: done; with --check: it is whole. 1: with --check: it is not. 2: something is missing,
broken or out of reach; what was served before still is.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from digits.core import command_line, errors
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.model import self_test
from digits.storage import model_store
from digits.storage.model_store import Pointer
from ops.tools.models import Release, bring_release, find_release

SAGEMAKER = "sagemaker"  # in the place of a URL


def main() -> None:
    args = parse_args()
    if args.prune:
        found = prune(args.to, args.keep)
    elif args.delete:
        found = delete_endpoint(args.stage)
    elif args.check:
        found = check(args.to, args.stage)
    elif args.to == SAGEMAKER:
        found = deploy_to_sagemaker(args.stage)
    else:
        found = deploy(args.to, args.stage)
    print(json.dumps(found, indent=2) if args.json else found["message"])
    sys.exit(0 if found.get("whole", True) else 1)


def deploy(url: str, stage: str) -> dict[str, Any]:
    """Bring the stage's model to the URL, and only then point at it."""
    release = find_release(stage)
    seen = model_store.read_pointer(url, stage)
    refuse_an_older(release, seen, url)
    say(f"bringing {release.model}")
    contents = bring_release(release)
    say(f"copying it to {url}")
    model = model_store.put_model(url, contents, release.model)
    say("trying what was copied on its golden images")
    images = try_model(url, model)
    pointer = Pointer(model=model, version=release.version, tag=release.tag)
    model_store.move_pointer(url, stage, pointer, seen)
    model_store.put_model(
        url, contents, release.model
    )  # a --prune beside may have thought it unused
    return deployed(url, stage, pointer, seen, seen != pointer, images)


def deploy_to_sagemaker(stage: str) -> dict[str, Any]:
    """Bring the stage's model behind an endpoint, which takes it or stays as it was."""
    from ops.tools.sagemaker import hosting  # boto3

    release = find_release(stage)
    seen = hosting.read_pointer(stage)
    refuse_an_older(release, seen, SAGEMAKER)
    say(f"bringing {release.model}")
    contents = bring_release(release)
    model = model_store.check(contents, release.model)
    pointer = Pointer(model=model, version=release.version, tag=release.tag)
    changed, images = hosting.deploy(stage, pointer, contents, seen)
    return deployed(SAGEMAKER, stage, pointer, seen, changed, images)


def deployed(
    url: str, stage: str, pointer: Pointer, seen: Pointer | None, changed: bool, images: int
) -> dict[str, Any]:
    before = f", in place of {seen.version if seen else 'nothing'}" if changed else ""
    return {
        "message": f"{url}: {stage} {'now' if changed else 'still'} serves {describe(pointer)}"
        f"{before}; {images} golden images answered as expected",
        "before": seen.model_dump() if seen else None,
        "pointer": pointer.model_dump(),
    }


def refuse_an_older(release: Release, seen: Pointer | None, url: str) -> None:
    """A clone that lacks the newest tags must not bring back what they replaced."""
    if seen and number(seen.tag) > number(release.tag):
        raise InputError(
            f"{url} serves {seen.version} by {seen.tag}; the newest tag here is {release.tag}, an "
            f"older one. Bring the others: git fetch --tags"
        )


def number(tag: str) -> int:
    """The number of a stage tag; 0 if it has none."""
    last = tag.rpartition("#")[2]
    return int(last) if last.isdecimal() else 0


def try_model(url: str, model: str) -> int:
    """Fetch a model as a server does and run its golden images; how many there are."""
    with tempfile.TemporaryDirectory(prefix="deploy-") as temporary:
        folder = Path(temporary, "model")
        model_store.fetch_model(url, model, folder)
        return self_test.check(folder)


def check(url: str, stage: str) -> dict[str, Any]:
    """What a URL serves, and whether it is whole; raises `Unreachable` if nobody can tell."""
    pointer = None
    try:
        if url == SAGEMAKER:
            from ops.tools.sagemaker import hosting

            pointer = hosting.read_pointer(stage)
            images = hosting.check(stage)
        else:
            pointer = model_store.read_pointer(url, stage)
            if pointer is None:
                raise InputError(f"nothing was deployed yet: there is no {stage}.json")
            images = try_model(url, pointer.model)
        problem = None
    except InputError as error:
        problem = str(error)
    serves = f"{url}: {stage} serves {describe(pointer) if pointer else 'nothing'}"
    return {
        "message": f"{serves}: NOT WHOLE: {problem}"
        if problem
        else f"{serves}: whole; {images} golden images answered as expected",
        "whole": problem is None,
        "problem": problem,
        "pointer": pointer.model_dump() if pointer else None,
    }


def delete_endpoint(stage: str) -> dict[str, Any]:
    from ops.tools.sagemaker import hosting
    from ops.tools.sagemaker.aws import agreed

    removed = hosting.delete(stage, agreed)
    return {"message": "removed" if removed else "left as it is", "removed": removed}


def prune(url: str, keep: int) -> dict[str, Any]:
    removed = model_store.prune(url, keep)
    return {
        "message": "\n".join([f"{url}: {len(removed)} models removed", *removed]),
        "removed": removed,
    }


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
    parser.add_argument("--stage", choices=model_store.STAGES, default="production")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="what does URL serve; is it whole?")
    what.add_argument("--prune", action="store_true", help="remove old models: with --keep N")
    what.add_argument("--delete", action="store_true", help="remove the endpoint in SageMaker")
    parser.add_argument("--keep", metavar="N", type=int, help="how many models --prune leaves")
    parser.add_argument("--json", action="store_true", help="the result for a machine")
    args = parser.parse_args()
    if args.prune != (args.keep is not None) or (args.prune and args.keep < 0):
        parser.error("--prune and --keep N belong together; N is 0 or more")
    if args.delete and args.to != SAGEMAKER:
        parser.error("--delete is for --to sagemaker; elsewhere, --prune --keep N")
    if args.prune and args.to == SAGEMAKER:
        parser.error("in SageMaker: digits sagemaker clean")
    return args


if __name__ == "__main__":
    errors.run(main, failure=2)
