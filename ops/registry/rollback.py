"""Roll back: assign a version that held a GTO stage before, without asking the gate."""

from collections.abc import Sequence

from digits.core.command_line import say
from digits.core.errors import InputError, UserError
from ops.registry import publishing
from ops.registry.checks import check_model, figures, read_version, start
from ops.tools import tags
from ops.tools.registry_events import version_or_commit
from ops.tools.revisions import runs_in_tree
from ops.tools.tags import ARTIFACT, Tag
from ops.tools.tree import Tree


def roll_back(stage: str, to: str | None, *, force: bool, reason: str) -> None:
    """Assign an earlier version to a stage.

    Parameters
    ----------
    stage : production or staging
    to : a version that held the stage before; by default the one that the present one replaced
    force : roll back although the model can't be checked
    reason : written into the tag. With the same reason again, the rollback counts as done

    Raises `InputError` if there is no such version, or others can't fetch its model.
    """
    server, known = start()
    holder = tags.holder(known, stage)
    if holder is None:
        raise InputError(f"nothing was promoted to {stage} yet, so there is no earlier version")
    target = read_version(to) if to else None
    present = version_or_commit(known, holder.commit)
    repeated = holder.fields.get("Action") == "rollback" and holder.fields.get("Reason") == reason
    if present == target or (repeated and target is None):
        print(f"{stage} is {present} already: {holder.name}")
        if target is None:
            say("The reason is the same as before. To go further back: --to X.Y.Z")
        return
    commit = find_earlier(known, stage, target)
    version = version_or_commit(known, commit)
    try:
        run = runs_in_tree(Tree(commit), version)[0]
        check_model(commit, run.scores.model, server)
        metrics = figures(run)
    except UserError as error:
        if not force:
            raise InputError(f"{error}\n  To roll back anyway: --force") from None
        say(f"warning: {error}")
        metrics = {}
    evidence = {
        "Stage": stage,
        "Action": "rollback",
        "Version": version,
        "From": present,
        **metrics,
        "Reason": reason,
    }
    stage_tag = f"{ARTIFACT}#{stage}#{tags.next_number(known)}"
    publishing.publish(server, commit, [stage_tag], evidence, known)
    print(f"{stage} is {version} again, after {present}: {stage_tag}")


def find_earlier(known: Sequence[Tag], stage: str, to: str | None) -> str:
    """Return the commit that held the stage before, or the one that held it as version `to`."""
    if to is None:
        line = tags.line_of_descent(known, stage)
        if len(line) < 2:
            raise InputError(
                f"{version_or_commit(known, line[-1])} is the first in {stage}, so there is no "
                f"earlier version"
            )
        return line[-2]
    held = {
        version_or_commit(known, tag.commit): tag.commit for tag in tags.assignments(known, stage)
    }
    if to not in held:
        raise InputError(
            f"{to} never held {stage}; these did: {', '.join(held)}. To have {to} judged: "
            f"digits registry promote --stage {stage} --version {to.removeprefix('v')}"
        )
    return held[to]
