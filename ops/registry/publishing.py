"""Fetch the tags of the Git remote, and publish new ones: all of them, or none.

New tags are first made as objects that no ref points to. One atomic push creates their refs on the
server, and only then are they created here. So this repository never has a tag that the server
lacks, even if the command is killed. (`git tag -a` and a push can leave such tags behind.)
"""

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from digits.core.errors import InputError
from ops.tools import git, tags
from ops.tools.tags import ARTIFACT, Tag

PATTERN = f"refs/tags/{ARTIFACT}*"
SIGNATURE = "%(objectname)%0a%(contents:signature)"
SIGNED = ("tag.gpgSign", "tag.forceSignAnnotated")  # each has Git sign every annotated tag


def identity() -> str:
    """Return the person who makes the tags, with time and zone, in Git's format."""
    try:
        return git.run("var", "GIT_COMMITTER_IDENT")
    except InputError as error:
        raise InputError(
            f"{error}\n  Every tag records your name and address. To set them:\n"
            '  git config user.name "Your Name"; git config user.email you@example.com'
        ) from None


def fetch(server: str) -> None:
    """Fetch branches and tags; raises `InputError` if a tag here differs from the server's."""
    remote, local = remote_tags(server), local_tags()
    for tag in tags.read():
        if tag.name not in remote:
            raise InputError(
                f"the tag {tag.name} is here, but not on {server}, so others see a different "
                f"history.\n"
                f"  To publish it: git push {server} 'refs/tags/{tag.name}'\n"
                f"  To delete it:  git tag --delete '{tag.name}'"
            )
    counted = [name for name in remote if tags.NAME.fullmatch(name)]
    for name in counted:
        if local.get(name, remote[name]) != remote[name]:
            raise InputError(
                f"the tag {name} here differs from the one on {server}, which counts.\n"
                f"  To delete it:  git tag --delete '{name}'"
            )
    branches = f"+refs/heads/*:refs/remotes/{server}/*"
    git.run("fetch", "--quiet", "--no-tags", "--prune", server, branches)
    if missing := [f"refs/tags/{name}:refs/tags/{name}" for name in counted if name not in local]:
        git.run("fetch", "--quiet", "--no-tags", server, *missing)


def remote_tags(server: str) -> dict[str, str]:
    return parse_refs(git.lines("ls-remote", "--refs", server, PATTERN))


def local_tags() -> dict[str, str]:
    return parse_refs(git.lines("for-each-ref", "--format=%(objectname)\t%(refname)", PATTERN))


def parse_refs(lines: Sequence[str]) -> dict[str, str]:
    """Parse lines of an object and a ref into objects by tag name."""
    pairs = (line.split("\t") for line in lines)
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

    Raises `InputError` if another person's tag came first, or Git refuses.
    """
    counted = {tag.name for tag in tags.read()}
    check_free(names, local_tags().keys() - counted, server)
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
        raise refusal(error, None, local_tags(), oids) from None


def check_free(names: Iterable[str], others: Iterable[str], server: str | None) -> None:
    """Raise `InputError` if a tag that does not count has a new tag's name, or is in its way.

    Refs are like files: `a` and `a/b` cannot both exist.
    """
    others = sorted(others)
    for name in names:
        for other in others:
            if f"{other}/".startswith(f"{name}/") or f"{name}/".startswith(f"{other}/"):
                on_server = f"; git push {server} --delete 'refs/tags/{other}'" if server else ""
                raise InputError(
                    f"the tag {other} is in the way of the new tag {name}. It counts for nothing, "
                    f"since it is not an annotated tag of a commit in GTO's format. Nothing was "
                    f"published.\n  To delete it, here and on the server: "
                    f"git tag --delete '{other}'{on_server}"
                )


def make_object(name: str, commit: str, text: str, when: int) -> str:
    """Write the object of an annotated tag, as `git tag -a` does, without a ref to it."""
    who, _, zone = identity().rsplit(" ", 2)
    if any(git.setting(key, "bool") == "true" for key in SIGNED):
        return make_signed_object(name, commit, text, f"{when} {zone}")
    head = f"object {commit}\ntype commit\ntag {name}\ntagger {who} {when} {zone}\n\n"
    return git.run("mktag", stdin=head + text)


def make_signed_object(name: str, commit: str, text: str, when: str) -> str:
    """As `make_object`, signed by Git, which makes the ref in a repository that is then removed."""
    settings = [pair.partition("\n") for pair in git.names("config", "--list", "-z")]
    chosen = [(key, value) for key, _, value in settings if key.startswith(("gpg.", "user."))]
    with tempfile.TemporaryDirectory(prefix="tag-") as folder:
        environment = git.clean_environment() | {
            "GIT_DIR": folder,
            "GIT_OBJECT_DIRECTORY": str(
                Path(git.run("rev-parse", "--git-path", "objects")).resolve()
            ),
            "GIT_COMMITTER_DATE": when,
            "GIT_CONFIG_COUNT": str(len(chosen)),
        }
        for i, (key, value) in enumerate(chosen):
            environment |= {f"GIT_CONFIG_KEY_{i}": key, f"GIT_CONFIG_VALUE_{i}": value}
        words = ("tag", "--sign", "--cleanup=verbatim", "--file=-", name, commit)
        refused = f"Git could not sign the tag {name}, as {' or '.join(SIGNED)} asks for it"
        try:
            git.run("init", "--quiet", "--bare", environment=environment)
            git.run(*words, stdin=text, environment=environment)
        except InputError as error:
            raise InputError(f"{refused}. Nothing was published.\n  {error}") from None
        made = git.run("for-each-ref", f"--format={SIGNATURE}", environment=environment)
        oid, _, signature = made.partition("\n")
        if not signature:  # Git 2.39 does not fail if an SSH key is missing
            raise InputError(f"{refused}. Nothing was published. To see why: git tag --sign test")
        return oid


def message(evidence: Mapping[str, str]) -> str:
    """Render a tag's message: a subject, then a line for each value that is not empty."""
    subject = f"{ARTIFACT} {evidence['Version']}: {evidence['Action']} to {evidence['Stage']}"
    lines = [f"{key}: {' '.join(value.split())}" for key, value in evidence.items() if value]
    return "\n".join([subject, "", *lines, ""])


def push(server: str, oids: Mapping[str, str]) -> None:
    """Push tags atomically; raises `InputError` if the server lacks them, or may lack them."""
    refs = [f"{oid}:refs/tags/{name}" for name, oid in oids.items()]
    alone = ("--no-follow-tags", "--recurse-submodules=no")  # whatever the user's settings are
    try:
        git.run("push", "--quiet", "--atomic", *alone, server, *refs)
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
    error: InputError, server: str | None, present: Mapping[str, str], wanted: Mapping[str, str]
) -> InputError:
    """Return the error to raise: another person's tags came first, or what Git reports."""
    taken = [name for name in wanted if name in present]
    if taken:
        return InputError(
            f"another promotion or rollback came first: {server or 'this repository'} has "
            f"{', '.join(taken)}. Nothing was published.\n"
            f"  To see it: git fetch --tags; digits registry history\n"
            f"  If yours is still wanted, run the command again"
        )
    check_free(wanted, present, server)
    return InputError(f"{error}\n  Nothing was published")
