"""A host of Git: what it says about a change, and what it can do."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from digits.core.errors import InputError

# The first line of our comment on a change, by which later runs find it.
MARKER = "<!-- compare -->"
# Labels of a change.
THREE_SEEDS = "three-seeds"
OVERRIDE = "gate-override"


@dataclass(frozen=True)
class Change:
    """A change to judge, which is checked out.

    base : the revision that it goes to
    seeds : how many seeds to train; None for as many as the rules require, or the change has
    override : a reviewer's reason to pass although the gate blocks
    """

    base: str
    seeds: int | None = None
    override: str | None = None


@dataclass(frozen=True)
class FinishedRun:
    """A run of `compare` that has ended, on a change that is still open.

    report : returns at most so many bytes of the text that the change's own code wrote; None if
        there is none
    caution : a sentence for the reader
    """

    number: int
    commit: str
    url: str
    passed: bool
    report: Callable[[int], bytes | None]
    caution: str = ""

    def headline(self, outcome: str = "") -> str:
        outcome = outcome or ("passed" if self.passed else "**did not pass**")
        return f"Comparison of {self.commit[:9]} {outcome}: [run]({self.url})"


@dataclass(frozen=True)
class Comment:
    """A comment of ours. Its head, up to the first empty line, is not the change's text."""

    number: int
    body: str

    def is_about(self, run: FinishedRun) -> bool:
        """Whether it says how this run ended."""
        return self.body.partition("\n\n")[0] == f"{MARKER}\n{run.headline()}"


class Host(Protocol):
    """GitHub or GitLab, as a job there sees it."""

    def fetch_base(self) -> None:
        """Fetch the branch that the change goes to, if the checkout may lack it."""

    def change(self) -> Change:
        """The change that this job is about."""

    def branch(self) -> str:
        """The branch that this job runs on."""

    def finished_runs(self, report: Path | None) -> Iterable[FinishedRun]:
        """The runs to comment on; `report` is the text of the only one, if the host passes it."""

    def own_comment(self, number: int) -> Comment | None:
        """Our comment on a change."""

    def write_comment(self, number: int, previous: Comment | None, body: str) -> str:
        """Write a comment on a change, or replace the previous one. Returns its URL."""

    def changed_files(self, number: int) -> set[str]:
        """The paths that a change touches, the former paths of moved files included."""

    def propose(self, branch: str, base: str, title: str, body: str) -> str:
        """Open a change of a branch, or update the text of the open one. Returns its URL."""


def override_reason(description: str, reviewer: str) -> str:
    """The reason for an override: a line of the change's description, with the reviewer's name."""
    match = re.search(r"^Gate-override:[ \t]*(\S.*?)\s*$", description, re.MULTILINE)
    if match is None:
        raise InputError(
            f"the label {OVERRIDE} requires a line in the description: Gate-override: REASON"
        )
    return f"{match[1]} ({reviewer})"
