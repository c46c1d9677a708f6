"""Export the network to the model that is evaluated and served: weights -> models/digit-classifier.

Writes one ONNX file, a few golden images with the logits expected for them, and a description with
the digests of both. Fails if ONNX Runtime and torch disagree on a test image.

    python -m stages.export --weights models/weights.safetensors \\
        --detector models/detector.safetensors --data data/prepared --out models/digit-classifier
"""

import argparse
from pathlib import Path

from digits.core import command_line, errors, files, kernels
from digits.core.workers import count_workers
from digits.data import dataset
from digits.model import onnx_export
from digits.model.guard import guarded, load_detector
from digits.model.network import load_network


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    kernels.require_pins()

    classifier = load_network(args.weights)
    network = guarded(classifier, load_detector(args.detector))
    test = dataset.load(args.data, "test")
    form = onnx_export.preprocessing(classifier, dataset.load_source(args.data).method)
    content = onnx_export.to_onnx(network)
    onnx_export.compare(network, content, test.images, count_workers())
    with files.new_directory(args.out, "model.json") as folder:
        onnx_export.write_folder(folder, network, content, form, test)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.export", __doc__)
    parser.add_argument("--weights", type=Path, required=True, help="file that `train` wrote")
    parser.add_argument("--detector", type=Path, required=True, help="file that `detect` wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that `prepare` wrote")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
