"""Write the pages as a folder of files, which opens without a server and without a network."""

from pathlib import Path

from digits.core import files
from ops.ui import contents, project


def write(folder: Path) -> int:
    """Write every file that has changed, and return how many there are; remove no file."""
    resources = contents.resources(project.read())
    for path, make in resources.items():
        content, target = make(), folder / path
        if not target.is_file() or target.read_bytes() != content:
            files.write(target, content)
    return len(resources)
