"""Data."""

from functools import partial

from ops.ui.pages import Resources, html
from ops.ui.project import Project


def resources(project: Project) -> Resources:
    return {"data.html": partial(html, project, "data.html", "data.html.jinja", "Data")}
