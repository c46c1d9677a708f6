"""The state of each stage, from dvc.yaml and dvc.lock; needs neither the data nor DVC's lock."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Literal

from digits.core.errors import InputError
from digits.core.params import parse_yaml
from ops.tools import dvc_files
from ops.tools.dvc_files import Declared, Entry, Locked
from ops.tools.tree import Tree

State = Literal["up to date", "out of date", "never run"]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stage and its state.

    inputs : paths that other stages write, by the name of the stage
    changed : the dependencies and parameters that have changed since the stage ran
    differing : the outputs that differ from those of the base; None if the base lacks the stage
    """

    name: str
    inputs: dict[str, list[str]]
    state: State
    changed: list[str]
    differing: list[str] | None

    @property
    def comparison(self) -> str:
        """The state; for a stage that is up to date, the comparison with the base."""
        if self.state != "up to date" or self.differing is None:
            return self.state
        return "other outputs" if self.differing else "same as the base"


def read(tree: Tree, base: Tree | None = None) -> list[Stage]:
    """The stages of a tree's dvc.yaml, each after those that write its inputs.

    The digests of the stages' outputs come from dvc.lock; these files are not read. All other files
    and folders are hashed.

    Parameters
    ----------
    tree : a commit, or the working tree
    base : the tree to compare its outputs with
    """
    declared = _declared(tree)
    locked = _locked(tree)
    params = document(tree, "params.yaml")
    base_locked = _locked(base) if base else {}
    makers = {path: name for name, stage in declared.items() for path in stage.outputs}
    digests = {out.path: out.md5 for entry in locked.values() for out in entry.outs}

    def is_same(path: str, locked_digest: str | None) -> bool:
        if path not in digests:
            if _maker(path, makers):  # a file in a folder that a stage writes
                return True
            digests[path] = _digest(tree, path)
        return digests[path] == locked_digest

    def changes(stage: Declared, entry: Locked) -> Iterable[str]:
        if stage.cmd.split() != entry.cmd.split():
            yield "its command"
        locked_digests = {dep.path: dep.md5 for dep in entry.deps}
        for path in _deps(stage, params):
            if path not in locked_digests or not is_same(path, locked_digests[path]):
                yield path
        values = entry.params.get("params.yaml", {})
        for name in stage.params:
            if name not in values or not _is_equal(values[name], _dotted(params, name)):
                yield f"params.yaml: {name}"

    stages = {}
    for name, stage in declared.items():
        inputs: dict[str, list[str]] = {}
        for path in _deps(stage, params):
            if maker := _maker(path, makers):
                inputs.setdefault(maker, []).append(path)
        entry = locked.get(name)
        changed = list(changes(stage, entry)) if entry else []
        in_base = base_locked.get(name)
        stages[name] = Stage(
            name,
            inputs,
            state="never run" if not entry else "out of date" if changed else "up to date",
            changed=changed,
            differing=None if in_base is None else _differing_outputs(entry, in_base),
        )
    order = TopologicalSorter({name: stage.inputs for name, stage in stages.items()})
    return [stages[name] for name in order.static_order()]


def document(tree: Tree, path: str) -> dict[str, Any]:
    """A YAML file of a tree; empty if there is none."""
    content = tree.read(path)
    return {} if content is None else parse_yaml(content, path)


def _digest(tree: Tree, path: str) -> str | None:
    """None if the tree has no such file or folder, or it is outside of the repository."""
    try:
        return tree.digest(path)
    except InputError:
        return None


def _declared(tree: Tree) -> dict[str, Declared]:
    content = tree.read("dvc.yaml")
    return {} if content is None else dvc_files.parse_pipeline(content)


def _locked(tree: Tree) -> dict[str, Locked]:
    content = tree.read("dvc.lock")
    return {} if content is None else dvc_files.parse_lock(content)


def _deps(stage: Declared, params: Document) -> list[str]:
    """A stage's dependencies, with the values of parameters in place of ${data.folder}."""
    return [
        re.sub(r"\$\{([\w.]+)\}", lambda match: str(_dotted(params, match[1])), path)
        for path in stage.deps
    ]


def _maker(path: str, makers: Mapping[str, str]) -> str | None:
    """The stage that writes a path, or a folder that has it."""
    return next((m for out, m in makers.items() if f"{path}/".startswith(f"{out}/")), None)


def _is_equal(one: Any, two: Any) -> bool:
    """Whether values are the same, where one may have tuples and the other lists."""
    return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)


def _dotted(params: Document, name: str) -> Any:
    value: Any = params
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _differing_outputs(entry: Locked | None, base_entry: Locked) -> list[str]:
    outs: tuple[Entry, ...] = entry.outs if entry else ()
    here, base = ({out.path: out.md5 for out in side} for side in (outs, base_entry.outs))
    return sorted(path for path in here.keys() | base.keys() if here.get(path) != base.get(path))
