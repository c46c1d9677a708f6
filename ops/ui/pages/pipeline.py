"""The pipeline: the state of each stage and why, and a page about each stage."""

import os
import re
import shlex
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path

from markupsafe import Markup

from digits.core.errors import InputError
from ops.tools import dvc_files, pipeline
from ops.tools.drawing import charts
from ops.tools.drawing.charts import Node
from ops.tools.pipeline import Stage
from ops.ui.pages import stage
from ops.ui.pages.render import Resources, html
from ops.ui.project import Project

PAGE = "pipeline.html"
OUTPUTS = "outputs"  # the folder of the pages with the pictures that stages made
CLASSES = {
    "up to date": "fresh",
    "out of date": "stale",
    "never run": "missing",
    "missing": "missing",
    "running": "running",
    "failed": "failed",
}


def resources(project: Project) -> Resources:
    """The page of the pipeline, a page for each stage, and the pictures that stages made."""
    files: dict[str, Callable[[], bytes]] = {PAGE: partial(page, project)}
    try:
        declared = dvc_files.parse_pipeline(Path("dvc.yaml").read_bytes())
    except (OSError, InputError):
        return files  # the page of the pipeline says what is wrong
    files |= {path_of(name): partial(stage_page, project, name) for name in declared}
    for made in declared.values():
        for path in made.outputs:
            if stage.is_picture(path) and os.path.isfile(path):
                files[f"{OUTPUTS}/{path}"] = Path(path).read_bytes
    return files


@lru_cache(maxsize=2)
def states(project: Project) -> list[Stage]:
    """The stages as they are here, each after those that write its inputs.

    `stage.state` is "up to date", "out of date", "never run", "missing" (its outputs), "running" or
    "failed"; `stage.why` says why in one line, and `stage.reasons` one by one.

    Raises
    ------
    InputError
        If dvc.yaml, dvc.lock or params.yaml can't be read.
    """
    return pipeline.read_here()


def path_of(name: str) -> str:
    """The page of a stage; a name that is more than letters, digits and `_@.-` is hashed."""
    is_plain = re.fullmatch(r"[A-Za-z0-9_@-][A-Za-z0-9_@.-]*", name)
    return f"stages/{name if is_plain else sha256(name.encode()).hexdigest()[:12]}.html"


def page(project: Project) -> bytes:
    try:
        stages, fault = states(project), ""
    except InputError as error:
        stages, fault = [], str(error)
    return _html(project, PAGE, "pipeline.html.jinja", "Pipeline", stages, fault=fault)


def stage_page(project: Project, name: str) -> bytes:
    path, template = path_of(name), "stage.html.jinja"
    try:
        stages = states(project)
        one = next(s for s in stages if s.name == name)
        values = {"stage": one, "details": stage.details(one, f"../{OUTPUTS}"), "fault": ""}
    except InputError as error:
        stages, values = [], {"stage": None, "details": None, "fault": str(error)}
    return _html(project, path, template, name, stages, **values)


def _html(
    project: Project, path: str, template: str, title: str, stages: list[Stage], **values: object
) -> bytes:
    return html(
        project,
        path,
        template,
        title,
        stages=stages,
        graph=graph(stages) if path == PAGE else None,
        classes=CLASSES,
        path_of=path_of,
        shown=pipeline.shown,
        remedy=remedy,
        quote=shlex.quote,
        words_changed=stage.words_changed,
        **values,
    )


def graph(stages: Sequence[Stage]) -> Markup:
    """The stages as boxes, which are links, and the files that they pass on as arrows."""
    nodes = [Node(s.name, s.state, CLASSES[s.state], path_of(s.name)) for s in stages]
    edges = pipeline.edges(stages)
    return charts.graph("The stages; the list has the same in words", nodes, edges)


def remedy(behind: Sequence[Stage]) -> str:
    """The command that brings stages up to date."""
    if any(stage.state != "missing" for stage in behind):
        return "dvc repro"
    reasons = [reason for stage in behind for reason in stage.reasons]
    return "dvc checkout" if all("dvc checkout" in r.detail for r in reasons) else "dvc repro"
