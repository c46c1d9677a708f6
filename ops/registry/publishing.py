"""Tags between this repository and its Git remote: fetched first, published all or none.

They are made as objects that nothing points to. One atomic push lets the server have them, and only
then this repository has them too: so there is no tag here that the server lacks, whenever one is
killed. (git tag -a followed by a push would leave such tags behind.)
"""

import time
from collections.abc import Mapping, Sequence

from digits.core.errors import InputError
from ops.tools import git, tags
from ops.tools.tags import ARTIFACT, Tag

PATTERN = f"refs/tags/{ARTIFACT}*"


def identity() -> str:
    """Who makes the tags, with the time and its zone, as Git writes it."""
    try:
        return git.run("var", "GIT_COMMITTER_IDENT")
    except InputError as error:
        raise InputError(
            "Git does not know who you are, and a promotion is signed with a name:\n"
            '  git config user.name "Your Name"; git config user.email you@example.com'
        ) from error


def find_server() -> str | None:
    names = git.run("remote").splitlines()
    if not names or "origin" in names:
        return "origin" if names else None
    if len(names) > 1:
        raise InputError(
            f"which remote has the tags: {', '.join(names)}? The one named origin would be taken: "
            f"git remote rename {names[0]} origin"
        )
    return names[0]


def fetch(server: str) -> None:
    """Bring branches and tags; raises `InputError` where a tag here is not the server's."""
    there, here = tags_on(server), tags_here()
    for name in here:
        if name not in there:
            raise InputError(
                f"the tag {name} is here, but not on {server}, so others see another history.\n"
                f"  Does it hold?  git push {server} 'refs/tags/{name}'\n"
                f"  If not:        git tag --delete '{name}'"
            )
        if there[name] != here[name]:
            raise InputError(
                f"the tag {name} is another one here than on {server}, whose tags count.\n"
                f"  Drop it:       git tag --delete '{name}'"
            )
    branches = f"+refs/heads/*:refs/remotes/{server}/*"
    git.run("fetch", "--quiet", "--no-tags", "--prune", server, branches)
    git.run("fetch", "--quiet", "--no-tags", server, f"{PATTERN}:{PATTERN}")


def tags_on(server: str) -> dict[str, str]:
    return parse_refs(git.run("ls-remote", "--refs", server, PATTERN))


def tags_here() -> dict[str, str]:
    return parse_refs(git.run("for-each-ref", "--format=%(objectname) %(refname)", PATTERN))


def parse_refs(text: str) -> dict[str, str]:
    """Objects by the names of tags."""
    pairs = (line.split() for line in text.splitlines())
    return {name.removeprefix("refs/tags/"): found for found, name in pairs}


def publish(
    server: str | None,
    commit: str,
    names: Sequence[str],
    said: Mapping[str, str],
    known: Sequence[Tag],
) -> None:
    """Make annotated tags of a commit, here and on the server: all of them, or none."""
    when = tags.next_time(known, int(time.time()))
    made = {name: make(name, commit, message(said), when) for name in names}
    if server:
        push(server, made)
    verb = "update" if server else "create"
    lines = [f"{verb} refs/tags/{name} {found}\n" for name, found in made.items()]
    try:
        git.run("update-ref", "--stdin", stdin="".join(lines))
    except InputError as error:
        if server:
            raise InputError(f"{error}\n  {server} has the tags: git fetch --tags") from None
        raise refusal(error, "this repository", tags_here(), made) from None


def make(name: str, commit: str, text: str, when: int) -> str:
    """The object of an annotated tag, as git tag -a writes it; nothing points to it yet."""
    who, _, zone = identity().rsplit(" ", 2)
    head = f"object {commit}\ntype commit\ntag {name}\ntagger {who} {when} {zone}\n\n"
    return git.run("mktag", stdin=head + text)


def message(said: Mapping[str, str]) -> str:
    """A sentence, and a line for each thing known."""
    subject = f"{ARTIFACT} {said['Version']}: {said['Action']} to {said['Stage']}"
    lines = [f"{key}: {' '.join(value.split())}" for key, value in said.items() if value]
    return "\n".join([subject, "", *lines, ""])


def push(server: str, made: Mapping[str, str]) -> None:
    """One atomic push; raises `InputError` if it was refused, or nobody knows what became of it."""
    refs = [f"{found}:refs/tags/{name}" for name, found in made.items()]
    try:
        git.run("push", "--quiet", "--atomic", server, *refs)
    except InputError as error:
        try:
            there = tags_on(server)
        except InputError:
            raise InputError(
                f"{error}\n  Whether it arrived, nobody knows; the same command again tells"
            ) from None
        if not made.items() <= there.items():
            raise refusal(error, server, there, made) from None


def refusal(
    error: InputError, where: str, there: Mapping[str, str], made: Mapping[str, str]
) -> InputError:
    """Why tags were not taken: somebody else's are there, or what Git says."""
    taken = [name for name in made if name in there]
    if not taken:
        return InputError(f"{error}\n  Nothing was published")
    return InputError(
        f"another one came first: {where} has {', '.join(taken)}. Nothing of this one was "
        f"published.\n  What it was: git fetch --tags; digits registry history\n"
        f"  Then, if this is still wanted, the same command again"
    )
