"""Write the model that is evaluated and served: weights -> models/digit-classifier.

One ONNX file, a few golden images with the logits expected, and a description with their digests.
Fails when ONNX Runtime and torch disagree on any test image.

    python -m stages.export --weights models/weights.safetensors --data data/prepared \\
        --out models/digit-classifier
"""

import argparse
from pathlib import Path

from digits import commands, compute, data, errors, export, files, model


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)

    network = model.load(args.weights)
    test = data.load(args.data, "test")
    form = export.preprocessing(network, data.load_source(args.data).method)
    content = export.to_onnx(network)
    logits = export.compare(network, content, test.images, compute.workers())
    with files.new_directory(args.out) as folder:
        export.write_folder(folder, network, content, form, test, logits)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = commands.parser("stages.export", __doc__)
    parser.add_argument("--weights", type=Path, required=True, help="file that `train` wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that `prepare` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main)
