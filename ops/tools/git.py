"""Ask Git. Nothing here changes the working tree.

Git sets variables such as GIT_DIR and GIT_INDEX_FILE for its hooks and aliases. They name the
user's repository, so Git gets them for that repository only, and nothing in a clone gets them.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Self

from digits.core.errors import InputError

ARTIFACT = "digit-classifier"  # the tags of its versions begin with this
LATEST = 253_402_300_799  # the end of the year 9999; a later time has no calendar date
OBJECT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")  # its full name, by SHA-1 or SHA-256
# They configure Git, and name no repository: `git clone` may need safe.directory from them.
CONFIGURATION = {"GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"}


def run(
    *words: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run git and return its output; raises `InputError` with its message if it fails.

    Bytes that are no UTF-8 become surrogates, as in the names that Python's `os` returns.

    Parameters
    ----------
    words : the arguments
    folder : a clone of ours; by default the user's repository
    environment : by default the user's, in a clone `clean_environment`
    stdin : the input
    """
    if environment is None and folder is not None:
        environment = clean_environment()
    result = _run(words, folder, environment, stdin)
    if result.returncode:
        raise _failure(words, result)
    return result.stdout.rstrip("\n")


def lines(*words: str) -> list[str]:
    """As `run`, by line."""
    return [line for line in run(*words).split("\n") if line]


def names(*words: str | Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """As `run` with -z: the names, or other entries, that a null byte ends."""
    return [name for name in run(*words, environment=environment).split("\0") if name]


def clean_environment() -> dict[str, str]:
    """The environment without Git's variables that name a repository: for all work in a clone."""
    return {key: value for key, value in os.environ.items() if key not in _variables()}


def commit(rev: str) -> str:
    """The commit that a revision names; raises `InputError` if there is none."""
    commit = find_commit(rev)
    if commit is None:
        raise InputError(f"{rev!r} is not a revision of this repository")
    return commit


def find_commit(rev: str) -> str | None:
    """The commit of a revision, of a version of the model, or of a DVC experiment.

    Of several experiments of a name, HEAD's is taken, or else the newest.

    None if there is no such commit; raises `InputError` if Git can't tell, as in a repository of
    another owner.
    """
    version = f"refs/tags/{ARTIFACT}@v{rev.removeprefix('v')}"
    return (
        _parse(rev)
        or _parse(version)
        or next((e.commit for e in nearest_experiments() if e.name == rev), None)
    )


def experiments(of: str = "HEAD") -> dict[str, str]:
    """The commit of each DVC experiment of a revision, by name."""
    base = _parse(of)
    return {e.name: e.commit for e in all_experiments() if e.base == base}


@dataclass(frozen=True)
class Experiment:
    """A DVC experiment; `base` is the commit that it was started from."""

    name: str
    commit: str
    base: str


def experiment_reference(name: str, base: str) -> str:
    """The reference that DVC gives an experiment of a commit."""
    return f"refs/exps/{base[:2]}/{base[2:]}/{name}"


def all_experiments() -> list[Experiment]:
    """Every DVC experiment, the oldest first; several may have one name, from different commits.

    A ref whose name has no commit as its base is not DVC's. It may come from anybody's remote, and
    Git could take its text for an option.
    """
    form = "--format=%(objectname) %(refname:lstrip=2)"
    listing = lines("for-each-ref", "--sort=committerdate", form, "refs/exps/*/*/*")
    experiments = []
    for line in listing:
        commit, _, path = line.partition(" ")
        first, rest, name = path.split("/", 2)
        experiments.append(Experiment(name, commit, first + rest))
    known = _commits({experiment.base for experiment in experiments})
    return [experiment for experiment in experiments if experiment.base in known]


def _commits(names: set[str]) -> set[str]:
    """Of full names of objects, those of the commits in this repository."""
    if not names:
        return set()
    form = "--batch-check=%(objectname) %(objecttype)"
    answers = run("cat-file", form, stdin="".join(f"{name}\n" for name in sorted(names)))
    rows = (line.split(" ") for line in answers.split("\n"))
    return {name for name, kind in rows if kind == "commit"}


def seconds(text: str) -> int:
    """A time as Git prints it, in seconds since 1970; anybody's commit can have none, or any."""
    return min(int(text or 0), LATEST)


def nearest_experiments() -> list[Experiment]:
    """Every DVC experiment: first those of HEAD, then the others, each time the newest first."""
    head = _parse("HEAD")
    return sorted(reversed(all_experiments()), key=lambda e: e.base != head)


def setting(key: str, kind: str = "") -> str | None:
    """A value of Git's configuration, or None; with the kind `bool`, true or false."""
    words = ["config", *([f"--type={kind}"] if kind else []), key]
    result = _run(words)
    if result.returncode not in (0, 1):
        raise _failure(words, result)
    return result.stdout.strip() or None


def server() -> str | None:
    """The name of the Git remote that has the tags; None if there is no remote."""
    names = lines("remote")
    if not names or "origin" in names:
        return "origin" if names else None
    if len(names) > 1:
        raise InputError(
            f"there are several Git remotes ({', '.join(names)}), and none is named origin. "
            f"Rename the one that has the tags: git remote rename NAME origin. Which URL each has: "
            f"git remote --verbose"
        )
    return names[0]


def push_command(server: str) -> str:
    """What a person types to have HEAD on the server."""
    branch = run("branch", "--show-current")
    return f"git push {server} {'HEAD' if branch else 'HEAD:refs/heads/BRANCH'}"


def clone(commit: str, folder: Path) -> Path:
    """Clone this repository into a new folder, and check out a commit.

    Returns the project's folder in the clone: the project may be a subfolder of its repository.
    """
    source = Path(run("rev-parse", "--git-common-dir")).resolve()
    configuration = {key: os.environ[key] for key in CONFIGURATION & os.environ.keys()}
    environment = clean_environment() | configuration
    run("clone", "--quiet", "--no-checkout", source, folder, environment=environment)
    run("checkout", "--quiet", "--detach", commit, folder=folder)
    return folder / project_in_repository()


def omit_history(clone: Path, commit: str) -> None:
    """Make a clone of ours shallow, so that it need not have what is before the commit."""
    (clone / ".git" / "shallow").write_text(f"{commit}\n")


def project_in_repository() -> Path:
    """The current folder, from the repository's root; the project may be a subfolder."""
    return Path(run("rev-parse", "--show-prefix"))


def read(commit: str, path: str) -> bytes | None:
    """A file's content in a commit; None if the commit lacks it."""
    if _is_listed(commit, path) and path not in _listing(commit, Path.cwd()):
        return None
    words = ["git", "cat-file", "blob", f"{commit}:./{path}"]  # the project may be a subfolder
    result = subprocess.run(words, env=_environment(), capture_output=True)
    if result.returncode == 0:
        return result.stdout
    entry = run("ls-tree", commit, path)
    if " blob " in entry.partition("\t")[0]:
        error = os.fsdecode(result.stderr).strip()
        raise InputError(f"{path} of {commit[:9]} can't be read from Git: {error}")
    return None


def read_all(commit: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The contents of files in a commit, by path; without submodules.

    One call of git, however many files; another one for each name that has a line break.
    """
    with Objects() as objects:
        contents = {path: objects.read(f"{commit}:./{path}") for path in paths if "\n" not in path}
    for path in paths:
        if contents.get(path) is None:
            contents[path] = read(commit, path)
    return {path: content for path, content in contents.items() if content is not None}


class Objects:
    """Reads many files with one process of git: `with Objects() as objects: ...`."""

    def __enter__(self) -> Self:
        words = ["git", "cat-file", "--batch"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            words, env=_environment(), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def read(self, name: str) -> bytes | None:
        """The content of a file by its object's name, or by COMMIT:./PATH; None if there is none.

        The name has no line break.
        """
        requests, answers = self._process.stdin, self._process.stdout
        assert requests
        assert answers
        requests.write(os.fsencode(name) + b"\n")
        requests.flush()
        head = answers.readline().rsplit(maxsplit=2)
        if len(head) < 3 or not head[2].isdigit():  # as in `NAME missing`
            return None
        content = answers.read(int(head[2]))
        answers.read(1)  # a newline
        return content if head[1] == b"blob" else None


def paths(commit: str, path: str) -> list[str]:
    """The files of a commit under a folder; or the path itself if it is a file."""
    if _is_listed(commit, path):
        return below(_listing(commit, Path.cwd()), path)
    return names("ls-tree", "-r", "-z", "--name-only", commit, path)


def below(listing: Iterable[str], path: str) -> list[str]:
    """Of the names in a listing, the path itself and those of files in this folder."""
    return [name for name in listing if name == path or name.startswith(f"{path}/")]


def is_inside(path: str) -> bool:
    """Whether a path is written as in a listing of the current folder."""
    return path == os.path.normpath(path) and path.partition("/")[0] not in ("", ".", "..")


def _is_listed(commit: str, path: str) -> bool:
    """Whether `_listing` can tell what a commit has at a path."""
    return is_inside(path) and OBJECT.fullmatch(commit) is not None


@lru_cache(maxsize=8)
def _listing(commit: str, folder: Path) -> Mapping[str, None]:
    """The files of a commit below the current folder, in order; a commit never changes."""
    return dict.fromkeys(names("ls-tree", "-r", "-z", "--name-only", commit))


def paths_here(path: str) -> list[str]:
    """As `paths`, for the working tree: the files that Git tracks or does not ignore."""
    return [name for name in names_here(path) if Path(name).is_file()]


def names_here(path: str = ".") -> list[str]:
    """As `paths_here`, with files that are removed, and with nested repositories."""
    options = ("-z", "--cached", "--others", "--exclude-standard")
    return sorted(set(names("ls-files", *options, "--", path)))


def require_history() -> None:
    """Raises `InputError` in a shallow clone, which lacks a part of the history."""
    if run("rev-parse", "--is-shallow-repository") == "true":
        raise InputError("this clone is shallow, so history is missing. git fetch --unshallow")


def _parse(rev: str) -> str | None:
    words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"]
    result = _run(words)
    if result.returncode and result.stderr:
        raise _failure(words, result)
    return result.stdout.strip() or None


def _run(
    words: Sequence[str | Path],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *words],
        cwd=folder,
        env=_environment() if environment is None else environment,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
    )


def _failure(words: Sequence[str | Path], result: subprocess.CompletedProcess[str]) -> InputError:
    said = f"{result.stderr.strip()}\n{result.stdout.strip()}".strip()
    if not said:  # a hook may say nothing
        said = (
            f"exit code {result.returncode}, without a message. Did a hook refuse? They are in the "
            f"folder that this prints: git rev-parse --git-path hooks"
        )
    return InputError(f"git {' '.join(map(str, words))}: {said}")


def _environment() -> dict[str, str]:
    """The environment for Git in the user's repository.

    In a worktree, hooks and aliases have a GIT_DIR, but no GIT_WORK_TREE. Git then takes the
    current folder for the root, which is wrong if the project is a subfolder. So the variable goes
    if Git finds the same repository without it.
    """
    # Without locks: `git status` would lock the index, and the user's own command would fail.
    environment = dict(os.environ) | {"GIT_OPTIONAL_LOCKS": "0"}
    if "GIT_DIR" in environment and "GIT_WORK_TREE" not in environment:
        named = environment.pop("GIT_DIR")
        found = _run(["rev-parse", "--absolute-git-dir"], environment=environment).stdout.strip()
        if os.path.realpath(named) != os.path.realpath(found or "."):
            environment["GIT_DIR"] = named
    return environment


@cache
def _variables() -> frozenset[str]:
    names = _run(["rev-parse", "--local-env-vars"], environment=os.environ).stdout.split()
    return frozenset(names)
