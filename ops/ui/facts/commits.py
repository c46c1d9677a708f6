"""Commits as the pages show them."""

from dataclasses import dataclass

from ops.tools import git

LONGEST = 300  # characters of an author's name and of a subject


@dataclass(frozen=True)
class Commit:
    """A commit.

    parents : with --parents and a path, the commits before it that changed the path
    time : when it was committed, in seconds since 1970
    """

    hash: str
    parents: tuple[str, ...]
    time: int
    author: str
    subject: str


def log(*words: str, stdin: str | None = None) -> list[Commit]:
    """The commits that `git log` lists, with these options and revisions."""
    form = "--format=tformat:%H%x00%P%x00%ct%x00%aN%x00%s"
    text = git.run("log", "--no-show-signature", "--no-color", form, *words, stdin=stdin)
    rows = (line.split("\0") for line in text.split("\n") if line)
    return [
        Commit(hash, tuple(parents.split()), git.seconds(time), author[:LONGEST], subject[:LONGEST])
        for hash, parents, time, author, subject in rows
    ]
