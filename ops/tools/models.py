"""Find the model that a user names, and copy it to this machine."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from digits.core import files
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.storage import model_store
from ops.tools import git, tags
from ops.tools.dvc import MODEL, fetch_committed
from ops.tools.revisions import EVALUATION

ENDPOINT = "sagemaker://"


@dataclass(frozen=True)
class Release:
    """The commit whose model an environment serves, by its newest tag."""

    commit: str
    tag: str
    version: str

    @property
    def model(self) -> str:
        """The name of its model in messages."""
        return f"{MODEL} of {self.version} ({self.commit[:9]})"


def bring_model(named: str | None, folder: Path) -> tuple[Path, str | None]:
    """A local folder with the model that a user names, and its version if it has one.

    Parameters
    ----------
    named : a model folder, a deployment's URL, sagemaker://ENDPOINT, or `production` or `staging`
        for the version that this repository's tags assign to it; None as for `model_store.locate`
    folder : a temporary folder to copy the model into

    Raises `InputError` if there is no such model, or it is damaged.
    """
    if named and named.startswith(ENDPOINT):
        from ops.tools.sagemaker import hosting  # boto3

        served = hosting.bring(named.removeprefix(ENDPOINT), folder / "model")
        return folder / "model", served.version
    if named in model_store.ENVIRONMENTS and not Path(named).exists():
        release = find_release(named)
        say(f"fetching {release.model}")
        contents = bring_release(release)
        for name in model_store.MODEL_FILES:
            files.write(folder / "model" / name, contents[name])
        return folder / "model", release.version
    path, pointer = model_store.bring(model_store.locate(named), folder)
    return path, pointer.version if pointer else None


def find_release(stage: str) -> Release:
    """The version that the tags assign to a GTO stage; raises `InputError` if there is none."""
    known = tags.read()
    holder = tags.holder(known, stage)
    if holder is None:
        raise InputError(
            f"no version is assigned to the stage {stage}. Tags may be missing: git fetch --tags. "
            f"To assign the first version: digits registry promote --stage {stage}"
        )
    version = tags.version_of(known, holder.commit)
    if version is None:
        raise InputError(
            f"{holder.name} is at {holder.commit[:9]}, which has no version tag "
            f"(digit-classifier@v1.2.0). Tags may be missing: git fetch --tags"
        )
    return Release(holder.commit, holder.name, version)


def bring_release(release: Release) -> dict[str, bytes]:
    """The model folder and its evaluation, by file name."""
    evaluation = git.read(release.commit, EVALUATION)
    if evaluation is None:
        raise InputError(f"{release.commit[:9]} has no {EVALUATION}: its model was not evaluated")
    with tempfile.TemporaryDirectory(prefix="deploy-") as temporary:
        folder = Path(temporary, "model")
        fetch_committed(release.commit, MODEL, folder)
        contents = {
            name: (folder / name).read_bytes()
            for name in model_store.MODEL_FILES
            if (folder / name).is_file()
        }
    contents[model_store.EVALUATION] = evaluation
    try:
        model_store.check(contents, release.model)
    except InputError as error:
        raise InputError(
            f"{error}.\n  To check the cache and the remote for damage: digits doctor"
        ) from None
    return contents
