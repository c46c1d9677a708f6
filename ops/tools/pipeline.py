"""The state of each stage and why, from dvc.yaml, dvc.lock and the files; needs no lock of DVC.

`read` asks a commit or the working tree: what would `dvc repro` run? `read_here` also looks at the
outputs on disk, at the stages that run now, and at how the last run of each stage ended.
"""

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from digits.core.errors import InputError, first
from digits.core.params import changes, parse_yaml
from ops.tools import disk, dvc, dvc_files, git, processes, stage_runs
from ops.tools.dvc_files import Declared, Locked, Options
from ops.tools.revisions import LOCK, PARAMS
from ops.tools.stage_runs import StageRun
from ops.tools.tree import WORKING_TREE, Tree, kept

State = Literal["up to date", "out of date", "never run", "missing", "running", "failed"]
Kind = Literal["command", "file", "parameter", "stage", "output"]
Document = Mapping[str, Any]
OUTSIDE = "is outside of this folder, so no commit has it: copy it to data/own, and dvc add it"
RWLOCK = Path(".dvc/tmp/rwlock")  # the paths that DVC's processes read and write now


@dataclass(frozen=True)
class Reason:
    """A reason why a stage is not as its last run left it.

    kind : what differs: its command, a dependency, a parameter, a stage that runs before it, or one
        of its outputs on disk
    name : the path, the parameter, or the stage
    before, now : the commands, the digests, or the values of the parameter; None if there is none
    detail : of a folder, which files changed; of what is missing, how to get it back
    """

    kind: Kind
    name: str
    before: Any = None
    now: Any = None
    detail: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "command":
                return "its command changed"
            case "parameter":
                return f"{self.name}: {shown(self.before)} -> {shown(self.now)}"
            case "stage":
                return f"{self.name} has to run first"
            case "file" | "output":
                return f"{self.name} {self.difference}"

    @property
    def difference(self) -> str:
        """How a file differs, as the end of a sentence that begins with its name."""
        if self.kind == "output":
            return "was changed after the run" if self.now else f"is missing; {self.detail}"
        if self.before is None:
            return "is a new dependency"
        if self.now is None:
            return self.detail or "is missing"
        return f"changed: {self.detail}" if self.detail else "changed"


@dataclass(frozen=True)
class Stage:
    """A stage and its state.

    declared, locked : its entries in dvc.yaml and dvc.lock; None if it never ran
    deps : its dependencies
    params : the sections of params.yaml that it reads, as they are now
    inputs : paths that other stages write, by the name of the stage
    reasons : why it is not up to date
    differing : the outputs that differ from those of the base; None if the base lacks the stage
    run : its last run in this folder, if that is known; only from `read_here`
    """

    name: str
    declared: Declared
    locked: Locked | None
    deps: list[str]
    params: dict[str, Any]
    inputs: dict[str, list[str]]
    state: State
    reasons: list[Reason] = field(default_factory=list)
    differing: list[str] | None = None
    run: StageRun | None = None

    @property
    def comparison(self) -> str:
        """The state; for a stage that is up to date, the comparison with the base."""
        if self.state != "up to date" or self.differing is None:
            return self.state
        return "other outputs" if self.differing else "same as the base"

    @property
    def why(self) -> str:
        """The reasons in one line; empty if there is nothing to say."""
        ending = self.run.ending if self.run and self.state == "failed" else ""
        return "; ".join(filter(None, [ending, *map(str, self.reasons)]))

    @property
    def sentence(self) -> str:
        """The state, with the reasons in brackets."""
        return f"the stage {self.name} is {self.state}" + f" ({self.why})" * bool(self.why)


def read(tree: Tree, base: Tree | None = None) -> list[Stage]:
    """The stages of a tree's dvc.yaml, each after those that write its inputs.

    The digests of the stages' outputs come from dvc.lock; these files are not read. All other files
    and folders are hashed. A stage is also out of date if one that writes its inputs is.

    Parameters
    ----------
    tree : a commit, or the working tree
    base : the tree to compare its outputs with
    """
    with kept(tree) as files:
        return _read(files, base)


def _read(tree: Tree, base: Tree | None) -> list[Stage]:
    declared = tree.declared()
    locked = tree.locked()
    params = parameters(tree)
    base_locked = base.locked() if base else {}
    makers = {path: name for name, stage in declared.items() for path in stage.outputs}
    digests = {out.path: out.md5 for entry in locked.values() for out in entry.outs}
    details: dict[str, str] = {}

    def digest(path: str) -> str | None:
        if path not in digests:
            digests[path] = _digest(tree, path)
        return digests[path]

    def reasons(stage: Declared, entry: Locked) -> Iterable[Reason]:
        if stage.cmd.split() != entry.cmd.split():
            yield Reason("command", "its command", entry.cmd, stage.cmd)
        locked_digests = {dep.path: dep.md5 for dep in entry.deps}
        for path in _deps(stage, params):
            before = locked_digests.get(path)
            if path in locked_digests and path not in digests and _maker(path, makers):
                continue  # a file in a folder that a stage writes
            if path not in locked_digests or digest(path) != before:
                if before and path not in details:
                    details[path] = _details(tree, path, before)
                yield Reason("file", path, before, digest(path), details.get(path, ""))
        values = entry.params.get(PARAMS, {})
        for name in stage.params:
            before, now = _plain(values.get(name)), _plain(_dotted(params, name))
            if name not in values or before != now:  # 10 and 10.0 are equal, as to DVC
                differing = changes({name: before}, {name: now}) or {name: (before, now)}
                for key, (old, new) in differing.items():
                    yield Reason("parameter", key, old, new)

    inputs: dict[str, dict[str, list[str]]] = {name: {} for name in declared}
    for name, stage in declared.items():
        for path in _deps(stage, params):
            if maker := _maker(path, makers):
                inputs[name].setdefault(maker, []).append(path)
    stages: dict[str, Stage] = {}
    for name in _order(inputs):
        entry, in_base = locked.get(name), base_locked.get(name)
        why = list(reasons(declared[name], entry)) if entry else []
        why += [Reason("stage", m) for m in inputs[name] if stages[m].state != "up to date"]
        stages[name] = Stage(
            name,
            declared[name],
            entry,
            _deps(declared[name], params),
            {param: _dotted(params, param) for param in declared[name].params},
            inputs[name],
            state="never run" if not entry else "out of date" if why else "up to date",
            reasons=why,
            differing=None if in_base is None else _differing_outputs(entry, in_base),
        )
    return list(stages.values())


def find_stale(stages: Iterable[Stage]) -> Stage | None:
    """The first stage that is not up to date; a missing output does not count."""
    return next((s for s in stages if s.state not in ("up to date", "missing")), None)


def read_here() -> list[Stage]:
    """The stages of the working tree, with their outputs on disk, what runs now, and what failed.

    In this order: a stage is running; its last run failed, and nothing brought its outputs back; it
    is out of date by dvc.lock, or its outputs were edited; it is up to date, but an output is
    missing.
    """
    stages = [replace(stage, run=stage_runs.read(stage.name)) for stage in read(WORKING_TREE)]
    written = _written_now()
    return [_in_folder(stage, written) for stage in stages]


def _in_folder(stage: Stage, written: set[str]) -> Stage:
    if written & stage.declared.outputs.keys() or (stage.run and stage.run.is_running):
        return replace(stage, state="running")
    outputs = list(_outputs_on_disk(stage))
    if stage.run and stage.run.has_failed and (outputs or stage.state == "never run"):
        return replace(stage, state="failed")  # DVC removes the outputs before each run
    state = stage.state
    if state == "up to date" and outputs:
        is_edited = any(reason.now for reason in outputs)
        state = "out of date" if is_edited else "missing"
    return replace(stage, state=state, reasons=[*stage.reasons, *outputs])


def _outputs_on_disk(stage: Stage) -> Iterable[Reason]:
    """The outputs that are not as dvc.lock says."""
    for out in stage.locked.outs if stage.locked else ():
        is_elsewhere = Path(out.path).is_absolute() or ".." in Path(out.path).parts
        if out.md5 is None or is_elsewhere or (now := disk.digest(out.path)) == out.md5:
            continue
        is_cached = stage.declared.outputs.get(out.path, Options()).cache
        detail = "" if now else _way_back(out.path, out.md5, is_cached)
        yield Reason("output", out.path, out.md5, now, detail)


def _way_back(path: str, md5: str, is_cached: bool) -> str:
    """How a person gets back an output that is not on disk."""
    if is_cached:
        if dvc.is_cached(md5):
            return "the cache has it: dvc checkout"
        way = "dvc pull, or " if dvc.command_for_outputs() == "dvc pull" else ""
        return f"the cache lacks it: {way}dvc repro makes it again"
    if git.find_commit("HEAD") and _digest(Tree("HEAD"), path) == md5:
        return f"Git has it: git checkout {shlex.quote(path)}"
    return "dvc repro makes it again"


def _written_now() -> set[str]:
    """The outputs that a living process of DVC writes."""
    try:
        written = json.loads(RWLOCK.read_bytes())["write"]
        locked_at = RWLOCK.stat().st_mtime
        return {
            os.path.relpath(path)
            for path, writer in written.items()
            if processes.was_running(writer["pid"], locked_at)
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()  # DVC is writing it, or it is not DVC's


def shown(value: Any) -> str:
    """A parameter's value as a person reads it."""
    if value is None or value in ([], ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    values = value if isinstance(value, list | tuple) else [value]
    return ", ".join(map(str, values))


def edges(stages: Sequence[Stage]) -> list[tuple[int, int, str]]:
    """Pairs of stages, by position: the second reads the path or folder that the first writes."""
    position = {stage.name: i for i, stage in enumerate(stages)}
    return [
        (
            position[maker],
            position[stage.name],
            paths[0] if len(paths) == 1 else str(Path(paths[0]).parent),
        )
        for stage in stages
        for maker, paths in stage.inputs.items()
    ]


def parameters(tree: Tree) -> dict[str, Any]:
    """The content of a tree's params.yaml; empty if there is none."""
    content = tree.read(PARAMS)
    return {} if content is None else parse_yaml(content, PARAMS)


def _digest(tree: Tree, path: str) -> str | None:
    """As `Tree.digest`; None too if the path is outside of the repository."""
    try:
        return tree.digest(path)
    except InputError:
        return None


def _order(inputs: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """The stages, each after those that write its inputs."""
    try:
        return tuple(TopologicalSorter(inputs).static_order())
    except CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        raise InputError(f"dvc.yaml: each of {names} needs an output of another one") from None


def _deps(stage: Declared, params: Document) -> list[str]:
    """A stage's dependencies, with the values of parameters in place of ${data.folder}."""
    return [
        re.sub(r"\$\{([\w.]+)\}", lambda match: str(_dotted(params, match[1])), path)
        for path in stage.deps
    ]


def _maker(path: str, makers: Mapping[str, str]) -> str | None:
    """The stage that writes a path, or a folder that has it."""
    return next((m for out, m in makers.items() if f"{path}/".startswith(f"{out}/")), None)


def _plain(value: Any) -> Any:
    """A value with lists in place of tuples, and text in place of dates."""
    return json.loads(json.dumps(value, default=str))


def _details(tree: Tree, path: str, before: str) -> str:
    """What is known of a dependency that had another digest before."""
    if _digest(tree, path) is None:
        return "" if git.is_inside(path) else OUTSIDE
    pointers = tree.read_all([name for name in tree.paths(path) if name.endswith(".dvc")])
    digests = ((name, dvc_files.parse_pointer(text, name)) for name, text in pointers.items())
    for name, digest in digests:
        if digest.endswith(".dir") and dvc.cached(digest) is None:
            return f"the cache lacks {name.removesuffix('.dvc')}, so first dvc pull"
    return _changed_files(tree, path, before)


def _changed_files(tree: Tree, path: str, before: str) -> str:
    """The files of a folder that changed since it had a digest; empty if Git does not know it.

    Git has the folder as it was if somebody committed it together with dvc.lock.
    """
    if not before.endswith(".dir"):
        return ""
    until = tree.commit or git.find_commit("HEAD")
    commit = until and git.run("log", "-1", "--format=%H", until, "--", LOCK)
    if not commit or _digest(Tree(commit), path) != before:
        return ""
    one, two = Tree(commit).files(path), tree.files(path)
    names = sorted(n for n in one.keys() | two.keys() if one.get(n) != two.get(n))
    return first([name.removeprefix(f"{path}/") for name in names])


def _dotted(params: Document, name: str) -> Any:
    value: Any = params
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _differing_outputs(entry: Locked | None, base_entry: Locked) -> list[str]:
    outs = entry.outs if entry else ()
    here, base = ({out.path: out.md5 for out in side} for side in (outs, base_entry.outs))
    return sorted(path for path in here.keys() | base.keys() if here.get(path) != base.get(path))
