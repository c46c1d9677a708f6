"""Train the detector of images that show none of the classes: data/prepared -> its weights.

It makes the model's answers to such images less sure. It does not depend on the network, so a
change of the network does not train it again.

    python -m stages.detect --data data/prepared --detector models/detector.safetensors
"""

import argparse
import os
from pathlib import Path

from digits.core import command_line, errors, files, kernels
from digits.core.params import Params
from digits.core.workers import count_workers
from digits.data import dataset
from digits.model.network import save_network
from digits.outliers.detector import DetectorParams, train_detector
from digits.training.progress import PROGRESS


class DetectParams(Params):
    detector: DetectorParams


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = DetectParams.load(args.params).detector
    kernels.require_pins()
    os.environ.pop(PROGRESS, None)  # a page follows the training of the network

    data, val = dataset.load(args.data, "train"), dataset.load(args.data, "val")
    source = dataset.load_source(args.data)
    print(
        "the detector of images that show none of the classes:"
        if params.outliers
        else "no detector, since detector.outliers is 0"
    )
    detector = train_detector(params, data, val, source, count_workers())
    if detector:
        save_network(detector, args.detector)
    else:
        files.write(args.detector, b"")  # there is none


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.detect", __doc__)
    parser.add_argument("--params", type=Path, default="params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="folder that `prepare` wrote")
    parser.add_argument("--detector", type=Path, required=True, help="safetensors file to write")
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
