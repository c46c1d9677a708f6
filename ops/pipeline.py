"""The state of each stage, from dvc.yaml and dvc.lock alone: no data is needed, no lock taken."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Literal

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


def stages(
    pipeline: Document,
    lock: Document,
    params: Document,
    base_lock: Document,
    read: Callable[[str], bytes | None],
) -> list[Stage]:
    """The stages of dvc.yaml, each after those that it takes from.

    A folder counts as what the stage that makes it last made: its files are not read. So nothing is
    known of one that no stage makes.

    Parameters
    ----------
    pipeline, lock, params : dvc.yaml, dvc.lock and params.yaml
    base_lock : the base's dvc.lock; empty where there is none
    read : a file's content by its path; None where it is absent, or a folder
    """
    ran, before = lock.get("stages", {}), base_lock.get("stages", {})
    makers = {path: name for name, s in pipeline["stages"].items() for path in declared_outputs(s)}
    made: dict[str, str | None] = {
        out["path"]: out.get("md5") for s in ran.values() for out in s.get("outs", [])
    }

    def digest(path: str) -> str | None:
        """None where a file of another stage's folder is not here, so that nothing is known."""
        if path in made:
            return made[path]
        content = read(path)
        if content is None:
            return None if _maker(path, makers) else "absent"
        return hashlib.md5(content).hexdigest()

    def changes(stage: Document, entry: Document) -> Iterable[str]:
        if _words(stage["cmd"]) != _words(entry["cmd"]):
            yield "its command"
        then = {dep["path"]: dep.get("md5") for dep in entry.get("deps", [])}
        for path in _deps(stage, params):
            foreign = path not in made and str(then.get(path)).endswith(".dir")
            if path not in then or not (foreign or digest(path) in (None, then[path])):
                yield path
        values = entry.get("params", {}).get("params.yaml", {})
        for name in stage.get("params", []):
            if name not in values or values[name] != _dotted(params, name):
                yield f"params.yaml: {name}"

    found = {}
    for name, stage in pipeline["stages"].items():
        takes: dict[str, list[str]] = {}
        for path in _deps(stage, params):
            if maker := _maker(path, makers):
                takes.setdefault(maker, []).append(path)
        entry = ran.get(name)
        since = list(changes(stage, entry)) if entry else []
        found[name] = Stage(
            name,
            takes,
            state="never run" if not entry else "out of date" if since else "up to date",
            since=since,
            other=_other_outputs(entry or {}, before[name]) if name in before else None,
        )
    order = TopologicalSorter({name: stage.takes for name, stage in found.items()})
    return [found[name] for name in order.static_order()]


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
