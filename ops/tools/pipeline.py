"""The state of each stage, by dvc.yaml and dvc.lock: it needs no data, and takes no lock."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Literal

from digits.core.errors import InputError
from digits.core.params import parse_yaml
from ops.tools.tree import Tree

State = Literal["up to date", "out of date", "never run"]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stage, what it takes from which other one, and how it stands.

    `since` names what changed since it ran; `other` its outputs that differ from the base's, None
    where no base has the stage.
    """

    name: str
    takes: dict[str, list[str]]  # paths, by the stage that makes them
    state: State
    since: list[str]
    other: list[str] | None

    @property
    def standing(self) -> str:
        """Its state, and where that is fine, how it compares with the base."""
        if self.state != "up to date" or self.other is None:
            return self.state
        return "other outputs" if self.other else "same as the base"


def read(tree: Tree, base: Tree | None = None) -> list[Stage]:
    """The stages of a tree's dvc.yaml, each after those that it takes from.

    The outputs of stages count as their last run left them, by dvc.lock: those files are not read.
    All other files and folders are hashed.

    Parameters
    ----------
    tree : a commit, or the working tree
    base : what its outputs are compared with
    """
    declared = document(tree, "dvc.yaml").get("stages", {})
    locked = document(tree, "dvc.lock").get("stages", {})
    params = document(tree, "params.yaml")
    base_locked = document(base, "dvc.lock").get("stages", {}) if base else {}
    makers = {path: name for name, stage in declared.items() for path in declared_outputs(stage)}
    digests: dict[str, str | None] = {
        out["path"]: out.get("md5") for entry in locked.values() for out in entry.get("outs", [])
    }

    def is_same(path: str, then: str | None) -> bool:
        if path not in digests:
            if _maker(path, makers):  # a file in a folder that a stage makes
                return True
            digests[path] = _digest(tree, path)
        return digests[path] == then

    def changes(stage: Document, entry: Document) -> Iterable[str]:
        if _words(stage["cmd"]) != _words(entry["cmd"]):
            yield "its command"
        then = {dep["path"]: dep.get("md5") for dep in entry.get("deps", [])}
        for path in _deps(stage, params):
            if path not in then or not is_same(path, then[path]):
                yield path
        values = entry.get("params", {}).get("params.yaml", {})
        for name in stage.get("params", []):
            if name not in values or values[name] != _dotted(params, name):
                yield f"params.yaml: {name}"

    found = {}
    for name, stage in declared.items():
        takes: dict[str, list[str]] = {}
        for path in _deps(stage, params):
            if maker := _maker(path, makers):
                takes.setdefault(maker, []).append(path)
        entry = locked.get(name)
        since = list(changes(stage, entry)) if entry else []
        found[name] = Stage(
            name,
            takes,
            state="never run" if not entry else "out of date" if since else "up to date",
            since=since,
            other=_other_outputs(entry or {}, base_locked[name]) if name in base_locked else None,
        )
    order = TopologicalSorter({name: stage.takes for name, stage in found.items()})
    return [found[name] for name in order.static_order()]


def document(tree: Tree, path: str) -> dict[str, Any]:
    """A YAML file of a tree; empty where there is none."""
    content = tree.read(path)
    return {} if content is None else parse_yaml(content, path)


def _digest(tree: Tree, path: str) -> str | None:
    """None if the tree has no such file or folder, as where it is outside of the repository."""
    try:
        return tree.digest(path)
    except InputError:
        return None


def declared_outputs(stage: Document) -> dict[str, Document]:
    """The outputs of a stage of dvc.yaml, plots and metrics included: their options by path."""
    found: dict[str, Document] = {}
    for key in ("outs", "metrics", "plots"):
        for item in stage.get(key, []):
            found |= item if isinstance(item, dict) else {item: {}}
    return found


def _words(command: str | list[str]) -> list[str]:
    return (command if isinstance(command, str) else " ".join(command)).split()


def _deps(stage: Document, params: Document) -> list[str]:
    """A stage's dependencies, of which DVC takes some from the parameters: ${data.folder}."""
    return [
        re.sub(r"\$\{([\w.]+)\}", lambda found: str(_dotted(params, found[1])), path)
        for path in stage.get("deps", [])
    ]


def _maker(path: str, makers: Mapping[str, str]) -> str | None:
    """The stage that makes a path, or a folder that it lies in."""
    return next((m for out, m in makers.items() if f"{path}/".startswith(f"{out}/")), None)


def _dotted(params: Document, name: str) -> Any:
    value: Any = params
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _other_outputs(here: Document, there: Document) -> list[str]:
    now, then = ({o["path"]: o.get("md5") for o in s.get("outs", [])} for s in (here, there))
    return sorted(path for path in now.keys() | then.keys() if now.get(path) != then.get(path))
