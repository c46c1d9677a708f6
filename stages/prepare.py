"""Check the raw images and split off the validation images: data/raw -> data/prepared.

The split is stratified: each part has the same share of every class. Test images stay as they are;
duplicates of training images among them are counted. Added to the training images only: 1s that are
drawn again with an upstroke, and images that people labelled later (corrections).

    python -m stages.prepare --raw data/raw --corrections data/corrections.csv \\
        --out data/prepared --metrics metrics/data.json
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from digits.core import command_line, errors, files
from digits.core.params import Params
from digits.data import corrections, dataset
from digits.data.corrections import Added
from digits.data.dataset import Source
from digits.drawing import upstrokes


class SplitParams(Params):
    val_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    max_class_ratio: Annotated[float, Field(ge=1)]
    upstrokes: Annotated[float, Field(ge=0, le=1)]


class PrepareParams(Params):
    prepare: SplitParams


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = PrepareParams.load(args.params).prepare

    raw = dataset.load_raw(args.raw)
    dataset.check(raw, params.max_class_ratio)
    train, val = dataset.split_indices(raw.train.labels, params.val_fraction, params.seed)
    test = np.arange(len(raw.test))
    originals = raw.train.take(train)
    drawn = upstrokes.add(originals, raw.source, params.upstrokes, params.seed)
    corrected = corrections.load(args.corrections, raw.train.images.shape[1:])
    added = corrections.add(drawn, corrected, raw)
    splits = {"train": added.train, "val": raw.train.take(val), "test": raw.test}

    with files.new_directory(args.out, "source.json") as folder:
        dataset.save(folder, with_corrections(raw.source, args.corrections, added), splits)
        dataset.save_indices(folder, {"train": train, "val": val, "test": test})
    counts = {
        "source": raw.source.name,
        "images": {name: len(split) for name, split in splits.items()},
        "duplicates": dataset.count_duplicates(raw.test, raw.train),
    }
    if len(drawn) > len(originals):
        counts["upstrokes"] = len(drawn) - len(originals)
        print("{upstrokes} of the 1s drawn again for training, with an upstroke".format(**counts))
    if corrected:
        counts["corrections"] = added.used
        print(
            f"corrections: {added.used} images added for training; left out: {added.known} that "
            f"are training images already, {added.test} that are test images"
        )
    files.write(args.metrics, files.canonical_json(counts))
    print(
        "{source}: {images}, {duplicates} test images duplicate a training image".format(**counts)
    )


def with_corrections(source: Source, path: Path, added: Added) -> Source:
    if not added.used:
        return source
    return replace(source, digests={**source.digests, "corrections": files.sha256(path)})


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.prepare", __doc__)
    parser.add_argument("--params", type=Path, default="params.yaml")
    parser.add_argument("--raw", type=Path, required=True, help="folder that `fetch` wrote")
    parser.add_argument(
        "--corrections", type=Path, required=True, help="CSV of images that people labelled later"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write: the splits")
    parser.add_argument(
        "--metrics", type=Path, required=True, help="JSON to write: counts of images"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
