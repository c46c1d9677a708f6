"""Roll back: return to a version that held a stage before, without asking the gate."""

import sys
from collections.abc import Sequence

from digits.core.errors import InputError
from ops.registry import publishing
from ops.registry.checks import check_model, figures, read_version, start, version_or_commit
from ops.tools import tags
from ops.tools.revisions import runs_in_commit
from ops.tools.tags import ARTIFACT, Tag


def roll_back(stage: str, to: str | None, *, force: bool, reason: str) -> None:
    """Assign an earlier version to a stage.

    Parameters
    ----------
    stage : production or staging
    to : a version that held the stage once; by default the one that the present one replaced
    force : even if the model can't be checked
    reason : goes into the tag. The same reason again is the same rollback, which is done already

    Raises
    ------
    InputError
        If there is no such version, or its model can't be fetched by others.
    """
    server, known = start()
    holder = tags.holder(known, stage)
    if holder is None:
        raise InputError(f"nothing was ever promoted to {stage}, so there is no way back")
    target = read_version(to) if to else None
    present = version_or_commit(known, holder.commit)
    repeated = holder.said.get("Action") == "rollback" and holder.said.get("Reason") == reason
    if present == target or (repeated and target is None):
        print(f"{stage} is {present} already: {holder.name}")
        if target is None:
            print("That was for the same reason. Further back: --to X.Y.Z", file=sys.stderr)
        return
    commit = way_back(known, stage, target)
    version = version_or_commit(known, commit)
    try:
        run = runs_in_commit(commit, version)[0]
        check_model(commit, run.scores.model, server)
        known_figures = figures(run)
    except InputError as error:
        if not force:
            raise InputError(f"{error}\n  To go back in spite of that: --force") from None
        print(f"warning: {error}", file=sys.stderr)
        known_figures = {}
    evidence = {
        "Stage": stage,
        "Action": "rollback",
        "Version": version,
        "From": present,
        **known_figures,
        "Reason": reason,
    }
    stage_tag = f"{ARTIFACT}#{stage}#{tags.next_number(known)}"
    publishing.publish(server, commit, [stage_tag], evidence, known)
    print(f"{stage} is {version} again, after {present}: {stage_tag}")


def way_back(known: Sequence[Tag], stage: str, to: str | None) -> str:
    """The commit that held the stage before, or that held it once as the version `to`."""
    if to is None:
        line = tags.line_of_descent(known, stage)
        if len(line) < 2:
            raise InputError(
                f"{version_or_commit(known, line[-1])} is the first in {stage}: there is nothing "
                f"before it"
            )
        return line[-2]
    held = {
        version_or_commit(known, tag.commit): tag.commit for tag in tags.assignments(known, stage)
    }
    if to not in held:
        raise InputError(
            f"{to} never held {stage}; these did: {', '.join(held)}. To have it judged: "
            f"digits registry promote --stage {stage} --version {to.removeprefix('v')}"
        )
    return held[to]
