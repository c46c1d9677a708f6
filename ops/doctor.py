"""Are the data and models whole? digits doctor [REV ...] [--repair]

Hashes every object that dvc.lock names (of the working tree, or of revisions), in DVC's cache and
in its remote, and names what is missing, truncated or corrupt. DVC looks only whether an object is
there: a push never verifies, and status is clean over a corrupt cache.

With --repair, each is mended from a side that is whole: the cache, the remote, or the files in the
working tree. What is put in place is read back, and only what is not whole is ever replaced. Where
no side is whole, dvc repro makes it anew; the corrupt copy is taken out of the cache for that. A
cache that has none of it is one that nothing was pulled into, and no fault.

Exit code 0: whole, or made whole. 1: something is not. 2: nothing can be said.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from digits.core import command_line, errors
from ops.tools import git, object_store
from ops.tools.object_store import Output, Store
from ops.tools.tree import WORKING_TREE, Tree

State = Literal["whole", "missing", "truncated", "corrupt"]
Seen = tuple[str, int] | None  # MD5 and bytes; None where an object is missing


@dataclass(frozen=True)
class Object:
    """A file, or the list of a folder's files."""

    output: Output  # its path is the file's own, inside of a folder
    size: int | None  # bytes, where somebody knows
    inside: tuple[str, ...] = ()  # of a folder: its files' oids

    @property
    def oid(self) -> str:
        return self.output.oid


Fault = tuple[str, State, Object]  # on which side, what, of which object


def main() -> None:
    args = parse_args()
    tell = command_line.say if args.json else print
    with object_store.stores() as (cache, remote):
        sides = {"cache": cache} | ({"remote": remote} if remote else {})
        if not remote:
            command_line.say("no DVC remote: the cache alone is looked at")
        objects, lost = find_objects(all_outputs(args.revs), sides)
        seen = {name: look(name, side, objects) for name, side in sides.items()}
        states = {name: examine(name, seen, objects) for name in sides}
        if set(states["cache"].values()) == {"missing"} and "remote" in states:
            command_line.say("nothing was pulled here: the remote alone is looked at")
            del states["cache"], sides["cache"]
        wrong = list(faults(objects, states))
        for fault in wrong:
            tell(describe(*fault))
        left = repair(wrong, sides, states, tell) if args.repair else wrong
    for output in lost:
        tell(f"which files {output.path} has, no side can tell: {way_to_make(output.stage)}")
    if not wrong and not lost:
        tell(f"whole: {len(objects)} objects in the {' and the '.join(sides)}")
    elif left and not args.repair:
        command_line.say("To mend it: digits doctor --repair")
    if args.json:
        found = {
            "whole": not (left or lost),
            "objects": len(objects),
            "sides": list(sides),
            "faults": [as_json(fault, mended=fault not in left) for fault in wrong],
            "lost": [output.path for output in lost],
        }
        print(json.dumps(found, indent=2))
    sys.exit(1 if left or lost else 0)


def all_outputs(revs: Sequence[str]) -> list[Output]:
    """What the working tree's dvc.lock names, or those of revisions; each once."""
    trees = [Tree(git.commit(rev)) for rev in revs] or [WORKING_TREE]
    found = {(o.path, o.oid): o for tree in trees for o in object_store.outputs(tree)}
    return list(found.values())


def find_objects(
    outputs: Iterable[Output], sides: Mapping[str, Store]
) -> tuple[list[Object], list[Output]]:
    """Every object of the outputs, files before the folders that hold them.

    Second, the folders of which no side has a whole list.
    """
    found: dict[str, Object] = {}
    lost = []
    for output in outputs:
        size = output.size
        inside: dict[str, str] = {}
        if output.oid.endswith(".dir"):
            lists = (object_store.content(side, output.oid) for side in sides.values())
            whole = next(filter(None, lists), None) or object_store.list_folder(output)
            if whole is None:
                lost.append(output)
            inside = dict(object_store.listing(whole)) if whole else {}
            size = len(whole) if whole else None
        for path, oid in inside.items():
            file = Output(f"{output.path}/{path}", output.stage, oid)
            found.setdefault(oid, Object(file, None))
        found.setdefault(output.oid, Object(output, size, tuple(inside.values())))
    return list(found.values()), lost


def look(name: str, side: Store, objects: Sequence[Object]) -> dict[str, Seen]:
    """Hash each object on one side, by oid."""
    command_line.say(f"hashing {len(objects)} objects in the {name}: {side.path}")
    return {it.oid: object_store.digest(side, it.oid) for it in objects}


def examine(
    name: str, seen: Mapping[str, Mapping[str, Seen]], objects: Sequence[Object]
) -> dict[str, State]:
    """The state of each object on one side, by oid; how long it should be, the others tell."""
    found: dict[str, State] = {}
    for it in objects:
        copies = [side[it.oid] for side in seen.values()]
        whole = [copy[1] for copy in copies if copy and copy[0] == it.oid.removesuffix(".dir")]
        size = it.size if it.size is not None else next(iter(whole), 1)
        match seen[name][it.oid]:
            case None:
                found[it.oid] = "missing"
            case (md5, _) if md5 == it.oid.removesuffix(".dir"):
                found[it.oid] = "whole"
            case (_, length):
                found[it.oid] = "truncated" if length < size else "corrupt"
    return found


def faults(objects: Sequence[Object], states: Mapping[str, Mapping[str, State]]) -> Iterator[Fault]:
    for name, found in states.items():
        for it in objects:
            if found[it.oid] != "whole":
                yield name, found[it.oid], it


def describe(side: str, state: State, it: Object) -> str:
    what = f"{it.output.path} (the list of its files)" if it.inside else it.output.path
    return f"{state:<9} in the {side:<6}  {what}  {it.oid}"


def as_json(fault: Fault, mended: bool) -> dict[str, Any]:
    side, state, it = fault
    return {
        "side": side,
        "state": state,
        "path": it.output.path,
        "oid": it.oid,
        "stage": it.output.stage,
        "mended": mended,
    }


def repair(
    wrong: Sequence[Fault],
    sides: Mapping[str, Store],
    states: Mapping[str, dict[str, State]],
    tell: Callable[[str], None],
) -> list[Fault]:
    """Mend what can be mended; what is left."""
    left = []
    for name, state, it in wrong:
        whole = [sides[other] for other in sides if states[other][it.oid] == "whole"]
        # DVC takes a folder's list as proof that its files are there, so it comes last.
        complete = all(states[name][oid] == "whole" for oid in it.inside)
        if complete and object_store.mend(sides[name], it.output, whole):
            states[name][it.oid] = "whole"
            tell(f"mended    in the {name:<6}  {it.output.path}")
            continue
        left.append((name, state, it))
        if not complete:
            tell(f"left      in the {name:<6}  {it.output.path}, whose files are not whole")
            continue
        if name == "cache" and state != "missing" and not whole:
            object_store.remove(sides[name], it.oid)
        tell(f"left      in the {name:<6}  {it.output.path}: {way_to_make(it.output.stage)}")
    return left


def way_to_make(stage: str) -> str:
    return f"dvc repro --single-item --force {stage}, then digits doctor --repair"


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.doctor", __doc__)
    parser.add_argument(
        "revs", nargs="*", metavar="REV", help="whose dvc.lock; none: the working tree's"
    )
    parser.add_argument("--repair", action="store_true", help="mend from a side that is whole")
    parser.add_argument("--json", action="store_true", help="what was found, for a machine")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
