"""History: which version held a stage when, who put it there, and why."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ops.registry.checks import version_or_commit
from ops.tools import tags
from ops.tools.tables import aligned
from ops.tools.tags import Tag

COLUMNS = ("when", "stage", "what", "from", "to", "verdict", "by", "why")

Event = dict[str, Any]


def read(stage: str | None) -> list[Event]:
    """What happened to a stage, or to all, the latest first."""
    known = tags.read()
    rows = [row for each in _stages(stage, known) for row in events(known, each)]
    return sorted(rows, key=lambda row: (row["when"], row["tag"]), reverse=True)


def events(known: Sequence[Tag], stage: str) -> list[Event]:
    """What happened to one stage, the earliest first."""
    found, before = [], None
    for tag in tags.assignments(known, stage):
        version = version_or_commit(known, tag.commit)
        found.append(
            {
                "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(tag.time)),
                "stage": stage,
                "what": tag.said.get("Action", "assign"),
                "from": before,
                "to": version,
                "verdict": tag.said.get("Verdict", ""),
                "by": tag.person,
                "why": tag.said.get("Reason", ""),
                "model": tag.said.get("Model"),
                "test_set": tag.said.get("Test-set"),
                "commit": tag.commit,
                "tag": tag.name,
            }
        )
        before = version
    return found


def render(stage: str | None, rows: Sequence[Event]) -> str:
    """For a terminal: what holds each stage now, then a row for each event."""
    known = tags.read()
    lines = []
    for each in _stages(stage, known):
        holder = tags.holder(known, each)
        version = version_or_commit(known, holder.commit) if holder else None
        lines.append(f"{each} is {version}" if version else f"nothing holds {each}")
    if not rows:
        return "\n".join([*lines, "nothing was ever promoted: digits registry promote"])
    return "\n".join([*lines, aligned([COLUMNS, *map(_cells, rows)])])


def _stages(stage: str | None, known: Sequence[Tag]) -> list[str]:
    return [stage] if stage else sorted({tag.stage for tag in known if tag.stage})


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["when"][:16].replace("T", " "),
        row["stage"],
        row["what"],
        row["from"] or "-",
        row["to"],
        row["verdict"].partition(" ")[0].rstrip(":") or "-",
        row["by"],
        row["why"] or row["verdict"].partition(": ")[2],
    )
