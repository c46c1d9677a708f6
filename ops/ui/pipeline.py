"""Pipeline."""

from functools import partial

from ops.ui.pages import Resources, html
from ops.ui.project import Project


def resources(project: Project) -> Resources:
    return {
        "pipeline.html": partial(html, project, "pipeline.html", "pipeline.html.jinja", "Pipeline")
    }
