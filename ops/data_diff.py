"""Show which images of the data differ between two revisions: digits data_diff REV [REV]

Compares the prepared data of two revisions or experiments, or of one with the working tree. An
image counts as added, removed, relabelled, or moved to another split, by the digest of its pixels.
The images come from data/prepared, from DVC's cache or from its remote; if both revisions have the
same data, none is read.

Exit code 0: done, whether images differ or not. 2: a revision or its images are missing.
"""

import argparse

from digits.core import command_line, errors
from digits.core.command_line import say
from digits.data import difference
from digits.data.difference import Difference, Prepared
from ops.tools import data_revisions, pipeline
from ops.tools.data_revisions import DataRevision
from ops.tools.dvc import DATA
from ops.tools.tables import aligned
from ops.tools.tree import WORKING_TREE


def main() -> None:
    args = parse_args()
    before = data_revisions.find(args.before)
    if args.after:
        after = data_revisions.find(args.after)
    else:
        note_if_stale()
        after = data_revisions.here()
    print(f"{DATA} of {before.name}, {short(before)} -> {after.name}, {short(after)}")
    if before.digest == after.digest:
        print("the same data: the digests in dvc.lock are equal")
        return
    old, new = data_revisions.load(before), data_revisions.load(after)
    differing = difference.compare(difference.images(old), difference.images(new))
    print(differing.sentence)
    print(f"\n{counts(old, new)}")
    if differing:
        print(f"\n{changes(differing)}")


def note_if_stale() -> None:
    """Say so if the images, the parameters or the code have changed since the data were made."""
    for stage in pipeline.read(WORKING_TREE):
        if DATA in stage.declared.outputs and stage.state == "out of date":
            say(f"{stage.sentence}, so {DATA} is of an earlier run. First: dvc repro {stage.name}")


def short(revision: DataRevision) -> str:
    return revision.digest[:9]


def counts(before: Prepared, after: Prepared) -> str:
    """The images by class and split, and the change of their number."""
    old, new = before.counts, after.counts
    splits = list(dict.fromkeys([*before.splits, *after.splits]))
    rows = [["class", *splits]]
    for label in dict.fromkeys([*before.classes, *after.classes]):
        one, two = old.get(label, {}), new.get(label, {})
        rows.append([label, *(count(one.get(s, 0), two.get(s, 0)) for s in splits)])
    return aligned(rows, right=range(1, len(splits) + 1))


def count(before: int, after: int) -> str:
    return f"{after:,}" if before == after else f"{after:,} ({after - before:+,})"


def changes(differing: Difference) -> str:
    rows = [(kind, split, label, f"{n:,}") for kind, split, label, n in differing.groups]
    return aligned([("change", "split", "class", "images"), *rows], right=[3])


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.data_diff", __doc__)
    parser.add_argument("before", metavar="REV", help="a revision or an experiment: the older data")
    parser.add_argument(
        "after", metavar="REV", nargs="?", help="the newer data (default: the working tree's)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
