"""The pipeline: the state of each stage and why, and what each stage made."""

from functools import lru_cache, partial

from ops.tools import pipeline
from ops.tools.pipeline import Stage
from ops.ui.pages import Resources, html
from ops.ui.project import Project


def resources(project: Project) -> Resources:
    return {
        "pipeline.html": partial(html, project, "pipeline.html", "pipeline.html.jinja", "Pipeline")
    }


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
