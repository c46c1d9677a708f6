"""Evaluate the exported model on the test images: models/digit-classifier -> metrics.

Runs, on ONNX Runtime, the same file that is served. Writes accuracy, calibration, recall of each
class, accuracy under ten corruptions, every error, and pictures.

    python -m stages.evaluate --model models/digit-classifier --data data/prepared \\
        --metrics metrics/evaluation.json --errors metrics/errors.csv --plots metrics/plots
"""

import argparse
from pathlib import Path

from digits.core import command_line, errors, files
from digits.core.workers import count_workers
from digits.data import dataset
from digits.evaluation import evaluate, plots
from digits.model.classifier import Classifier


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)

    classifier = Classifier.load(args.model)
    test = dataset.load(args.data, "test")
    evaluation = evaluate.evaluate(classifier, test, count_workers())

    report = evaluate.summary(evaluation) | {
        "source": dataset.load_source(args.data).name,
        "parameters": classifier.parameters,
        "model_bytes": (args.model / "model.onnx").stat().st_size,
        "model": classifier.id,
        "test_set": dataset.digest(test),
    }
    files.write(args.metrics, files.canonical_json(report))
    columns = ["index", "label", "predicted", "confidence"]
    files.write(args.errors, files.csv_table(evaluate.error_rows(evaluation), columns))
    for name, rows in evaluate.plot_tables(evaluation, report).items():
        files.write(args.plots / f"{name}.csv", files.csv_table(rows))
    files.write(args.plots / "overview.png", plots.overview(evaluation))
    files.write(args.plots / "errors.png", plots.worst_errors(evaluation, test.images))
    print("accuracy {accuracy:.2%}: {errors} errors in {images} images".format(**report))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.evaluate", __doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that `export` wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that `prepare` wrote")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write: all metrics")
    parser.add_argument("--errors", type=Path, required=True, help="CSV to write: a row per error")
    parser.add_argument(
        "--plots", type=Path, required=True, help="folder for the plots, CSV and PNG"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
