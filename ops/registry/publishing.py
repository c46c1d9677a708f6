"""Fetch the tags of the Git remote, and publish new ones: all of them, or none.

New tags are first made as objects that no ref points to. One atomic push creates their refs on the
server, and only then are they created here. So this repository never has a tag that the server
lacks, even if the command is killed. (`git tag -a` and a push can leave such tags behind.)
"""

import time
from collections.abc import Mapping, Sequence

from digits.core.errors import InputError
from ops.tools import git, tags
from ops.tools.tags import ARTIFACT, Tag

PATTERN = f"refs/tags/{ARTIFACT}*"


def identity() -> str:
    """Return the person who makes the tags, with time and zone, in Git's format."""
    try:
        return git.run("var", "GIT_COMMITTER_IDENT")
    except InputError as error:
        raise InputError(
            "Git does not know your name, which every tag records. Set it:\n"
            '  git config user.name "Your Name"; git config user.email you@example.com'
        ) from error


def find_server() -> str | None:
    """Return the name of the Git remote that has the tags; None if there is no remote."""
    names = git.run("remote").splitlines()
    if not names or "origin" in names:
        return "origin" if names else None
    if len(names) > 1:
        raise InputError(
            f"there are several Git remotes ({', '.join(names)}), and none is named origin. "
            f"Rename the one that has the tags: git remote rename {names[0]} origin"
        )
    return names[0]


def fetch(server: str) -> None:
    """Fetch branches and tags; raises `InputError` if a tag here differs from the server's."""
    remote, local = remote_tags(server), local_tags()
    for name in local:
        if name not in remote:
            raise InputError(
                f"the tag {name} is here, but not on {server}, so others see a different history.\n"
                f"  To publish it: git push {server} 'refs/tags/{name}'\n"
                f"  To delete it:  git tag --delete '{name}'"
            )
        if remote[name] != local[name]:
            raise InputError(
                f"the tag {name} here differs from the one on {server}, which counts.\n"
                f"  To delete it:  git tag --delete '{name}'"
            )
    branches = f"+refs/heads/*:refs/remotes/{server}/*"
    git.run("fetch", "--quiet", "--no-tags", "--prune", server, branches)
    git.run("fetch", "--quiet", "--no-tags", server, f"{PATTERN}:{PATTERN}")


def remote_tags(server: str) -> dict[str, str]:
    return parse_refs(git.run("ls-remote", "--refs", server, PATTERN))


def local_tags() -> dict[str, str]:
    return parse_refs(git.run("for-each-ref", "--format=%(objectname) %(refname)", PATTERN))


def parse_refs(text: str) -> dict[str, str]:
    """Parse lines of an object and a ref into objects by tag name."""
    pairs = (line.split() for line in text.splitlines())
    return {name.removeprefix("refs/tags/"): oid for oid, name in pairs}


def publish(
    server: str | None,
    commit: str,
    names: Sequence[str],
    evidence: Mapping[str, str],
    known: Sequence[Tag],
) -> None:
    """Make annotated tags of a commit, on the server and here: all of them, or none.

    Parameters
    ----------
    server : the Git remote; None if there is none
    commit, names : the tags
    evidence : the lines of their message, by key
    known : all tags until now; the new ones get a later time

    Raises
    ------
    InputError
        If another person's tag came first, or Git refuses.
    """
    when = tags.next_time(known, int(time.time()))
    text = message(evidence)
    oids = {name: make_object(name, commit, text, when) for name in names}
    if server:
        push(server, oids)
    verb = "update" if server else "create"
    lines = [f"{verb} refs/tags/{name} {oid}\n" for name, oid in oids.items()]
    try:
        git.run("update-ref", "--stdin", stdin="".join(lines))
    except InputError as error:
        if server:
            raise InputError(f"{error}\n  {server} has the tags. Run: git fetch --tags") from None
        raise refusal(error, "this repository", local_tags(), oids) from None


def make_object(name: str, commit: str, text: str, when: int) -> str:
    """Write the object of an annotated tag, as `git tag -a` does, without a ref to it."""
    who, _, zone = identity().rsplit(" ", 2)
    head = f"object {commit}\ntype commit\ntag {name}\ntagger {who} {when} {zone}\n\n"
    return git.run("mktag", stdin=head + text)


def message(evidence: Mapping[str, str]) -> str:
    """Render a tag's message: a subject, then a line for each value that is not empty."""
    subject = f"{ARTIFACT} {evidence['Version']}: {evidence['Action']} to {evidence['Stage']}"
    lines = [f"{key}: {' '.join(value.split())}" for key, value in evidence.items() if value]
    return "\n".join([subject, "", *lines, ""])


def push(server: str, oids: Mapping[str, str]) -> None:
    """Push tags atomically; raises `InputError` if the server lacks them, or may lack them."""
    refs = [f"{oid}:refs/tags/{name}" for name, oid in oids.items()]
    try:
        git.run("push", "--quiet", "--atomic", server, *refs)
    except InputError as error:
        try:
            remote = remote_tags(server)
        except InputError:
            raise InputError(
                f"{error}\n  The push may or may not have arrived. Run the command again to find "
                f"out"
            ) from None
        if not oids.items() <= remote.items():
            raise refusal(error, server, remote, oids) from None


def refusal(
    error: InputError, where: str, present: Mapping[str, str], wanted: Mapping[str, str]
) -> InputError:
    """Return the error to raise: another person's tags came first, or what Git reports."""
    taken = [name for name in wanted if name in present]
    if not taken:
        return InputError(f"{error}\n  Nothing was published")
    return InputError(
        f"another promotion or rollback came first: {where} has {', '.join(taken)}. Nothing was "
        f"published.\n  To see it: git fetch --tags; digits registry history\n"
        f"  If yours is still wanted, run the command again"
    )
