"""The files of the pages, made when they are asked for; the server and the site have the same.

A page's module (ops/ui/pages/runs.py and its like) has a function `resources(project)`, which
returns its files by path: `runs.html`, `runs/1f2e3d4.html`, `pictures/errors.png`. To list them
takes no time; each is made by a function. Links are relative, so that the pages also work as
files: in a template, `{{ root }}` leads to the folder of all.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jinja2

from ops.tools.drawing import charts, templates
from ops.ui import humanize
from ops.ui.facts import commits
from ops.ui.facts.commits import Commit
from ops.ui.project import Project

Resources = Mapping[str, Callable[[], bytes]]
FOLDER = Path(__file__).parents[1]
NAVIGATION = {
    "index.html": "Overview",
    "pipeline.html": "Pipeline",
    "runs.html": "Runs",
    "versions.html": "Versions",
    "data.html": "Data",
}
LIVE_NAVIGATION = {"run.html": "Commands", "labels.html": "Labels"}
# Pages and folders that belong to a page of the navigation; `versions` belongs to versions.html.
BELONGS = {"stages": "pipeline", "compare": "runs", "jobs": "run"}


def html(project: Project, path: str, template: str, title: str, **values: Any) -> bytes:
    """A page, from a template in templates/; everything that it shows is escaped.

    Parameters
    ----------
    path : the page's own, as in `resources`
    template : its file, which extends base.html.jinja
    title : the heading
    values : what the template shows
    """
    navigation = NAVIGATION | (LIVE_NAVIGATION if project.can_run else {})
    text = (
        _templates()
        .get_template(template)
        .render(
            project=project,
            path=path,
            section=_section(path),
            root="../" * path.count("/"),
            title=title,
            navigation=navigation,
            commit=_head(project),
            **values,
        )
    )
    return text.encode(errors="replace")  # Git's texts may have bytes that are no UTF-8


def _section(path: str) -> str:
    """The page of the navigation that a page belongs to."""
    name = path.partition("/")[0].removesuffix(".html")
    return f"{BELONGS.get(name, name)}.html"


def static() -> Resources:
    """The style sheets and the scripts."""
    files = [charts.STYLE, *sorted((FOLDER / "static").iterdir())]
    return {f"static/{path.name}": path.read_bytes for path in files}


@lru_cache(maxsize=2)
def _head(project: Project) -> Commit:
    return commits.log("-1")[0]


@cache
def _templates() -> jinja2.Environment:
    environment = templates.environment(FOLDER / "templates")
    environment.globals["humanize"] = humanize
    return environment
