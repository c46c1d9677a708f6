"""Merge a change with its base, run its pipeline, and judge its results.

This module uses only the standard library; the commands that it starts use more.
"""

import os
import shutil
import subprocess
import sys

from digits.core.command_line import say
from digits.core.errors import InputError
from ops.ci.host import Change
from ops.ci.steps import FOLDER, dvc, environment, own_data, python, require_clean
from ops.tools import git

BLOCKED, NO_VERDICT = 1, 2


def merge(base: str) -> None:
    """Check out the base with this commit merged into it."""
    git.require_history()
    head, onto = git.commit("HEAD"), git.commit(base)
    if is_merged(onto):
        say(f"{head[:9]} has all of {base}")
        return
    require_clean()
    git.run("checkout", "--quiet", "--detach", onto)
    author = ("-c", "user.name=compare", "-c", "user.email=compare@localhost")
    message = f"--message={head} merged into {base}"
    try:
        git.run(*author, "merge", "--quiet", "--no-ff", message, head)
    except InputError as error:
        git.run("checkout", "--quiet", "--force", "--detach", head)
        raise InputError(
            f"{head[:9]} can't be merged into {base}. Merge {base} into your branch.\n{error}"
        ) from None
    say(f"{head[:9]} is merged into {base} ({onto[:9]})")


def is_merged(base: str) -> bool:
    return git.run("rev-list", "--count", f"HEAD..{base}") == "0"


def compare(change: Change) -> int:
    """Judge the change that is checked out. Returns the exit code; raises `InputError`.

    0: it may be merged. 1: blocked. 2: a part of the evidence is missing.
    """
    git.require_history()
    base = git.commit(change.base)
    require_clean()
    if not is_merged(base):
        say(f"HEAD lacks commits of {change.base}, so this does not judge what a merge would give")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    fetch_data()
    reproduce()
    committed, difference = verify()
    incomplete = [train_seeds(change), fetch_base_model(change)]
    decided = judge(change, difference)
    return worst(committed, decided, NO_VERDICT if any(incomplete) else 0)


def worst(*codes: int) -> int:
    """The exit code of several steps; that of a step which a signal has ended is negative."""
    return max(code if code in (0, BLOCKED) else NO_VERDICT for code in codes)


def fetch_data() -> None:
    """Fetch the data from the DVC remote, if there are credentials for it."""
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        say("No credentials for the remote: stage fetch uses the public source")
    # DVC 3.67 forgets all but the last of several .dvc files if the output of a stage follows them.
    elif dvc("pull", "data/raw", *own_data(), credentials=True):
        say("data/raw was not pulled, see above: stage fetch uses the public source")


def reproduce() -> None:
    """Run the pipeline without any cache, so that this code makes the results that are judged.

    Raw data stay only if they are the data that dvc.lock names.
    """
    if dvc("repro", "--no-run-cache", "fetch") or dvc(
        "repro", "--no-run-cache", "--force", "--downstream", "prepare"
    ):
        raise InputError("the pipeline failed; its own message is above. There is nothing to judge")


def verify() -> tuple[int, str]:
    """Compare with what was committed. Returns the exit code and the text."""
    say("\nThese results, compared with the committed ones:")
    words = [sys.executable, "-m", "ops.verify", "--here"]
    result = subprocess.run(
        words,
        env=environment(credentials=False),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    print(result.stdout, end="", flush=True)
    return result.returncode, result.stdout


def train_seeds(change: Change) -> int:
    """Train the further seeds that count; committed metrics of theirs prove nothing."""
    if git.setting("user.email") is None:  # DVC commits an experiment
        git.run("config", "user.name", "compare")
        git.run("config", "user.email", "compare@localhost")
    number = [] if change.seeds is None else ["--seeds", str(change.seeds)]
    return python("ops.experiment", "--rules", change.base, *number)


def fetch_base_model(change: Change) -> int:
    """Fetch the base's model if the change affects how models are evaluated."""
    return python("ops.evaluators", "--base", change.base, credentials=True)


def judge(change: Change, difference: str) -> int:
    """Write the report and the comment, and ask the gate. Returns its exit code."""
    against = ["--base", change.base, "--base-model"]
    if change.override:
        against += ["--override", change.override]
    report = FOLDER / "report.md"
    # It fails if there is no verdict, and its files say why; so does the gate below.
    python("ops.report", *against, f"--markdown={report}", f"--html={FOLDER / 'report.html'}")
    text = "There is no report: the log says why.\n"
    if report.exists():
        text = report.read_text(encoding="utf-8")
    compared = (
        f"These results, compared with the committed ones:\n```\n{difference.rstrip()}\n```\n"
    )
    comment = f"{text}\n{compared}"
    (FOLDER / "comment.md").write_text(comment, encoding="utf-8")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(comment)
    return python("ops.gate", *against)
