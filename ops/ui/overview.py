"""Overview."""

from functools import partial

from ops.ui.pages import Resources, html
from ops.ui.project import Project


def resources(project: Project) -> Resources:
    return {"index.html": partial(html, project, "index.html", "index.html.jinja", "Overview")}
