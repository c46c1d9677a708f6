"""Overview: is all well, and if not, what is to be done?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from digits.core.errors import InputError
from digits.gate import diff
from digits.gate.diff import Figure
from ops.tools import git
from ops.tools.drawing import charts
from ops.tools.pipeline import Stage
from ops.tools.revisions import EVALUATION
from ops.tools.tables import count
from ops.ui.facts import history, jobs, registry
from ops.ui.facts.history import Run
from ops.ui.facts.registry import Registry
from ops.ui.pages import next_steps, pipeline
from ops.ui.pages.next_steps import Step
from ops.ui.pages.render import Resources, html
from ops.ui.project import Project

SHOWN = 10  # runs
EVENTS = 4  # of the registry, and commands started from the pages
LONGEST = 200  # runs in a small line
FIGURES = {
    "errors": "errors",
    "nll": "negative log-likelihood",
    "ece": "calibration error",
    "robustness": "accuracy on corrupted images",
}


@dataclass(frozen=True)
class Trend:
    """A figure over the runs: its last value, the change since the first run, and the line."""

    name: str
    value: str
    change: str
    line: Markup


def resources(project: Project) -> Resources:
    return {"index.html": partial(page, project)}


def page(project: Project) -> bytes:
    known = registry.read(project)
    line = main_line(project)
    current = line[-1] if line else None
    to_do = next_steps.read(project, current)
    production = known.holders.get("production")
    model = registry.model(production.commit) if production else None
    comparable = _comparable(line)
    marked = [i for i, run in enumerate(comparable) if run.commit in _promoted(known)]
    return html(
        project,
        "index.html",
        "index.html.jinja",
        headline(to_do, has_production=production is not None),
        mark="alert" if any(step.is_alert for step in to_do) else "well",
        registry=known,
        production=production,
        model=model,
        current=current,
        is_same=bool(
            model and current and model.run and model.run.scores.model == current.results.model
        ),
        difference=difference(current, model),
        branch=next_steps.branch(),
        steps=to_do,
        stages=_stages(project),
        classes=pipeline.CLASSES,
        path_of=pipeline.path_of,
        trends=[trend(name, comparable, marked) for name in FIGURES] if comparable else [],
        is_marked=bool(marked),
        comparable=comparable,
        earlier=len(line) - len(comparable),
        runs=history.runs(project)[: -SHOWN - 1 : -1],
        jobs=jobs.recent(project, EVENTS),
        events=known.events[:EVENTS],
    )


def headline(to_do: Sequence[Step], *, has_production: bool) -> str:
    alerts = [step for step in to_do if step.is_alert]
    if len(alerts) == 1:
        return alerts[0].headline
    if alerts:
        return f"{len(alerts)} things need attention"
    return "All is well" if has_production else "All is well, and nothing is in production"


def main_line(project: Project) -> list[Run]:
    """The runs that lead to HEAD's metrics, the oldest first; of a merge, by its first parent."""
    commits = {run.commit: run for run in history.runs(project) if not run.is_experiment}
    hash = git.run("log", "-1", "--format=%H", "HEAD", "--", EVALUATION)
    line = []
    while hash in commits:
        run = commits.pop(hash)
        line.append(run)
        hash = run.base_run or ""
    return line[::-1]


def _comparable(line: Sequence[Run]) -> list[Run]:
    """The last runs that were tested on the same images as the last one."""
    found: list[Run] = []
    for run in reversed(line[-LONGEST:]):
        if run.results.test_set != line[-1].results.test_set:
            break
        if "errors" in run.results.figures:
            found.append(run)
    return found[::-1]


def trend(name: str, runs: Sequence[Run], marked: Sequence[int]) -> Trend:
    title = FIGURES[name]
    values = [run.results.figures[name] for run in runs]
    figure = Figure(title, diff.UNITS[name], values[0], values[-1], None)
    first, last = diff.shown(figure, figure.before), diff.shown(figure, figure.after)
    change = diff.shown_change(figure) or "no change"
    text = f"{title} over {len(values)} runs: {first} at first, {last} now"
    return Trend(title, last, change, charts.small_line(text, values, marked))


def difference(current: Run | None, model: registry.Model | None) -> str:
    """How many errors fewer or more than the model in production; empty if that says nothing."""
    if current is None or model is None or model.run is None:
        return ""
    scores, figures = model.run.scores, current.results.figures
    if scores.test_set != current.results.test_set or "errors" not in figures:
        return ""
    errors = int(figures["errors"]) - scores.errors
    if errors == 0:
        return "as many errors as"
    return f"{count(abs(errors), 'error')} {'fewer' if errors < 0 else 'more'} than"


def _promoted(known: Registry) -> set[str]:
    return {event.commit for event in known.events if event.stage == "production"}


def _stages(project: Project) -> Sequence[Stage]:
    try:
        return next_steps.stages_of(project)
    except InputError:  # a step says so
        return []
