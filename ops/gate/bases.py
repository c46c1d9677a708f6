"""The bases that a candidate is compared with, and the rules that decide."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from digits.core.errors import InputError
from digits.core.params import parse_yaml, read_yaml
from digits.gate import rules as gate_rules
from digits.gate.results import Run
from digits.gate.rules import Rules
from ops.tools import git, tags
from ops.tools.revisions import PARAMS, runs_in_folder, runs_in_tree
from ops.tools.rules import rules_in, rules_in_commit
from ops.tools.tree import Tree


@dataclass(frozen=True)
class Base:
    """The runs that a candidate is compared with, and the code that made them, None if unknown."""

    name: str
    code: Tree | None
    runs: list[Run]

    @classmethod
    def read(cls, name: str, code: Tree) -> Self:
        """The runs in a commit."""
        return cls(name, code, runs_in_tree(code, name))

    @property
    def commit(self) -> str | None:
        """None for a folder."""
        return self.code.commit if self.code else None


def find_bases(base: str) -> list[Base]:
    """Return the base that a user names, and what is in production."""
    named = find_base(base)
    if named.commit is None:
        return [named]
    git.require_history()
    held = tags.holder(tags.read(), "production")
    if held is None or held.commit == named.commit:
        return [named]
    return [named, Base.read(held.name, Tree(held.commit))]


def find_base(base: str) -> Base:
    """Return the base that a user names: a folder or a revision."""
    commit = find_base_commit(base)
    if commit is None:
        return Base(base, None, runs_in_folder(Path(base)))
    return Base.read(base, Tree(commit))


def find_base_commit(base: str) -> str | None:
    """Return the commit of a base that a user names; None if it is a folder."""
    commit = git.find_commit(base)
    is_folder = os.path.isdir(base)  # Path("") would be the current folder
    if commit and is_folder:
        raise InputError(f"{base!r} is both a folder and a revision. For the folder: ./{base}")
    if not (commit or is_folder):
        git.require_history()  # a shallow clone lacks most
        raise InputError(f"{base!r} is neither a folder nor a revision of this repository")
    return commit


def find_rules(path: Path | None, bases: Sequence[Base]) -> tuple[Rules, str]:
    """Return the rules of `path`, else of the first base, else of this folder, and their origin."""
    if path or not bases:
        origin = str(path or PARAMS)
        return rules_in(read_yaml(origin), origin), origin
    base = bases[0]
    if base.commit is None:
        raise InputError(f"{base.name}, a folder, has no rules. Name some: --rules {PARAMS}")
    return rules_in_commit(base.commit, base.name)


def changed_rules(rules: Rules, tree: Tree) -> Mapping[str, tuple[object, object]]:
    """Return the rules that the candidate changes; they apply only after the merge."""
    content = tree.read(PARAMS)
    if content is None:
        return {}
    return gate_rules.changed_rules(rules, rules_in(parse_yaml(content, PARAMS), PARAMS))
