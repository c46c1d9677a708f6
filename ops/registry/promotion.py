"""Promote: check a commit, have the gate judge its model, and publish the tags."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from digits.core.command_line import say
from digits.core.errors import InputError
from digits.gate.results import Run
from ops.gate import decision as gate
from ops.gate import text
from ops.gate.bases import Base
from ops.gate.decision import Decision
from ops.registry import publishing
from ops.registry.checks import check_model, figures, read_version, start
from ops.tools import git, pipeline, tags
from ops.tools.registry_events import version_or_commit
from ops.tools.revisions import check_further_runs, check_lock, count_looks, runs_in_tree
from ops.tools.rules import rules_in_commit
from ops.tools.tags import ARTIFACT, Tag
from ops.tools.tree import WORKING_TREE, Tree

BY_FORCE = "To promote it anyway: --force --reason TEXT"


def promote(stage: str, version: str | None, *, force: bool, reason: str, base_model: bool) -> bool:
    """Assign a version to a GTO stage; returns False if the gate blocks it.

    Parameters
    ----------
    stage : production or staging
    version : one that exists, or the one that HEAD gets; by default the next minor version
    force : promote although the gate blocks, for a `reason`
    base_model : if the evaluators differ, score both models with both

    Raises `InputError` if the commit's results are not those of its code, if others can't fetch its
    model, or if there is no verdict. Nothing has changed then.
    """
    server, known = start()
    commit, version = find_candidate(version, known, server)
    holder = tags.holder(known, stage)
    registered = version in tags.versions(known)
    if registered and holder and holder.commit == commit:
        print(f"{stage} is {version} already: {holder.name}")
        return True
    check_is_reproduced(commit)
    runs = runs_in_tree(Tree(commit), version)
    check_model(commit, runs[0].scores.model, server)
    present = version_or_commit(known, holder.commit) if holder else ""
    base = (f"{stage} ({present})", holder) if holder else None
    decision = judge(commit, runs, base, reason if force else None, cross=base_model)
    print(text.render(decision), end="\n\n")
    if not decision.passes:
        say(f"not promoted. {BY_FORCE}")
        return False
    forced = decision.verdict == "overridden"
    evidence = {
        "Stage": stage,
        "Action": "promote",
        "Version": version,
        "From": present,
        "Verdict": decision.headline,
        **figures(runs[0]),
        "Forced-by": publishing.identity().partition(" <")[0] if forced else "",
        "Reason": reason,
    }
    stage_tag = f"{ARTIFACT}#{stage}#{tags.next_number(known)}"
    names = [] if registered else [f"{ARTIFACT}@{version}"]
    publishing.publish(server, commit, [*names, stage_tag], evidence, known)
    print(f"{stage} is {version} now: {stage_tag}")
    return True


def find_candidate(wanted: str | None, known: Sequence[Tag], server: str | None) -> tuple[str, str]:
    """Return the commit to promote, and the version that it has or gets."""
    registered = tags.versions(known)
    version = read_version(wanted) if wanted else None
    if version in registered:
        return registered[version], version
    if changed := git.run("status", "--porcelain", "--untracked-files=no"):
        raise InputError(
            f"the working tree differs from HEAD, and only a commit can be promoted:\n{changed}\n"
            f"  Commit and push the changes, or put them aside: git stash"
        )
    commit = git.commit("HEAD")
    if server and not git.run("for-each-ref", "--contains", commit, f"refs/remotes/{server}"):
        raise InputError(
            f"the commit {commit[:9]} is on no branch of {server}. Run: {git.push_command(server)}"
        )
    present = tags.version_of(known, commit)
    if present and version:
        raise InputError(
            f"the commit {commit[:9]} is {present} already, and a commit has only one version. "
            f"Leave out --version {wanted}"
        )
    if version and any(tag.version == version for tag in known):
        raise InputError(
            f"{version} was withdrawn (gto deregister). Choose another: --version X.Y.Z"
        )
    return commit, present or version or tags.next_version(known)


def check_is_reproduced(commit: str) -> None:
    """Raises `InputError` unless code, dvc.lock and metrics/ of the commit match each other."""
    tree = Tree(commit)
    check_lock(tree)
    check_further_runs(tree)
    if stale := pipeline.find_stale(pipeline.read(tree)):
        raise InputError(
            f"dvc.lock does not match the code: {stale.sentence}. Run dvc repro, then commit "
            f"dvc.lock and metrics/"
        )


def judge(
    commit: str, runs: list[Run], base: tuple[str, Tag] | None, override: str | None, *, cross: bool
) -> Decision:
    """Ask the gate; if it can't compare, judge by the limits alone, but only with an override.

    Parameters
    ----------
    commit, runs : the candidate
    base : the tag that holds the stage now, after its name in messages; None if there is none
    override : the reason to promote although the gate blocks
    cross : as for `evaluators.comparable`
    """
    if base is None:
        rules, origin = rules_in_commit(commit, commit[:9])
        return gate.judge(runs, [], rules, origin, code=None, override=override)
    name, holder = base
    rules, origin = rules_in_commit(holder.commit, name)
    judged = partial(
        gate.judge,
        runs,
        rules=rules,
        rules_from=origin,
        looks=count_looks(runs[0].scores.test_set, commit),
        override=override,
    )
    checked_out = commit == git.commit("HEAD") and not git.run("status", "--porcelain", "-uno")
    code = WORKING_TREE if checked_out else Tree(commit)
    try:
        before = Base.read(name, Tree(holder.commit))
        return judged([before], code=code, cross=cross)
    except InputError as error:
        if override is None:
            raise InputError(f"{error}\n  {BY_FORCE}") from None
        return replace(judged([], code=None), not_compared={name: gate.parts_of(str(error))[0]})
