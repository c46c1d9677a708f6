"""Fetch the newest data, train on them, and propose the result."""

import shutil

from digits.core.command_line import say
from digits.core.errors import InputError
from ops.ci.host import Host
from ops.ci.steps import FOLDER, dvc, own_data, python, require, require_clean
from ops.tools import git

BRANCH = "retrain"
TITLE = "Retrained on the newest data"


def retrain(host: Host | None) -> None:
    """Retrain, and if anything has changed, push it as the branch `retrain` and propose it.

    Each new result replaces the branch. Without a host, nothing is proposed, and the branch that
    was checked out is so again at the end. Raises `InputError`.
    """
    remote = git.server()
    if remote is None:
        raise InputError("there is no Git remote to push a branch to: git remote add origin URL")
    require_clean()
    branch = host.branch() if host else branch_here()
    if data := own_data():
        require(dvc("pull", *data, credentials=True))
    # --force, since DVC does not notice that the source has newer data. If the data are the same,
    # nothing else runs.
    require(dvc("repro", "--force", "fetch"))
    require(dvc("repro", "--allow-missing"))
    if not git.run("status", "--porcelain", "--untracked-files=no"):
        say("nothing has changed")
        return

    base = f"{remote}/{branch}"
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    report = FOLDER / "report.md"
    # If the test images have changed, the report needs the base's model and data.
    require(python("ops.evaluators", "--base", base, credentials=True))
    judged = ("--base", base, "--base-model", f"--markdown={report}")
    require(python("ops.report", *judged, credentials=True))
    require(dvc("push", credentials=True))

    git.run("checkout", "--quiet", "-B", BRANCH)
    git.run("commit", "--quiet", "--all", f"--message={TITLE}")
    git.run("push", "--quiet", "--force", remote, BRANCH)
    if host:
        print(host.propose(BRANCH, branch, TITLE, report.read_text(encoding="utf-8")))
    else:
        print(f"the branch {BRANCH} is pushed. {report} has the report")
        git.run("checkout", "--quiet", branch)
        if dvc("checkout", "--quiet"):
            from ops.tools.dvc import command_for_outputs  # needs packages, which `merge` has not

            say(f"{branch} has not all of its data and model here. Run: {command_for_outputs()}")


def branch_here() -> str:
    """The branch that is checked out; raises `InputError` if no result can be proposed for it."""
    branch = git.run("branch", "--show-current")
    if not branch:
        raise InputError(
            "HEAD is on no branch, so there is none to compare with. Go to one: git switch BRANCH"
        )
    if branch == BRANCH:
        raise InputError(
            f"HEAD is on {BRANCH}, the branch of an earlier result, so losses would add up unseen. "
            f"Go to the branch that it is for: git switch BRANCH && dvc checkout"
        )
    return branch
