"""What is not as it should be, and the command that mends it: the overview's list of steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from digits.core.errors import InputError
from ops.tools import dvc, git, uncommitted
from ops.tools.pipeline import Reason, Stage
from ops.tools.tables import count
from ops.ui.facts import deployments, history, jobs, registry
from ops.ui.facts.history import Run
from ops.ui.pages import pipeline, versions
from ops.ui.project import Project

NAMED = 3  # stages, or reasons, that a sentence names
PROMOTE = "digits registry promote"
KEEP = 'digits keep --message "TEXT"'


@dataclass(frozen=True)
class Step:
    """Something to know, and what to do about it.

    mark : the class of its state, as in ui.css
    word : the state in a word
    headline : the situation in a few words
    text : why, in a sentence; may be empty
    command : what to run; empty if there is nothing to run
    is_alert : something is wrong or unfinished; if not, this is only the next thing to do
    page : the page that says more
    form : the form that runs the command, if the pages may run commands
    """

    mark: str
    word: str
    headline: str
    text: str = ""
    command: str = ""
    is_alert: bool = True
    page: str = ""
    form: str = ""


def read(project: Project, current: Run | None) -> list[Step]:
    """The steps, the most urgent first; `current` is the run that HEAD's metrics are from."""
    found = [*_pipeline(project), *_deployments(project), *_production(project, current)]
    found += _running(project)
    return sorted(found, key=lambda step: not step.is_alert)


def _pipeline(project: Project) -> Iterator[Step]:
    try:
        stages = stages_of(project)
    except InputError as error:
        yield Step("failed", "broken", "The pipeline can't be read", str(error))
        return
    by_state: dict[str, list[Stage]] = {}
    for stage in stages:
        by_state.setdefault(stage.state, []).append(stage)
    form = "run.html?action=reproduce"
    page = pipeline.PAGE
    if failed := by_state.get("failed"):
        page_of_it = pipeline.path_of(failed[0].name)
        headline = f"{_names(failed)} failed"
        yield Step(
            "failed", "failed", headline, failed[0].why, "dvc repro", page=page_of_it, form=form
        )
    if never := by_state.get("never run"):
        is_all = len(never) == len(stages)
        text = "The command fetches the data, trains a model and evaluates it." if is_all else ""
        headline = "Nothing has run yet" if is_all else f"{_names(never)} never ran"
        yield Step("missing", "never run", headline, text, "dvc repro", page=page, form=form)
    if stale := by_state.get("out of date"):
        verb = "is" if len(stale) == 1 else "are"
        headline = f"{_names(stale)} {verb} out of date"
        yield Step(
            "stale", "out of date", headline, _reasons(stale), "dvc repro", page=page, form=form
        )
    if missing := by_state.get("missing"):
        command = dvc.command_for_outputs()
        text = (
            "Nothing has to run again for them."
            if command == "dvc pull"
            else "No DVC remote has them. What DVC's cache has is restored; the rest runs again."
        )
        headline = f"Files that {_names(missing)} made are not on this computer"
        yield Step("missing", "missing", headline, text, command, False, page)
    if running := by_state.get("running"):
        verb = "is" if len(running) == 1 else "are"
        headline = f"{_names(running)} {verb} running"
        yield Step("running", "running", headline, is_alert=False, page=page)
    is_whole = stages and by_state.keys() == {"up to date"}
    if is_whole and uncommitted.results():
        headline = "New results are not committed"
        text = (
            "Are they good enough? digits gate --base HEAD tells. Others see them, and they can be "
            "promoted, once they are committed."
        )
        to_keep = "run.html?action=keep&experiment="
        yield Step("next", "to keep", headline, text, KEEP, form=to_keep)


def _deployments(project: Project) -> Iterator[Step]:
    for line in versions.deployed(registry.read(project), deployments.read(project)):
        if line.problem:
            headline = f"It is unknown what {line.url} serves"
            yield Step("missing", "unknown", headline, line.problem, page="versions.html")
        elif line.expected and not line.is_current:
            headline = f"{line.url} serves {line.version}"
            text = f"The registry says that {line.environment} is {line.expected}."
            yield Step("stale", "differs", headline, text, line.command, page="versions.html")


def _production(project: Project, current: Run | None) -> Iterator[Step]:
    """Propose a promotion, unless it would be refused; or say why the model can't be promoted."""
    if current is None or not current.results.model:
        return
    known = registry.read(project)
    holder = known.holders.get("production")
    can_promote = _can_promote(project)
    form = f"run.html?{urlencode({'action': 'promote', 'stage': 'production'})}"
    page = f"runs/{current.key}.html"
    if holder is None and can_promote:
        headline = "No model is in production"
        text = "The gate judges the model of the last commit by the limits in params.yaml."
        yield Step("next", "next", headline, text, PROMOTE, False, page, form)
    if holder is None:
        return
    held = registry.model(holder.commit).run
    if held and held.scores.model == current.results.model:
        return
    verdict = history.verdict_against(project, current.commit, holder.commit)
    model, why = f"model of {branch()}", known.named(verdict.explanation)
    match verdict.word:
        case "pass" if can_promote:
            headline, text = f"The {model} can be promoted", f"It is {why}."
            yield Step("pass", "passes", headline, text, PROMOTE, False, page, form)
        case "blocked":
            text = f"{why}. {holder.version} stays in production."
            yield Step("blocked", "blocked", f"The gate blocks the {model}", text, page=page)
        case "none":
            headline = f"The {model} could not be judged"
            yield Step("none", "no verdict", headline, why, "", False, page)


def _can_promote(project: Project) -> bool:
    """Whether the commit has the results of its code, and nothing is changed since."""
    try:
        states = {stage.state for stage in stages_of(project)}
    except InputError:
        return False
    changed = git.run("status", "--porcelain", "--untracked-files=no")
    return states <= {"up to date", "missing"} and not changed


def _running(project: Project) -> Iterator[Step]:
    for job in jobs.recent(project):
        if job.state in ("running", "waiting", "stopping"):
            mark = "running" if job.state == "running" else "missing"
            yield Step(mark, job.state, job.title, job.command, is_alert=False, page=job.page)


def stages_of(project: Project) -> list[Stage]:
    """The stages. Pages in a folder do not say which files the computer that wrote them lacks."""
    stages = pipeline.states(project)
    if project.is_live:
        return stages
    return [replace(s, state="up to date") if s.state == "missing" else s for s in stages]


def branch() -> str:
    """The branch that is checked out, or the start of the commit's id."""
    name = git.run("rev-parse", "--abbrev-ref", "HEAD")
    return name if name != "HEAD" else git.commit("HEAD")[:9]


def _names(stages: Sequence[Stage]) -> str:
    names = [stage.name for stage in stages]
    return _listed(names) if len(names) <= NAMED else count(len(names), "stage")


def _reasons(stages: Sequence[Stage]) -> str:
    """Why stages are out of date, without those that only follow from others, each once."""
    texts = list(dict.fromkeys(_reason(stage, r) for stage in stages for r in stage.reasons))
    texts = list(filter(None, texts)) or [stages[0].why]
    more = f", and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return f"{'; '.join(texts[:NAMED])}{more}."


def _reason(stage: Stage, reason: Reason) -> str:
    if reason.kind == "stage":
        return ""
    return f"the command of {stage.name} changed" if reason.kind == "command" else str(reason)


def _listed(names: Sequence[str]) -> str:
    """As in a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
