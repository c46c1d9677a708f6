"""The checks before a tag is made, and the metrics that a tag holds."""

import hashlib
from collections.abc import Mapping

from digits.core.command_line import say
from digits.core.errors import InputError
from digits.gate.results import Run
from ops.registry import publishing
from ops.tools import git, object_store, tags
from ops.tools.dvc import MODEL, NO_REMOTE
from ops.tools.tags import Tag
from ops.tools.tree import Tree


def start() -> tuple[str | None, list[Tag]]:
    """Fetch, and return the Git remote, if there is one, and all tags."""
    git.require_history()
    publishing.identity()
    server = git.server()
    if server:
        publishing.fetch(server)
    else:
        say("no Git remote: the tags stay in this repository")
    return server, tags.read()


def read_version(text: str) -> str:
    if not tags.is_plain(text):
        raise InputError(f"the version is {text!r}; expected three numbers, as in 1.2.0")
    return f"v{text.removeprefix('v')}"


def check_model(commit: str, model: str, server: str | None) -> None:
    """Raises `InputError` unless others can fetch the commit's model, as it was evaluated.

    Reads every byte of it from the DVC remote. Without a DVC remote and a Git remote nobody else
    can ask for the model, so the cache is read instead.
    """
    outputs = object_store.outputs(Tree(commit))
    output = next((output for output in outputs if output.path == MODEL), None)
    if output is None:
        raise InputError(f"dvc.lock of {commit[:9]} has no {MODEL}. Run: dvc repro")
    with object_store.stores() as (cache, remote):
        if remote is None and server:
            raise InputError(f"the model is on this machine alone, and {NO_REMOTE}. Then: dvc push")
        if remote is None:
            say("no DVC remote: the model stays in this repository's cache")
        try:
            files = object_store.read_folder(remote or cache, output)
        except InputError as error:
            remedy = f"dvc push --rev {commit[:9]}" if remote else "dvc repro"
            raise InputError(
                f"{error}\n  Is it missing? {remedy}. Is it broken? digits doctor --repair"
            ) from None
    digest = hashlib.sha256(files.get("model.json", b"")).hexdigest()
    if digest != model:
        raise InputError(
            f"{MODEL} is {digest[:9]}, but metrics/ describes {model[:9]}. Run: dvc repro"
        )


def figures(run: Run) -> Mapping[str, str]:
    """Return a model's metrics as lines of a tag's message."""
    s = run.scores
    return {
        "Model": s.model,
        "Test-set": s.test_set,
        "Source": s.source,
        "Errors": f"{s.errors} of {s.images}",
        "Accuracy": f"{s.accuracy:g}",
        "Nll": f"{s.nll:g}",
        "Ece": f"{s.ece:g}",
        "Robustness": f"{s.robustness['mean']:g}",
    }
