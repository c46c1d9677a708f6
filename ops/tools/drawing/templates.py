"""Jinja templates of pages, which escape all that they show; a missing name is a fault."""

from pathlib import Path

import jinja2

FOLDER = Path(__file__).parent  # also has page.css, which pages include


def environment(*folders: Path) -> jinja2.Environment:
    """Templates of some folders, and of this one."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
