"""History: which version held a GTO stage when, who assigned it, and why."""

import time
from collections.abc import Sequence

from ops.tools import registry_events, tags
from ops.tools.registry_events import Event, version_or_commit
from ops.tools.tables import aligned
from ops.tools.tags import Tag

COLUMNS = ("when", "stage", "what", "from", "to", "verdict", "by", "why")


def as_json(event: Event) -> dict[str, str | None]:
    return {
        "when": _time(event),
        "stage": event.stage,
        "what": event.action,
        "from": event.before,
        "to": event.version,
        "verdict": event.verdict,
        "by": event.person,
        "why": event.reason,
        "model": event.model,
        "test_set": event.test_set,
        "commit": event.commit,
        "tag": event.tag,
    }


def render(known: Sequence[Tag], stage: str | None) -> str:
    """Render for a terminal: the version in each stage now, then a row for each event."""
    events, lines = registry_events.read(known, stage), []
    for name in registry_events.stages(known, stage):
        holder = tags.holder(known, name)
        version = version_or_commit(known, holder.commit) if holder else None
        lines.append(f"{name} is {version}" if version else f"no version holds {name}")
    if not events:
        missing = "If a server has the tags: git fetch --tags"
        start = "nothing was promoted yet. Start with: digits registry promote"
        return "\n".join([*lines, f"{start}. {missing}"])
    return "\n".join([*lines, aligned([COLUMNS, *map(_cells, events)])])


def _time(event: Event) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.time))


def _cells(event: Event) -> tuple[str, ...]:
    return (
        _time(event)[:16].replace("T", " "),
        event.stage,
        event.action,
        event.before or "-",
        event.version,
        event.verdict.partition(" ")[0].rstrip(":") or "-",
        event.person,
        event.why,
    )
