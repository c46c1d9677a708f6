"""Versions and stages as Git tags in GTO's format, as `gto show` and `dvc artifacts get` read them.

    digit-classifier@v1.2.0            a commit is a version; it is never more than one
    digit-classifier#production#3      a version holds a stage; 3 counts the artifact's assignments

Only annotated tags count, and of two the later one by the tagger's clock, not by its number. A tag
with a `!` takes back what another one said.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ops.tools import git

ARTIFACT = "digit-classifier"
VERSION = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
FIRST = "v1.0.0"
NAME = re.compile(
    rf"{ARTIFACT}(?:@(?P<version>v{VERSION}(?:[-+][0-9A-Za-z.+-]+)?)|#(?P<stage>[\w/-]+))"
    r"(?P<cancels>!?)(?:#(?P<number>\d+))?"
)
FIELDS = (
    "refname:strip=2",
    "objecttype",
    "*objectname",
    "taggerdate:unix",
    "taggername",
    "contents:subject",
    "contents:body",
)


@dataclass(frozen=True)
class Tag:
    """An annotated tag: of a version, or of a stage; the other one is None."""

    name: str
    version: str | None
    stage: str | None
    cancels: bool
    number: int
    commit: str
    time: int  # seconds since 1970
    person: str
    text: str

    @cached_property
    def said(self) -> Mapping[str, str]:
        """The lines `Key: value` of its message."""
        pairs = (line.partition(": ") for line in self.text.splitlines())
        return {key: value for key, found, value in pairs if found}


def read() -> list[Tag]:
    """All tags of the artifact, the oldest first."""
    text = git.run(
        "for-each-ref",
        "--format=" + "%00".join(f"%({field})" for field in FIELDS) + "%00",
        f"refs/tags/{ARTIFACT}*",
    )
    cells = text.split("\0")
    rows = zip(*(cells[i :: len(FIELDS)] for i in range(len(FIELDS))), strict=False)
    found = []
    for name, kind, commit, time, person, _, body in rows:
        match = NAME.fullmatch(name.strip())
        if match and kind == "tag":
            found.append(
                Tag(
                    name.strip(),
                    match["version"],
                    match["stage"],
                    bool(match["cancels"]),
                    int(match["number"] or 0),
                    commit,
                    int(time),
                    person,
                    body,
                )
            )
    return sorted(found, key=lambda tag: (tag.time, tag.number))


def versions(tags: Iterable[Tag]) -> dict[str, str]:
    """Commits by the version that they are; not those that were taken back."""
    found: dict[str, str] = {}
    for tag in tags:
        if tag.version and tag.cancels:
            found.pop(tag.version, None)
        elif tag.version:
            found[tag.version] = tag.commit
    return found


def version_of(tags: Iterable[Tag], commit: str) -> str | None:
    return next((name for name, made in versions(tags).items() if made == commit), None)


def assignments(tags: Iterable[Tag], stage: str) -> list[Tag]:
    """What has held a stage, the earliest first; not those that were taken back."""
    found: list[Tag] = []
    for tag in tags:
        if tag.stage == stage and tag.cancels:
            found = [before for before in found if before.commit != tag.commit]
        elif tag.stage == stage:
            found.append(tag)
    return found


def holder(tags: Iterable[Tag], stage: str) -> Tag | None:
    """The tag of what holds a stage now."""
    return next(reversed(assignments(tags, stage)), None)


def line_of_descent(tags: Iterable[Tag], stage: str) -> list[str]:
    """The commits that held a stage, without those that a rollback left: the last one holds it.

    So the one before the last is where to go back to, however often one has gone back.
    """
    found: list[str] = []
    for tag in assignments(tags, stage):
        if tag.said.get("Action") == "rollback" and tag.commit in found:
            del found[found.index(tag.commit) + 1 :]
        elif found[-1:] != [tag.commit]:
            found.append(tag.commit)
    return found


def next_version(tags: Sequence[Tag]) -> str:
    """One minor step from the greatest version that there ever was; 1.0.0 is the first."""
    ever = [
        tuple(map(int, match.groups()))
        for tag in tags
        if tag.version and (match := re.match(f"v{VERSION}", tag.version))
    ]
    if not ever:
        return FIRST
    major, minor, _ = max(ever)
    return f"v{major}.{minor + 1}.0"


def next_number(tags: Iterable[Tag]) -> int:
    return 1 + max((tag.number for tag in tags), default=0)


def next_time(tags: Iterable[Tag], now: int) -> int:
    """Now, or just after the last tag, where that one's clock was ahead."""
    return max(now, 1 + max((tag.time for tag in tags), default=0))
