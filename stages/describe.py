"""Write the model card: the evaluated model and its metrics -> metrics/model-card.md.

    python -m stages.describe --model models/digit-classifier --data data/prepared \\
        --metrics metrics/evaluation.json --confusion metrics/plots/confusion.csv \\
        --plots metrics/plots --out metrics/model-card.md
"""

import argparse
import csv
import json
import math
import os
from pathlib import Path

import numpy as np

from digits.core import command_line, errors, files
from digits.core.arrays import Int64Array
from digits.data import dataset
from digits.evaluation import model_card
from digits.evaluation.model_card import Subject
from digits.model.classifier import Classifier


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)

    metrics = json.loads(files.existing(args.metrics).read_text(encoding="utf-8"))
    confusion = parse_confusion(files.existing(args.confusion).read_text(encoding="utf-8"))
    source, counts = dataset.load_description(args.data)
    subject = Subject(metrics, confusion, Classifier.load(args.model), source, counts)
    files.write(args.out, model_card.write(subject, os.path.relpath(args.plots, args.out.parent)))


def parse_confusion(table: str) -> Int64Array:
    """Read `evaluate`'s CSV table into counts of test images, int64 (classes, classes).

    A row is a true class, a column a predicted one.
    """
    counts = np.array([int(row["images"]) for row in csv.DictReader(table.splitlines())])
    size = math.isqrt(len(counts))
    return counts.reshape(size, size)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.describe", __doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that `export` wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that `prepare` wrote")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON that `evaluate` wrote")
    parser.add_argument("--confusion", type=Path, required=True, help="CSV that `evaluate` wrote")
    parser.add_argument("--plots", type=Path, required=True, help="folder with the pictures")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
