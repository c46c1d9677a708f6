"""History: which version held a GTO stage when, who assigned it, and why."""

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
    """Return the assignments of a stage, or of all stages if it is None, the latest first."""
    known = tags.read()
    rows = [event for name in _stages(stage, known) for event in events(known, name)]
    return sorted(rows, key=lambda event: (event["when"], event["tag"]), reverse=True)


def events(known: Sequence[Tag], stage: str) -> list[Event]:
    """Return the assignments of one stage, the earliest first."""
    rows, before = [], None
    for tag in tags.assignments(known, stage):
        version = version_or_commit(known, tag.commit)
        rows.append(
            {
                "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(tag.time)),
                "stage": stage,
                "what": tag.fields.get("Action", "assign"),
                "from": before,
                "to": version,
                "verdict": tag.fields.get("Verdict", ""),
                "by": tag.person,
                "why": tag.fields.get("Reason", ""),
                "model": tag.fields.get("Model"),
                "test_set": tag.fields.get("Test-set"),
                "commit": tag.commit,
                "tag": tag.name,
            }
        )
        before = version
    return rows


def render(stage: str | None, rows: Sequence[Event]) -> str:
    """Render for a terminal: the version in each stage now, then a row for each event."""
    known = tags.read()
    lines = []
    for name in _stages(stage, known):
        holder = tags.holder(known, name)
        version = version_or_commit(known, holder.commit) if holder else None
        lines.append(f"{name} is {version}" if version else f"no version holds {name}")
    if not rows:
        return "\n".join([*lines, "nothing was promoted yet. Start with: digits registry promote"])
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
