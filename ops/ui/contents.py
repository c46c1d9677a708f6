"""All files of the pages; the server adds what only it can show."""

from functools import lru_cache

from ops.ui.pages import data, overview, pipeline, render, runs, versions
from ops.ui.pages.render import Resources
from ops.ui.project import Project

PARTS = (overview, pipeline, runs, versions, data)


@lru_cache(maxsize=2)
def resources(project: Project) -> Resources:
    """Every file by its path; raises `InputError` if the repository can't be read."""
    files = dict(render.static())
    for part in PARTS:
        files |= part.resources(project)
    return files
