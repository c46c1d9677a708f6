"""The pages of the runs: all of them, one of them, and some side by side."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from statistics import fmean
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from digits.gate import diff
from digits.gate.seed_spread import mean_margin
from ops.tools.drawing import charts
from ops.ui.facts import error_images, history
from ops.ui.facts.history import SEED, WITHOUT_EFFECT, Results, Run, Value
from ops.ui.pages import render
from ops.ui.pages.render import Resources
from ops.ui.project import Project

FIGURES = ("accuracy", "errors", "nll", "ece", "robustness")  # the first columns
MOST_PARAMS = 5  # that the table shows at first
MOST_DIGITS = 60


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed only; a run that was made again counts once.

    runs : positions among all runs
    n : different models
    figures : of each, the mean and half the width of its 95 % interval, None for one run
    """

    runs: Sequence[int]
    n: int
    figures: Mapping[str, tuple[float, float | None]]


def resources(project: Project) -> Resources:
    files = {
        "runs.html": partial(_runs_page, project),
        "compare.html": partial(_compare_page, project),
    }
    for run in history.runs(project):
        files[f"runs/{run.key}.html"] = partial(_run_page, project, run)
        files[f"runs/{run.key}.js"] = partial(_script, run)
    for sheet in error_images.read(project).values():
        if sheet.place:
            files[sheet.path] = partial(bytes, sheet.png)
    return files


def _runs_page(project: Project) -> bytes:
    data = _data(history.state(project))
    return render.html(project, "runs.html", "runs.html.jinja", "Runs", data=data, seed=SEED)


@lru_cache(maxsize=2)
def _data(state: str) -> Markup | None:
    runs = history.runs_at(state)
    return htmlsafe_json_dumps(_table(runs)) if runs else None


def _table(runs: Sequence[Run]) -> dict[str, Any]:
    """What runs.js needs, by column; parameters that all runs share have one value."""
    common, varying = _params([run.results.params for run in runs])
    figures = _names(run.results.figures for run in runs)
    groups = _groups(runs)
    return {
        "runs": [
            {
                "id": run.key,
                "name": run.name,
                "subject": "" if run.is_experiment else run.subject,
                "author": run.author,
                "time": run.time,
                "kind": "experiment" if run.is_experiment else "commit",
                "verdict": run.verdict.word,
                "better": run.verdict.better,
                "why": run.verdict.explanation,
                "fault": run.results.fault,
            }
            for run in runs
        ],
        "figures": {name: [run.results.figures.get(name) for run in runs] for name in figures},
        "params": {name: [run.results.params.get(name) for run in runs] for name in varying},
        "common": common,
        "shown": [
            *(name for name in FIGURES if name in figures),
            *[
                name
                for name, values in varying.items()
                if values > 1 and not name.startswith(WITHOUT_EFFECT)
            ][:MOST_PARAMS],
        ],
        "groups": [asdict(group) for group in groups],
        "seed": SEED,
    }


def _params(all_params: Sequence[Mapping[str, Value]]) -> tuple[dict[str, Value], dict[str, int]]:
    """Those that all runs share; for each other, how many values it has, the most first.

    A run that lacks the parameter does not count: it is from before the parameter was added.
    """
    values = {name: [params.get(name) for params in all_params] for name in _names(all_params)}
    common = {
        name: column[0]
        for name, column in values.items()
        if column[0] is not None and all(value == column[0] for value in column)
    }
    counts = {
        name: len(set(column) - {None}) for name, column in values.items() if name not in common
    }
    return common, dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _names(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _groups(runs: Sequence[Run]) -> list[Group]:
    """The runs by all that can change their results but the seed: parameters, code and data."""
    members: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        results = run.results
        if results.figures:
            params = {
                name: value
                for name, value in results.params.items()
                if name != SEED and not name.startswith(WITHOUT_EFFECT)
            }
            key = json.dumps([results.code or run.commit, results.test_set, params])
            members.setdefault(key, []).append(i)
    return [_group(runs, group) for group in members.values()]


def _group(runs: Sequence[Run], members: Sequence[int]) -> Group:
    once = list({runs[i].results.model: runs[i].results for i in members}.values())
    figures = {}
    for name in once[0].figures:
        values = [results.figures[name] for results in once if name in results.figures]
        figures[name] = (fmean(values), mean_margin(values))
    return Group(list(members), len(once), figures)


def _compare_page(project: Project) -> bytes:
    known = {
        name: {
            "path": sheet.path,
            "size": [sheet.height, sheet.width],
            "columns": error_images.COLUMNS,
            "place": sheet.place,
            "missing": sheet.missing,
        }
        for name, sheet in error_images.read(project).items()
    }
    ids = [run.key for run in history.runs(project)]
    return render.html(
        project,
        "compare.html",
        "compare.html.jinja",
        "Runs side by side",
        data={"runs": ids, "sheets": known, "curves": charts.TRAINING},
    )


def _script(run: Run) -> bytes:
    """A run for compare.js; a script, since a page from a file may not fetch."""
    results = run.results
    values = {
        "id": run.key,
        "name": run.name,
        "subject": run.subject,
        "verdict": run.verdict.word,
        "fault": results.fault,
        "figures": results.figures,
        "params": results.params,
        "curve": results.curve,
        "test_set": results.test_set,
        "errors": {i: [e.label, e.predicted, e.confidence] for i, e in results.errors.items()},
    }
    return f"digits.add({htmlsafe_json_dumps(values)});\n".encode()


def _run_page(project: Project, run: Run) -> bytes:
    base = next((r for r in history.runs(project) if r.commit == run.base_run), None)
    return render.html(
        project,
        f"runs/{run.key}.html",
        "one_run.html.jinja",
        run.name,
        run=run,
        base=base,
        figures=run.verdict.figures or _figures(run.results),
        shown=diff.shown,
        shown_change=diff.shown_change,
        training=charts.training([base.results.curve if base else [], run.results.curve]),
        confusion=_confusion(run.results),
        worst=diff.worst(run.results.errors),
        most_digits=MOST_DIGITS,
        sheet=error_images.read(project).get(run.results.test_set),
        columns=error_images.COLUMNS,
        commands=_commands(run),
    )


def _figures(results: Results) -> list[diff.Figure]:
    keys = {"weights": "parameters", "bytes": "model_bytes"}
    return [
        diff.Figure(name, unit, None, results.figures[key], None)
        for name, unit in diff.UNITS.items()
        if (key := keys.get(name, name)) in results.figures
    ]


def _confusion(results: Results) -> dict[str, Any]:
    rows = diff.confusion(results.support, results.errors.values())
    errors = [n for label, row in rows.items() for name, n in row.items() if name != label]
    return {"rows": rows, "most": max(1, *errors) if errors else 1}


def _commands(run: Run) -> dict[str, str]:
    """What to type, by what it does."""
    if not run.is_experiment:
        return {
            "Show the commit": f"git show {run.commit[:12]}",
            "Go to its code, data and model": f"git checkout {run.commit[:12]} && dvc checkout",
        }
    name = shlex.quote(run.name)
    return {
        "Bring its code, data and model into this folder": f"dvc exp apply {name}",
        "Commit its results on this branch": f'digits keep {name} --message "TEXT"',
        "Make a branch of it": f"dvc exp branch {name} BRANCH",
        "Judge it": f"digits gate --base {(run.base or '')[:12]} --of {name}",
    }
