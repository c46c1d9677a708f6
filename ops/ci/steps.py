"""Run the steps of a job: DVC, and commands of this repository."""

import os
import subprocess
import sys
from pathlib import Path

from digits.core import command_line
from digits.core.command_line import say
from digits.core.errors import InputError, first
from ops.tools import git

FOLDER = Path("comparison")  # what a job leaves for its host and for people
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def dvc(*words: str, credentials: bool = False) -> int:
    return python("dvc", *words, credentials=credentials)


def python(module: str, *words: str, credentials: bool = False) -> int:
    """Run a module. Returns its exit code."""
    say(f"\n{' '.join((module, *words))}")
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, env=environment(credentials=credentials)).returncode


def require(code: int) -> None:
    """Raises `InputError` if a step has failed."""
    if code:
        raise InputError("this step failed; its own message is above")


def require_clean() -> None:
    """Raises `InputError` if tracked files differ from HEAD, since a step could overwrite them."""
    if changed := git.lines("diff", "--name-only", "HEAD"):
        raise InputError(f"not committed: {first(changed)}. Commit or stash this first")


def environment(*, credentials: bool) -> dict[str, str]:
    """The environment of a step: stages find this Python, and get no credentials of the remote."""
    variables = dict(os.environ)
    if not credentials:
        variables = {key: value for key, value in variables.items() if key not in CREDENTIALS}
    # Whatever folder the user typed the command in, the paths of its steps are of the root.
    variables.pop(command_line.STARTED_IN, None)
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"
    return variables


def own_data() -> list[str]:
    """The data under DVC that no stage makes."""
    return git.names("ls-files", "-z", "data/*.dvc")
