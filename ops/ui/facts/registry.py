"""The registry as the pages show it: versions with what their commits hold, and the events."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from digits.core.errors import UserError
from digits.core.params import changes, parse_yaml
from digits.gate import diff, judge, results
from digits.gate.diff import Figure
from digits.gate.results import Run
from digits.storage.model_store import ENVIRONMENTS
from ops.tools import dvc_files, git, registry_events, tags
from ops.tools.dvc_files import Locked
from ops.tools.registry_events import Event
from ops.tools.revisions import FILES, LOCK, METRICS, PARAMS
from ops.tools.tags import Tag
from ops.ui import humanize
from ops.ui.facts import commits, model_card
from ops.ui.project import Project

CARD = f"{METRICS}/model-card.md"
NOT_LINEAGE = ("gate", "compute")  # sections of params.yaml that change no model

T = TypeVar("T")
Changes = Mapping[str, tuple[object, object]]


@dataclass(frozen=True)
class Model:
    """What a commit holds of its model.

    time : when it was committed, in seconds since 1970
    run : its metrics; None if it has none that can be read
    card, pictures : its model card, and those of the card's pictures that it has
    params, locked : the contents of params.yaml and dvc.lock; empty if they can't be read
    problems : why something could not be read
    """

    commit: str
    author: str
    time: int
    subject: str
    run: Run | None
    card: str
    pictures: Sequence[str]
    params: Mapping[str, Any]
    locked: Mapping[str, Locked]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Period:
    """The time in which a version held a stage; `until` is None for now."""

    event: Event
    until: Event | None


@dataclass(frozen=True)
class Version:
    """A version; `periods` has the latest first."""

    name: str
    tag: Tag
    model: Model
    periods: Sequence[Period] = ()

    @property
    def page(self) -> str:
        return f"versions/{self.name}.html"

    @property
    def holds(self) -> list[str]:
        """The stages that it is assigned to now."""
        return [period.event.stage for period in self.periods if period.until is None]


@dataclass(frozen=True)
class Registry:
    """All versions and all events, the latest first.

    holders : the last event of each stage
    until : the event that ended another one, by the tag of that one
    """

    versions: Sequence[Version]
    events: Sequence[Event]
    holders: Mapping[str, Event]
    until: Mapping[str, Event]

    def held(self, event: Event) -> str:
        """How long an assignment lasted; empty if it still lasts."""
        end = self.until.get(event.tag)
        return humanize.span(end.time - event.time) if end else ""

    def version(self, name: str) -> Version | None:
        return next((version for version in self.versions if version.name == name), None)

    def named(self, text: str) -> str:
        """A text of the gate, with versions in place of commits and of the tags of assignments."""
        names = {event.tag: f"{event.stage} ({event.version})" for event in self.events}
        names |= {version.model.commit[:9]: version.name for version in self.versions}
        if not names:
            return text
        # The longest first: one tag may be the beginning of another.
        pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        return re.sub(pattern, lambda match: names[match[0]], text)

    def before(self, version: Version) -> Version | None:
        """The version that was registered before this one."""
        following = self.versions[self.versions.index(version) + 1 :]
        return following[0] if following else None


@lru_cache(maxsize=2)
def read(project: Project) -> Registry:
    known = tags.read()
    stages = registry_events.stages(known)
    by_stage = {name: registry_events.of_stage(known, name) for name in stages}
    periods = [
        Period(event, until)
        for events in by_stage.values()
        for event, until in zip(events, [*events[1:], None], strict=True)
    ]
    periods.sort(key=lambda period: period.event.time, reverse=True)
    current = tags.versions(known)
    registered = [
        tag
        for tag in reversed(known)
        if tag.version and not tag.cancels and current.get(tag.version) == tag.commit
    ]
    versions = {
        tag.version: Version(
            tag.version,
            tag,
            model(tag.commit),
            [period for period in periods if period.event.version == tag.version],
        )
        for tag in registered
        if tag.version
    }
    return Registry(
        list(versions.values()),
        registry_events.read(known),
        {name: events[-1] for name, events in by_stage.items() if events},
        {period.event.tag: period.until for period in periods if period.until},
    )


@lru_cache(maxsize=1024)
def model(commit: str) -> Model:
    """Read what a commit holds of its model; what can't be read becomes a problem."""
    names = [f"{METRICS}/{name}" for name in FILES]
    contents = git.read_all(commit, [*names, CARD, PARAMS, LOCK])
    described = commits.log("--no-walk", commit)[0]
    problems: list[str] = []

    def attempt(read: Callable[[], T], fallback: T) -> T:
        try:
            return read()
        except UserError as error:
            problems.append(str(error))
            return fallback

    def run() -> Run | None:
        metrics = {
            name: contents[path] for name in FILES if (path := f"{METRICS}/{name}") in contents
        }
        return results.parse(METRICS, metrics)

    def params() -> Mapping[str, Any]:
        return parse_yaml(contents[PARAMS], PARAMS) if PARAMS in contents else {}

    def locked() -> Mapping[str, Locked]:
        return dvc_files.parse_lock(contents[LOCK]) if LOCK in contents else {}

    card = contents.get(CARD, b"").decode(errors="replace")
    present = {path.removeprefix(f"{METRICS}/") for path in git.paths(commit, METRICS)}
    return Model(
        commit,
        described.author,
        described.time,
        described.subject,
        attempt(run, None),
        card,
        [picture for picture in model_card.pictures(card) if picture in present],
        attempt(params, {}),
        attempt(locked, {}),
        tuple(problems),
    )


def figures(model: Model, before: Model | None) -> tuple[list[Figure], str | None]:
    """A model's figures, against those before; and why these can't be compared, or None."""
    if model.run is None:
        return [], None
    if before is None or before.run is None:
        return diff.figures([], [model.run], None), None
    base, candidate = [before.run], [model.run]
    try:
        judge.check_comparable([*base, *candidate])
    except UserError as error:
        return diff.figures([], candidate, None), str(error)
    return diff.figures(base, candidate, judge.difference(base, candidate)), None


def params_changed(before: Model, after: Model) -> Changes:
    """The parameters of the pipeline that differ, by dotted name."""
    old, new = (
        {key: value for key, value in side.params.items() if key not in NOT_LINEAGE}
        for side in (before, after)
    )
    return changes(old, new)


@dataclass(frozen=True)
class Input:
    """What a model was made from: a file or a folder, and its digest; `before` is the former one.

    kind : data, if a stage writes it or it is below data/; else code
    """

    path: str
    kind: str
    digest: str
    before: str | None


def inputs(model: Model, before: Model | None) -> list[Input]:
    """The data and the code that dvc.lock names, data first."""
    made = {out.path for stage in model.locked.values() for out in stage.outs}
    old = _dependencies(before) if before else {}
    found = [
        Input(
            path,
            "data" if path in made or path.startswith("data/") else "code",
            digest,
            old.get(path),
        )
        for path, digest in _dependencies(model).items()
        if not path.startswith("models/")
    ]
    return sorted(found, key=lambda item: (item.kind != "data", item.path))


def _dependencies(model: Model) -> dict[str, str]:
    deps = (dep for stage in model.locked.values() for dep in stage.deps)
    return {dep.path: dep.md5 for dep in deps if dep.md5}


def command(version: Version, stage: str) -> list[str] | None:
    """The command that assigns a version to a stage; None if it holds the stage now.

    A version that held the stage comes back by a rollback, which also requires --reason TEXT. Any
    other one has to be judged.
    """
    if stage in version.holds:
        return None
    number = version.name.removeprefix("v")
    option = [] if stage == ENVIRONMENTS[0] else ["--stage", stage]
    if not tags.is_plain(version.name):  # as v1.2.0-rc.1, which only GTO makes
        return ["gto", "assign", tags.ARTIFACT, "--version", version.name, "--stage", stage]
    if any(period.event.stage == stage for period in version.periods):
        return ["digits", "registry", "rollback", "--to", number, *option]
    return ["digits", "registry", "promote", "--version", number, *option]
