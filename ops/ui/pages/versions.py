"""Versions: what holds each stage, the events of the registry, and a page for each version."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from digits.gate import diff
from digits.storage.model_store import ENVIRONMENTS
from ops.tools import git, pipeline
from ops.tools.registry_events import Event
from ops.ui.facts import deployments, history, model_card, registry
from ops.ui.facts.deployments import Served
from ops.ui.facts.registry import Model, Registry, Version
from ops.ui.pages.render import Resources, html
from ops.ui.project import Project

SHOWN = 12  # events before the rest is folded


@dataclass(frozen=True)
class Way:
    """How a version comes into a stage: the command, and the form that runs it (live pages)."""

    stage: str
    verb: str
    command: str
    form: str | None


@dataclass(frozen=True)
class Line:
    """What a deployment serves for one environment; `expected` is what the registry says."""

    url: str
    environment: str
    version: str | None
    tag: str
    expected: str | None
    problem: str | None

    @property
    def is_current(self) -> bool:
        return self.version is not None and self.version == self.expected

    @property
    def command(self) -> str:
        """The command that deploys there what the registry says."""
        option = "" if self.environment == ENVIRONMENTS[0] else f" --stage {self.environment}"
        return f"digits deploy --to {shlex.quote(self.url)}{option}"


def resources(project: Project) -> Resources:
    files = {"versions.html": partial(overview, project)}
    for version in registry.read(project).versions:
        files[version.page] = partial(page, project, version)
        for picture in version.model.pictures:
            files[f"{folder(version)}/{picture}"] = partial(card_picture, version, picture)
    return files


def overview(project: Project) -> bytes:
    known = registry.read(project)
    return html(
        project,
        "versions.html",
        "versions.html.jinja",
        "Versions",
        registry=known,
        holders=holders(known),
        deployed=deployed(known, deployments.read(project)),
        shown=SHOWN,
    )


def page(project: Project, version: Version) -> bytes:
    known = registry.read(project)
    before = known.before(version)
    figures, incomparable = registry.figures(version.model, before.model if before else None)
    inputs = registry.inputs(version.model, before.model if before else None)
    return html(
        project,
        version.page,
        "version.html.jinja",
        version.name,
        registry=known,
        version=version,
        before=before,
        figures=figures,
        incomparable=incomparable,
        diff=diff,
        shown=pipeline.shown,
        ways=ways(project, known, version),
        params=registry.params_changed(before.model, version.model) if before else {},
        inputs=inputs,
        changed=[item for item in inputs if item.before != item.digest] if before else [],
        card=model_card.render(version.model.card, version.name, version.model.pictures),
        run=run_page(project, version.model),
        events=[event for event in known.events if event.version == version.name],
    )


def folder(version: Version) -> str:
    """The folder of a version's pictures."""
    return version.page.removesuffix(".html")


def card_picture(version: Version, picture: str) -> bytes:
    """A picture of the model card."""
    return git.read(version.model.commit, f"metrics/{picture}") or b""


def holders(known: Registry) -> list[tuple[Event, Model, Version | None]]:
    """What holds each stage: production first, then by name."""
    order = sorted(known.holders, key=lambda stage: (stage != ENVIRONMENTS[0], stage))
    events = [known.holders[stage] for stage in order]
    return [(event, registry.model(event.commit), known.version(event.version)) for event in events]


def deployed(known: Registry, served: Sequence[Served]) -> list[Line]:
    """A line for each environment that a deployment serves, or for the reason why it is unknown."""
    lines = []
    for answer in served:
        for environment, pointer in answer.pointers.items():
            holder = known.holders.get(environment)
            expected = holder.version if holder else None
            lines.append(
                Line(answer.url, environment, pointer.version, pointer.tag, expected, None)
            )
        if not answer.pointers:
            lines.append(Line(answer.url, "", None, "", None, answer.problem))
    return lines


def ways(project: Project, known: Registry, version: Version) -> list[Way]:
    """How the version comes into production, and into each further stage that was ever used."""
    stages = [s for s in ENVIRONMENTS if s == ENVIRONMENTS[0] or s in known.holders]
    found = []
    for stage in stages:
        words = registry.command(version, stage)
        if words is None:
            continue
        action = words[2] if words[0] == "digits" else None
        verb = {"rollback": "Roll back to", "promote": "Promote"}.get(action or "", "Assign")
        text = shlex.join(words) + (' --reason "..."' if action == "rollback" else "")
        form = None
        if action and project.can_run:
            number = version.name.removeprefix("v")
            fields = {"to" if action == "rollback" else "version": number, "stage": stage}
            form = f"run.html?{urlencode({'action': action, **fields})}"
        found.append(Way(stage, verb, text, form))
    return found


def run_page(project: Project, model: Model) -> str | None:
    """The page of the run that made the commit's metrics; None if there is none."""
    digest = model.run.scores.model if model.run else None
    runs = [run for run in history.runs(project) if not run.is_experiment]
    same = [run for run in runs if run.commit == model.commit] or [
        run for run in runs if digest and run.results.model == digest
    ]
    return f"runs/{same[0].key}.html" if same else None
