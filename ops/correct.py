"""Add images that a person has labelled to the training data: digits correct LABELS.csv

LABELS.csv has the columns path and label. Other columns are ignored, and so is a row without a
label. Each path is one that digits predict wrote, so the file may be its CSV output with a column
added for the label, filled in where `review` is true. Numbers are compared as numbers: 7.0, which
pandas writes, is the class 7.

The images go to data/corrections/, under DVC, in the form that the model takes; their labels go to
data/corrections.csv, for Git. An image that is added twice is stored once. If one image has two
different labels, the whole file is refused. The next `dvc repro` also trains on these images: see
stages/prepare.py.

Exit code 0: all images are added. 2: something is wrong, and nothing has changed.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from digits.core import command_line, errors, files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.data import corrections, dataset
from digits.model.classifier import Classifier
from ops.tools import inputs, lock
from ops.tools.dvc import DATA, DVC
from ops.tools.models import bring_model

CORRECTIONS = Path("data/corrections.csv")
IMAGES = CORRECTIONS.with_suffix("")
LOCK = Path(".dvc/tmp/correct.lock")


def main() -> None:
    args = parse_args()
    corrections.check_images_exist(CORRECTIONS)
    with tempfile.TemporaryDirectory(prefix="correct-") as folder:
        model = Classifier.load(bring_model(args.model, Path(folder))[0])
        check_form(model)
        labelled = list(read(args.labels, model))
    with lock.held(LOCK, "another digits correct runs here. When it has ended, run this again"):
        new, total = add(labelled)
    print(f"{CORRECTIONS}: {new} new, {len(labelled) - new} known already; {total} in all")
    if new:
        print(f"Next: git add {CORRECTIONS} {IMAGES}.dvc, then dvc repro")


def add(labelled: Sequence[tuple[UInt8Array, str, str]]) -> tuple[int, int]:
    """Add images to the corrections and to DVC, both or neither; returns as `corrections.write`."""
    file = CORRECTIONS.read_bytes()
    known = set(IMAGES.glob("*"))
    new, total = corrections.write(CORRECTIONS, labelled)
    added = subprocess.run([*DVC, "add", IMAGES], capture_output=True, text=True) if total else None
    if added and added.returncode:
        files.write(CORRECTIONS, file)
        for path in set(IMAGES.glob("*")) - known:
            path.unlink()
        raise InputError(f"dvc add {IMAGES} failed, so nothing has changed: {added.stderr.strip()}")
    return new, total


def check_form(model: Classifier) -> None:
    """Raises `InputError` if the training images here are made in another way than the model's."""
    if not Path(DATA).exists():
        return
    here, theirs = dataset.load_source(DATA).method, model.preprocessing.method
    if here != theirs:
        raise InputError(
            f"the model takes images by {theirs}, and those in {DATA} are made by {here}, so they "
            f"would be in two forms. Name a model of these data: --model URL"
        )


def read(path: Path, model: Classifier) -> Iterator[tuple[UInt8Array, str, str]]:
    """Each labelled image in the model's form, its label and its path."""
    for number, row in enumerate(corrections.rows(path, ("path", "label")), start=2):
        if not row["label"].strip():
            continue
        label = corrections.find_class(row["label"], model.classes)
        if label is None:
            raise InputError(
                f"{path}, line {number}: {row['path']} has the label {row['label']!r}; expected "
                f"one of: {', '.join(model.classes)}"
            )
        yield inputs.image(row["path"], model.preprocessing), label, row["path"]


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.correct", __doc__)
    parser.add_argument(
        "labels", metavar="LABELS.csv", type=command_line.path, help="has columns path and label"
    )
    parser.add_argument(
        "--model",
        metavar="URL",
        type=command_line.path_or_name,
        help="the model whose form the images take, named as for digits predict (default: "
        "models/digit-classifier, or the demo's if that does not exist)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
