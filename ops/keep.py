"""Commit the results of the pipeline, or of an experiment: digits keep [EXPERIMENT] --message TEXT

    digits keep --message "Train longer"             # what dvc repro changed in this folder
    digits keep wider --message "A wider network"    # what the experiment `wider` changed

Results are params.yaml, dvc.lock, metrics/ and, in data/, corrections.csv and the files by which
DVC keeps data (*.dvc). Other changes stay as they are, and are listed. The results must be those of
the commit's code: if the code has changed, commit it first.

Of an experiment, all that it changed is committed, with the changes that it was started with. It
may be from an earlier commit, if none of these files has changed since. This folder then gets its
files, data and model, if it has not got them already. An experiment is named by its name or commit.

The commit is made on the current branch. Exit code 0: done. 2: refused; nothing has changed.
"""

import argparse
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from digits.core import command_line, errors, files
from digits.core.command_line import say
from digits.core.errors import InputError, first
from ops.tools import git, pipeline, uncommitted
from ops.tools.dvc import DVC, command_for_outputs
from ops.tools.git import Experiment
from ops.tools.revisions import check_lock
from ops.tools.tree import Tree


def main() -> None:
    args = parse_args()
    branch = git.run("branch", "--show-current")
    if not branch:
        raise InputError(
            "HEAD is on no branch, so the commit would be lost. Go to one: git switch BRANCH. Or "
            "make one: git switch --create BRANCH"
        )
    paths = (
        keep_experiment(args.experiment, args.message)
        if args.experiment
        else keep_results(args.message)
    )
    print(f"{branch} is {git.commit('HEAD')[:9]} now, with {named(paths)}")
    if left := uncommitted.changes():
        print(f"Not committed: {named(left)}")
    push = "git push && " if git.lines("remote") else ""
    print(f"Next: {push}dvc push && digits registry promote")


def keep_results(message: str) -> list[str]:
    """Commit what the pipeline changed in this folder; returns the files."""
    paths = uncommitted.results()
    if not paths:
        raise InputError("the results here are those of the last commit. Run: dvc repro")
    check_staged(paths)
    if stale := pipeline.find_stale(pipeline.read_here()):
        raise InputError(f"{stale.sentence}. Run: dvc repro")
    if fault := fault_of(proposed(message, results=paths)):
        left = [path for path in uncommitted.changes() if path not in paths]
        data = [path for path in left if Path(path).parts[0] == "data"]
        images = f"Images belong to DVC: dvc add {named(data)} && dvc repro. " if data else ""
        raise InputError(
            f"the results are not those of committed code. In the commit, {fault}. These files are "
            f"not committed: {named(left)}. {images}Commit them first: git add FILE && git commit. "
            f"Or put them aside, and run dvc repro: git stash push FILE"
        )
    index = Path(git.run("rev-parse", "--git-path", "index"))
    with ExitStack() as undo:
        undo.callback(files.write, index, index.read_bytes())  # with what the user has staged
        git.run("add", "--all", "--", *paths)
        git.run("commit", "--quiet", "--message", message)
        undo.pop_all()
    return paths


def keep_experiment(name: str, message: str) -> list[str]:
    """Commit what an experiment changed, and bring its files here; returns them."""
    experiment = find_experiment(name)
    head = git.commit("HEAD")
    check_staged([])
    commit = proposed(message, experiment=experiment)
    diff = ("diff", "--name-only", "--no-renames", "--relative", "-z")
    paths = git.names(*diff, head, commit)
    if not paths:
        if others := git.names(*diff, head, experiment.commit, "--", *uncommitted.RESULTS):
            raise InputError(
                f"{name} has nothing to commit: where its results differ from those of the last "
                f"commit ({named(others)}), they are those of {experiment.base[:9]}, which it was "
                f"started from"
            )
        raise InputError(f"{name} has the results of the last commit")
    if fault := fault_of(commit):
        raise InputError(f"{name} is not the result of this code: {fault}. {again(experiment)}")
    literal = [f":(literal){path}" for path in paths]
    git.run("update-index", "-q", "--refresh")
    here = uncommitted.changes(*literal)
    is_applied = bool(here) and are_here(commit, literal)
    if here and not is_applied:
        raise InputError(
            f"these files differ from the last commit, and would be overwritten: {named(here)}. "
            f"Commit them: git commit, or for results: digits keep --message TEXT. Or put them "
            f"aside: git stash --include-untracked"
        )
    with ExitStack() as undo:
        if is_applied:
            git.run("add", "--all", "--", *literal)
            undo.callback(git.run, "reset", "--quiet", "--", *literal)
        else:
            git.run("read-tree", "-m", "-u", head, commit)
            undo.callback(git.run, "read-tree", "-m", "-u", commit, head)
        git.run("commit", "--quiet", "--message", message)
        undo.pop_all()
    if subprocess.run([*DVC, "checkout", "--quiet"]).returncode:
        command = command_for_outputs()
        say(f"The commit is made, but its data and model are not all here. Run: {command}")
    return paths


def are_here(commit: str, paths: list[str]) -> bool:
    """Whether this folder has the files of some pathspecs as the commit has them."""
    with other_index() as index:
        git.run("read-tree", commit, environment=index)
        return not git.names("diff", "--name-only", "-z", "--", *paths, environment=index)


@contextmanager
def other_index() -> Iterator[dict[str, str]]:
    """An environment in which Git has an index of its own, which is empty."""
    with tempfile.TemporaryDirectory(prefix="keep-") as folder:
        yield {**os.environ, "GIT_INDEX_FILE": str(Path(folder, "index"))}


def find_experiment(name: str) -> Experiment:
    """The experiment of HEAD that has this name or commit, or else the newest of all."""
    known = git.nearest_experiments()
    found = next((e for e in known if name in (e.name, e.commit[: max(7, len(name))])), None)
    if found is None:
        names = ", ".join(dict.fromkeys(e.name for e in known)) or "none"
        raise InputError(f"there is no experiment {name!r}; there are: {names}")
    return found


def check_staged(paths: list[str]) -> None:
    """Raises `InputError` if other files than these are staged for the next commit."""
    project = git.project_in_repository()
    staged = git.names("diff", "--cached", "--name-only", "--no-renames", "-z")
    known = {str(project / path) for path in paths}
    if others := [path for path in staged if path not in known]:
        raise InputError(
            f"other files are staged for the next commit: {named(others)}. Commit them: git "
            f"commit. Or unstage them: git restore --staged FILE"
        )


def proposed(
    message: str, *, results: list[str] | None = None, experiment: Experiment | None = None
) -> str:
    """A commit on HEAD that no branch has yet, with the results here or those of an experiment."""
    with other_index() as index:
        if experiment:
            merged = (experiment.base, "HEAD", experiment.commit)
            git.run("read-tree", "-i", "-m", "--aggressive", *merged, environment=index)
            entries = git.names("ls-files", "--unmerged", "-z", environment=index)
            if clashing := list(dict.fromkeys(entry.partition("\t")[2] for entry in entries)):
                raise InputError(
                    f"{experiment.name} was started from {experiment.base[:9]}, and these files "
                    f"have changed here since: {named(clashing)}. {again(experiment)}"
                )
        else:
            git.run("read-tree", "HEAD", environment=index)
            git.run("add", "--all", "--", *results or (), environment=index)
        tree = git.run("write-tree", environment=index)
    return git.run("commit-tree", tree, "-p", "HEAD", "-m", message)


def fault_of(commit: str) -> str:
    """Why the results of a commit are not those of its code; empty if they are."""
    tree = Tree(commit)
    if stale := pipeline.find_stale(pipeline.read(tree)):
        return stale.sentence
    check_lock(tree)
    return ""


def again(experiment: Experiment) -> str:
    base = experiment.base[:9]
    return (
        f"Run it again from here; DVC's cache has the results of stages that are the same. Or keep "
        f"it on a branch of its own: git switch --create BRANCH {base}"
    )


def named(paths: list[str]) -> str:
    return first([shlex.quote(path) for path in paths])


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.keep", __doc__)
    parser.add_argument(
        "experiment",
        metavar="EXPERIMENT",
        nargs="?",
        help="an experiment's name or commit (default: the results in this folder)",
    )
    parser.add_argument(
        "-m", "--message", metavar="TEXT", type=text, required=True, help="of the commit"
    )
    return parser.parse_args()


def text(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("is empty")
    return value.strip()


if __name__ == "__main__":
    errors.run(main, failure=2)
