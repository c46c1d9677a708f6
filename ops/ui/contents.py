"""All files of the pages."""

from functools import lru_cache

from ops.ui import data, labels, overview, pages, pipeline, runs, versions
from ops.ui.pages import Resources
from ops.ui.project import Project

PARTS = (overview, pipeline, runs, versions, data, labels)


@lru_cache(maxsize=2)
def resources(project: Project) -> Resources:
    """Every file by its path; raises `InputError` if the repository can't be read."""
    files = dict(pages.static())
    for part in PARTS:
        files |= part.resources(project)
    return files
