"""Versions."""

from functools import partial

from ops.ui.pages import Resources, html
from ops.ui.project import Project


def resources(project: Project) -> Resources:
    return {
        "versions.html": partial(html, project, "versions.html", "versions.html.jinja", "Versions")
    }
