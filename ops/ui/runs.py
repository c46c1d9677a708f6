"""Runs."""

from functools import partial

from ops.ui.pages import Resources, html
from ops.ui.project import Project


def resources(project: Project) -> Resources:
    return {"runs.html": partial(html, project, "runs.html", "runs.html.jinja", "Runs")}
