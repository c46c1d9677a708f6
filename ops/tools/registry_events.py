"""The registry's events: which version a GTO stage was assigned to when, by whom, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from ops.tools import tags
from ops.tools.tags import Tag


@dataclass(frozen=True)
class Event:
    """The assignment of a version to a GTO stage.

    time : in seconds since 1970
    action : promote, rollback, or assign if GTO or a person made the tag
    before, version : what held the stage until then, None at first, and what has held it since
    verdict : the gate's; empty for a rollback
    forced_by : the person who promoted it although the gate could not pass it; or empty
    model, test_set : digests; None if the tag does not name them
    """

    time: int
    stage: str
    action: str
    before: str | None
    version: str
    verdict: str
    forced_by: str
    person: str
    reason: str
    model: str | None
    test_set: str | None
    commit: str
    tag: str

    @property
    def why(self) -> str:
        """The reason of the person, or else of the gate."""
        return self.reason or self.verdict.partition(": ")[2]


def read(known: Sequence[Tag], stage: str | None = None) -> list[Event]:
    """The events of a stage, or of all stages if it is None, the latest first."""
    events = [event for name in stages(known, stage) for event in of_stage(known, name)]
    return sorted(events, key=lambda event: (event.time, event.tag), reverse=True)


def of_stage(known: Sequence[Tag], stage: str) -> list[Event]:
    """The events of one stage, the earliest first."""
    events: list[Event] = []
    for tag in tags.assignments(known, stage):
        events.append(
            Event(
                time=tag.time,
                stage=stage,
                action=tag.fields.get("Action", "assign"),
                before=events[-1].version if events else None,
                version=version_or_commit(known, tag.commit),
                verdict=tag.fields.get("Verdict", ""),
                forced_by=tag.fields.get("Forced-by", ""),
                person=tag.person,
                reason=tag.fields.get("Reason", ""),
                model=tag.fields.get("Model"),
                test_set=tag.fields.get("Test-set"),
                commit=tag.commit,
                tag=tag.name,
            )
        )
    return events


def stages(known: Sequence[Tag], stage: str | None = None) -> list[str]:
    """The stage alone, or all that a version was ever assigned to."""
    return [stage] if stage else sorted({tag.stage for tag in known if tag.stage})


def version_or_commit(known: Sequence[Tag], commit: str) -> str:
    """The version of a commit, or the start of its id if it has none."""
    return tags.version_of(known, commit) or commit[:9]
