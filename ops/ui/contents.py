"""All files of the pages; the server adds what only it can show."""

import threading
from functools import lru_cache

from ops.ui.pages import data, overview, pipeline, render, runs, versions
from ops.ui.pages.render import Resources
from ops.ui.project import Project

PARTS = (overview, pipeline, runs, versions, data)


_reading = threading.Lock()  # pages that are asked for at once read the repository once


def resources(project: Project) -> Resources:
    """Every file by its path; raises `InputError` if the repository can't be read."""
    with _reading:
        return _resources(project)


@lru_cache(maxsize=2)
def _resources(project: Project) -> Resources:
    files = dict(render.static())
    for part in PARTS:
        files |= part.resources(project)
    return files
