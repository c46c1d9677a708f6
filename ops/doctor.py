"""Check that data and models are whole in cache and remote, or repair them: digits doctor [REV ...]

Hashes every object that dvc.lock names (in the working tree, or in revisions) in DVC's cache and in
its remote, and lists each object that is missing, truncated or corrupt. DVC checks only that an
object exists: `dvc push` never verifies it, and `dvc status` finds nothing wrong with a corrupt
cache.

--repair copies each object from a side that has it whole: the cache, the remote, or the files in
the working tree. Each copy is read back, and a whole object is never replaced. If no side has the
object, `dvc repro` makes it again; the corrupt object leaves the cache, so that it can. A cache
with none of the objects counts as one that nothing was pulled into, which is no fault.

Exit code 0: whole, or repaired. 1: something is not whole. 2: it can't be checked.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from digits.core import command_line, errors
from ops.tools import dvc_files, git, object_store
from ops.tools.dvc import NO_REMOTE
from ops.tools.object_store import Output, Store
from ops.tools.tree import WORKING_TREE, Tree

State = Literal["whole", "missing", "truncated", "corrupt"]
Copy = tuple[str, int] | None  # MD5 and bytes; None if the object is missing


@dataclass(frozen=True)
class Object:
    """A file, or the list of a folder's files, with its own size; then `inside` has their oids."""

    output: Output
    inside: tuple[str, ...] = ()

    @property
    def oid(self) -> str:
        return self.output.oid


@dataclass
class Fault:
    """An object that is not whole on one side: the cache or the remote."""

    side: str
    state: State
    object: Object
    mended: bool = False

    def __str__(self) -> str:
        note = " (the list of its files)" if self.object.inside else ""
        return (
            f"{self.state:<9} in the {self.side:<6}  {self.object.output.path}{note}  "
            f"{self.object.oid}"
        )


def main() -> None:
    args = parse_args()
    report = command_line.say if args.json else print
    with object_store.stores() as (cache, remote):
        sides = {"cache": cache} | ({"remote": remote} if remote else {})
        if not remote:
            command_line.say(f"only the cache is checked, since {NO_REMOTE}")
        objects, lost = find_objects(all_outputs(args.revs), sides)
        copies = {name: hash_objects(name, side, objects) for name, side in sides.items()}
        states = {name: examine(name, copies, objects) for name in sides}
        if set(states["cache"].values()) == {"missing"} and "remote" in states:
            command_line.say("nothing was pulled here: only the remote is checked")
            del states["cache"], sides["cache"]
        faults = find_faults(objects, states)
        for fault in faults:
            report(str(fault))
        if args.repair:
            for line in repair(faults, sides, states):
                report(line)
    for output in lost:
        report(f"no side has the list of the files in {output.path}: {way_to_make(output.stage)}")
    whole = not lost and all(fault.mended for fault in faults)
    if not faults and not lost:
        report(f"whole: {len(objects)} objects in the {' and the '.join(sides)}")
    elif faults and not args.repair:
        command_line.say(f"To repair: {shlex.join(['digits', 'doctor', '--repair', *args.revs])}")
    if args.json:
        document = {
            "whole": whole,
            "objects": len(objects),
            "sides": list(sides),
            "faults": [as_json(fault) for fault in faults],
            "lost": [output.path for output in lost],
        }
        print(json.dumps(document, indent=2))
    sys.exit(0 if whole else 1)


def all_outputs(revs: Sequence[str]) -> list[Output]:
    """The outputs in the working tree's dvc.lock, or in those of revisions; each once."""
    trees = [Tree(git.commit(rev)) for rev in revs] or [WORKING_TREE]
    outputs = {(o.path, o.oid): o for tree in trees for o in object_store.outputs(tree)}
    return list(outputs.values())


def find_objects(
    outputs: Iterable[Output], sides: Mapping[str, Store]
) -> tuple[list[Object], list[Output]]:
    """Return every object of the outputs, and the folders whose list no side has whole.

    The files of a folder come before its list.
    """
    objects: dict[str, Object] = {}
    lost = []
    for output in outputs:
        inside: Mapping[str, str] = {}
        if output.oid.endswith(".dir"):
            lists = (object_store.content(side, output.oid) for side in sides.values())
            whole = next(filter(None, lists), None) or object_store.list_folder(output)
            if whole is None:
                lost.append(output)
            else:
                inside = dvc_files.parse_folder(whole, f"the list of files in {output.path}")
            output = replace(output, size=None if whole is None else len(whole))
        for path, oid in inside.items():
            file = Output(f"{output.path}/{path}", output.stage, oid)
            objects.setdefault(oid, Object(file))
        objects.setdefault(output.oid, Object(output, tuple(inside.values())))
    return list(objects.values()), lost


def hash_objects(name: str, side: Store, objects: Sequence[Object]) -> dict[str, Copy]:
    """Hash each object on one side, by oid."""
    command_line.say(f"hashing {len(objects)} objects in the {name}: {side.path}")
    return {object.oid: object_store.digest(side, object.oid) for object in objects}


def examine(
    name: str, copies: Mapping[str, Mapping[str, Copy]], objects: Sequence[Object]
) -> dict[str, State]:
    """Return the state of each object on one side, by oid.

    If an object's size is unknown, that of a whole copy tells truncated from corrupt.
    """
    states: dict[str, State] = {}
    for object in objects:
        sizes = [
            copy[1]
            for side in copies.values()
            if (copy := side[object.oid]) and copy[0] == object.output.md5
        ]
        size = object.output.size
        if size is None:
            size = next(iter(sizes), 1)
        match copies[name][object.oid]:
            case None:
                states[object.oid] = "missing"
            case (md5, _) if md5 == object.output.md5:
                states[object.oid] = "whole"
            case (_, length):
                states[object.oid] = "truncated" if length < size else "corrupt"
    return states


def find_faults(
    objects: Sequence[Object], states: Mapping[str, Mapping[str, State]]
) -> list[Fault]:
    return [
        Fault(side, by_oid[object.oid], object)
        for side, by_oid in states.items()
        for object in objects
        if by_oid[object.oid] != "whole"
    ]


def as_json(fault: Fault) -> dict[str, Any]:
    output = fault.object.output
    return {
        "side": fault.side,
        "state": fault.state,
        "path": output.path,
        "oid": output.oid,
        "stage": output.stage,
        "mended": fault.mended,
    }


def repair(
    faults: Sequence[Fault], sides: Mapping[str, Store], states: Mapping[str, dict[str, State]]
) -> Iterator[str]:
    """Mend each fault that can be mended, in `states` too; yield a line on each."""
    for fault in faults:
        side, object = fault.side, fault.object
        where = f"in the {side:<6}  {object.output.path}"
        # DVC takes a folder's list as proof that its files are there, so the list comes last.
        if any(states[side][oid] != "whole" for oid in object.inside):
            yield f"left      {where}, whose files are not whole"
            continue
        whole = [sides[other] for other in sides if states[other][object.oid] == "whole"]
        if object_store.repair(sides[side], object.output, whole):
            states[side][object.oid] = "whole"
            fault.mended = True
            yield f"mended    {where}"
            continue
        if side == "cache" and fault.state != "missing" and not whole:
            object_store.remove(sides[side], object.oid)
        yield f"left      {where}: {way_to_make(object.output.stage)}"


def way_to_make(stage: str) -> str:
    return f"dvc repro --single-item --force {stage}, then digits doctor --repair"


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.doctor", __doc__)
    parser.add_argument(
        "revs", nargs="*", metavar="REV", help="check its dvc.lock instead of the working tree's"
    )
    parser.add_argument(
        "--repair", action="store_true", help="copy what is not whole from a whole side"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
