"""Read versions and GTO stages from Git tags, in the format of `gto show` and `dvc artifacts get`.

    digit-classifier@v1.2.0          the commit is this version; a commit is never two versions
    digit-classifier#production#3    the commit is assigned to this GTO stage; a running number

Only annotated tags of a commit count; tags with other names are somebody else's. Of two tags the
later one wins, by the tagger's clock, not by the number. A tag with a `!` cancels an earlier one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ops.tools import git

ARTIFACT = git.ARTIFACT
VERSION = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
FIRST = "v1.0.0"
NAME = re.compile(
    rf"{ARTIFACT}(?:@(?P<version>v{VERSION}(?:[-+][0-9A-Za-z.+-]+)?)|#(?P<stage>[\w/-]+))"
    r"(?P<cancels>!?)(?:#(?P<number>\d+))?"
)
FIELDS = (
    "refname:strip=2",
    "*objecttype",  # empty for a tag that is not annotated
    "*objectname",
    "taggerdate:unix",
    "taggername",
    "contents:subject",
    "contents:body",
)


@dataclass(frozen=True)
class Tag:
    """An annotated tag, of either a version or a stage; the other one is None."""

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
    def fields(self) -> Mapping[str, str]:
        """The lines `Key: value` of its message."""
        pairs = (line.partition(": ") for line in self.text.splitlines())
        return {key: value for key, separator, value in pairs if separator}


def read() -> list[Tag]:
    """All tags of the artifact, the oldest first."""
    text = git.run(
        "for-each-ref",
        "--format=" + "%00".join(f"%({field})" for field in FIELDS) + "%00",
        f"refs/tags/{ARTIFACT}*",
    )
    cells = text.split("\0")
    rows = zip(*(cells[i :: len(FIELDS)] for i in range(len(FIELDS))), strict=False)
    tags = []
    for name, kind, commit, time, person, _, body in rows:
        name = name.removeprefix("\n")
        match = NAME.fullmatch(name)
        if match and kind == "commit":
            tags.append(
                Tag(
                    name,
                    match["version"],
                    match["stage"],
                    bool(match["cancels"]),
                    int(match["number"] or 0),
                    commit,
                    git.seconds(time),  # some tags have no tagger
                    person,
                    body,
                )
            )
    return sorted(tags, key=lambda tag: (tag.time, tag.number))


def is_plain(version: str) -> bool:
    """Whether `digits registry` can name a version: three numbers, no suffix as in v1.2.0-rc.1."""
    return re.fullmatch(f"v?{VERSION}", version) is not None


def versions(tags: Iterable[Tag]) -> dict[str, str]:
    """The commit of each version that is not cancelled."""
    commits: dict[str, str] = {}
    for tag in tags:
        if tag.version and tag.cancels:
            commits.pop(tag.version, None)
        elif tag.version:
            commits[tag.version] = tag.commit
    return commits


def version_of(tags: Iterable[Tag], commit: str) -> str | None:
    return next((name for name, of in versions(tags).items() if of == commit), None)


def assignments(tags: Iterable[Tag], stage: str) -> list[Tag]:
    """The assignments to a stage that are not cancelled, the earliest first."""
    assigned: list[Tag] = []
    for tag in tags:
        if tag.stage == stage and tag.cancels:
            assigned = [earlier for earlier in assigned if earlier.commit != tag.commit]
        elif tag.stage == stage:
            assigned.append(tag)
    return assigned


def holder(tags: Iterable[Tag], stage: str) -> Tag | None:
    """The tag of the current assignment to a stage."""
    return next(reversed(assignments(tags, stage)), None)


def line_of_descent(tags: Iterable[Tag], stage: str) -> list[str]:
    """The commits that were assigned to a stage, without those that were rolled back.

    The last one is assigned now. A rollback goes to the one before it, also after other rollbacks.
    """
    commits: list[str] = []
    for tag in assignments(tags, stage):
        if tag.fields.get("Action") == "rollback" and tag.commit in commits:
            del commits[commits.index(tag.commit) + 1 :]
        elif commits[-1:] != [tag.commit]:
            commits.append(tag.commit)
    return commits


def next_version(tags: Sequence[Tag]) -> str:
    """The next minor version after the highest of all, cancelled ones included; first v1.0.0."""
    existing = [
        tuple(map(int, match.groups()))
        for tag in tags
        if tag.version and (match := re.match(f"v{VERSION}", tag.version))
    ]
    if not existing:
        return FIRST
    major, minor, _ = max(existing)
    return f"v{major}.{minor + 1}.0"


def next_number(tags: Iterable[Tag]) -> int:
    return 1 + max((tag.number for tag in tags), default=0)


def next_time(tags: Iterable[Tag], now: int) -> int:
    """Now, or a second after the last tag if its clock was ahead of ours."""
    return max(now, 1 + max((tag.time for tag in tags), default=0))
