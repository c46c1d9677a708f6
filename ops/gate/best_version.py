"""The best version of the last year, for information: do small losses add up over many changes?

Each of many changes may lose a little, within what its own comparison allows. Against the best
version of the last year, their sum shows. It decides nothing, since the best of several models is
partly the luckiest one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

from digits.core.errors import UserError
from digits.gate import judge
from digits.gate.judge import Difference
from digits.gate.results import Run
from ops.gate.bases import Base
from ops.gate.evaluators import differences, evaluator_parts, unknown_evaluators
from ops.tools import git, tags
from ops.tools.tree import Tree

YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class BestVersion:
    """A version, the errors of its runs, and the candidate's difference from it."""

    name: str
    errors: list[int]
    difference: Difference


def find_best(
    candidate: list[Run], code: Tree | None, latest: str, *, stated: bool
) -> BestVersion | None:
    """Return the comparable version with the fewest errors; of equals, the newest.

    Parameters
    ----------
    candidate, code : as for `evaluators.comparable`
    latest : the candidate's commit; the year ends with it
    stated : the caller states that one evaluator made all metrics
    """
    parts = evaluator_parts(code) if code else None  # read once for all versions
    for version in sorted(
        versions_of_last_year(latest), key=lambda v: mean(run.scores.errors for run in v.runs)
    ):
        if is_comparable(version, candidate, code, parts, stated=stated):
            errors = [run.scores.errors for run in version.runs]
            return BestVersion(version.name, errors, judge.difference(version.runs, candidate))
    return None


def versions_of_last_year(latest: str) -> list[Base]:
    """Return the versions whose metrics can be read, the newest first."""
    since = int(git.run("show", "--no-patch", "--format=%ct", latest)) - YEAR_S
    known = tags.read()
    commits = tags.versions(tag for tag in known if tag.time >= since)
    versions = []
    for name, commit in reversed(commits.items()):
        try:
            versions.append(Base.read(name, Tree(commit)))
        except UserError:  # a version from before these metrics, say; nothing depends on it
            continue
    return versions


def is_comparable(
    base: Base,
    candidate: list[Run],
    code: Tree | None,
    parts: Mapping[str, object] | None,
    *,
    stated: bool,
) -> bool:
    """Whether both sides have the same evaluator, test images and metrics."""
    try:
        judge.check_comparable([*base.runs, *candidate])
        differing = differences(base, candidate, code, parts)
        return not differing and (stated or not unknown_evaluators(base, candidate, code))
    except UserError:
        return False
