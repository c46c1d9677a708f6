"""What the pages show: this repository at one moment."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from digits.core.errors import InputError
from ops.tools import disk, dvc_files, git

FOLDER = Path(".ui")  # what the pages keep for themselves; Git ignores it
# A change of these files, of a stage's inputs or outputs, or of any ref, changes the pages.
WATCHED = (
    *("dvc.yaml", "dvc.lock", "params.yaml", "metrics", "data"),
    *(".dvc/config", ".dvc/config.local"),
    *(".dvc/tmp/rwlock", ".ui/changed", ".ui/stages"),
)


@dataclass(frozen=True)
class Elsewhere:
    """What the pages show besides the repository.

    deployments : the URLs whose pointers the pages read, as of `digits deploy --to URL`
    metrics : the URL of a server's /metrics, or a file with its content
    """

    deployments: tuple[str, ...] = ()
    metrics: str | None = None


NOWHERE = Elsewhere()


@dataclass(frozen=True)
class Project:
    """The repository in the current folder; a function of it may be kept with `lru_cache`.

    moment : changes whenever something that the pages show changes
    is_live : there is a server behind the pages
    read_only : nothing runs commands
    """

    moment: str
    is_live: bool = False
    read_only: bool = True
    elsewhere: Elsewhere = NOWHERE

    @property
    def can_run(self) -> bool:
        """Whether the pages may run commands."""
        return self.is_live and not self.read_only


def read(
    *, is_live: bool = False, read_only: bool = True, elsewhere: Elsewhere = NOWHERE
) -> Project:
    """The project as it is now."""
    return Project(_moment(), is_live, read_only, elsewhere)


def check_folder() -> None:
    """Raises `InputError` if Git tracks a file in .ui/: the pages and the runner trust that folder.

    A branch could bring contents of pages there, or links to files that would be overwritten.
    """
    if git.run("ls-files", "-z", "--", ":(icase).ui"):
        raise InputError(
            "Git tracks files in .ui/, where the pages keep their own. Look at who added them, and "
            "remove them: git rm -r .ui"
        )


def _moment() -> str:
    check_folder()
    refs = git.run("for-each-ref", "--format=%(objectname) %(refname)")
    head = git.run("rev-parse", "--verify", "HEAD")
    names = sorted({*WATCHED, *_files_of_stages()})
    files = [_state(path) for name in names for path in _files(Path(name))]
    text = "\n".join([refs, head, *files])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _files_of_stages() -> frozenset[str]:
    try:
        return _named_in(Path("dvc.yaml").read_bytes())
    except (OSError, InputError):
        return frozenset()  # the page of the pipeline says what is wrong


@lru_cache(maxsize=2)
def _named_in(pipeline: bytes) -> frozenset[str]:
    stages = dvc_files.parse_pipeline(pipeline).values()
    return frozenset(path for stage in stages for path in (*stage.deps, *stage.outputs))


def _files(path: Path) -> list[Path]:
    is_own = os.path.isdir(path) and disk.is_inside(path)  # a dependency may be `/`
    files = sorted(path.glob("**/*")) if is_own else [path]
    return [file for file in files if "__pycache__" not in file.parts]


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):  # also a name that is too long, or that no file can have
        return f"{path} -"
    return f"{path} {status.st_mtime_ns} {status.st_size}"
