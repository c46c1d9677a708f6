"""Classify many images: digits predict INPUT OUTPUT

INPUT is an image file, a folder of them, a glob ('scans/**/*.png'), or a file of many images: .npy
(uint8, n x height x width), MNIST's IDX (.gz or not), Parquet with a column `image`. All of these
also as s3://bucket/prefix; endpoint and credentials come from the environment.

OUTPUT is .parquet or .csv, a row an image: path, predicted, confidence, p0 to p9, review (whether
the confidence is below --threshold), error. An image that can't be read is a row with an error.
OUTPUT.manifest.json says which model saw what.

Killed, or failed? The same command again goes on with what is not done; no row is there twice.
OUTPUT appears when all is done.

With --model sagemaker://ENDPOINT the endpoint computes: images are read here and sent there.

--engine ray computes on the Ray cluster that RAY_ADDRESS names (make .venv/scale); the rows are the
same.

Exit code 0: all images have a row. 2: something is missing, broken or out of reach.
"""

import argparse
import json
import re
import sys
import tempfile
from datetime import date
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow.csv import CSVWriter
from tqdm import tqdm

from digits.core import command_line, errors, files
from digits.core.errors import InputError
from digits.core.params import Params
from digits.model import self_test
from digits.model.classifier import Classifier
from digits.storage import filesystem
from ops.predict import batch, executors, job
from ops.predict.executors import Engine, Work
from ops.predict.job import Parts, Plan, Run
from ops.tools import inputs
from ops.tools.inputs import Source
from ops.tools.models import ENDPOINT, bring_model

MANIFEST = ".manifest.json"
WRITERS = {".parquet": pq.ParquetWriter, ".csv": CSVWriter}


class Manifest(Params):
    """Which model saw what, and what came of it."""

    plan: Plan
    version: str | None
    classes: tuple[str, ...]
    errors: int
    review: int
    sha256: str  # of the output


def main() -> None:
    args = parse_args()
    source = inputs.find(args.input)
    refuse_within(source, args.output)
    with tempfile.TemporaryDirectory(prefix="predict-") as temporary:
        path, version = bring_model(args.model, Path(temporary))
        self_test.check(path)
        model = Classifier.load(path)
        found = begin(args, source, model, Path(temporary))
        if isinstance(found, Parts):
            engine = find_engine(args.engine, args.model)
            compute(found, Work(path, source, args.threshold), engine)
            found = finish(found, args.output, model, version, Path(temporary))
    print(found.model_dump_json(indent=2) if args.json else summary(args.output, found))


def refuse_within(source: Source, output: str) -> None:
    """An output must not be the next run's input."""
    place, name = filesystem.find_file(output)
    inside = f"{place.url}/{name}".removeprefix(f"{source.url}/")
    if source.file is None and inside != f"{place.url}/{name}" and re.match(source.pattern, inside):
        raise InputError(f"{output} lies in {source.shown}, which is read: name another output")


def begin(
    args: argparse.Namespace, source: Source, model: Classifier, folder: Path
) -> Parts | Manifest:
    """What is to be done; or what came of it, if it was done already."""
    run = Run(
        input=inputs.readable(args.input),
        source=inputs.readable(filesystem.find(args.input).url),
        written=str(args.written) if args.written else None,
        model=model.id,
        threshold=args.threshold,
    )
    place = filesystem.find(f"{args.output}.parts")
    if found := job.resume(place, run):
        return found
    plan = job.make_plan(run, inputs.chunks(source, args.written), folder)
    if not plan.rows and not args.written:
        raise InputError(f"{args.input} holds no images")
    if done := find_done(args.output, plan):
        job.clear(place)
        return done
    return job.begin(place, plan, folder)


def find_done(output: str, plan: Plan) -> Manifest | None:
    """The manifest of an output that this plan has led to; None if there is no output yet."""
    place, name = filesystem.find_file(output)
    if not filesystem.is_file(place, name):
        return None
    content = filesystem.read(place, name + MANIFEST)
    found = Manifest.parse(json.loads(content), output + MANIFEST) if content else None
    if found is None or found.plan != plan:
        raise InputError(f"{output} exists, and is of another run: remove it, or name another")
    return found


def find_engine(name: str, model: str | None) -> Engine:
    if model and model.startswith(ENDPOINT):
        return partial(executors.on_endpoint, model.removeprefix(ENDPOINT))
    return {"local": executors.local, "ray": executors.on_ray}[name]


def compute(under_way: Parts, work: Work, run: Engine) -> None:
    """Do what is not done yet."""
    rows = {number: len(chunk) for number, chunk in under_way.pending()}
    if not rows:
        return
    total = under_way.plan.rows
    with tqdm(
        total=total,
        initial=total - sum(rows.values()),
        unit="image",
        unit_scale=True,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds; a log wants few lines
    ) as bar:
        for number, content in run(work, under_way.pending(), len(rows)):
            under_way.save(number, content)
            bar.update(rows[number])


def finish(
    under_way: Parts, output: str, model: Classifier, version: str | None, folder: Path
) -> Manifest:
    """Make the output of the parts; they are removed when it and its manifest lie there."""
    place, name = filesystem.find_file(output)
    made, wrong, review = folder / f"output{Path(name).suffix}", 0, 0
    with WRITERS[made.suffix](made, batch.schema(model)) as writer:
        for table in under_way.tables():
            writer.write_table(table)
            wrong += len(table) - table["error"].null_count
            review += int(table["review"].to_numpy(zero_copy_only=False).sum())
    manifest = Manifest(
        plan=under_way.plan,
        version=version,
        classes=model.classes,
        errors=wrong,
        review=review,
        sha256=files.sha256(made),
    )
    files.write(folder / "manifest", files.canonical_json(manifest.model_dump()))
    filesystem.put(place, name, made)
    filesystem.put(place, name + MANIFEST, folder / "manifest")
    job.clear(under_way.place)
    return manifest


def summary(output: str, manifest: Manifest) -> str:
    plan = manifest.plan
    version = f"{manifest.version}, " if manifest.version else ""
    return (
        f"{output}: {plan.rows:,} images by {version}model {plan.run.model[:12]}: "
        f"{manifest.errors:,} with an error, {manifest.review:,} for review (confidence below "
        f"{plan.run.threshold:g})"
    )


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.predict", __doc__)
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=command_line.path_or_url,
        help="a file, a folder, a glob, or s3://...",
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        type=command_line.path_or_url,
        help=".parquet or .csv; also s3://...",
    )
    parser.add_argument(
        "--model",
        metavar="URL",
        type=command_line.path_or_name,
        help="a model folder, a deployment's URL, sagemaker://ENDPOINT, or production or staging: "
        "what holds that stage in this repository; by default models/digit-classifier, or else the "
        "demo's",
    )
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument(
        "--threshold",
        metavar="P",
        type=float,
        default=0.9,
        help="a confidence below it is for review (default: %(default)s)",
    )
    parser.add_argument(
        "--written",
        metavar="DAY",
        type=date.fromisoformat,
        help="only files that were written on that day, in UTC: 2026-11-25",
    )
    parser.add_argument("--json", action="store_true", help="the summary for a machine")
    args = parser.parse_args()
    if Path(args.output).suffix not in WRITERS:
        parser.error(f"OUTPUT is {args.output}; expected a name that ends with .parquet or .csv")
    if args.engine == "ray" and (args.model or "").startswith(ENDPOINT):
        parser.error(f"--engine ray computes by itself; {args.model} does, too")
    if not 0 <= args.threshold <= 1:
        parser.error(f"--threshold is {args.threshold}; expected 0 to 1")
    return args


if __name__ == "__main__":
    errors.run(main, failure=2)
