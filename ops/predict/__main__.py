"""Classify many images: digits predict INPUT OUTPUT

INPUT is an image file, a folder of them, a glob ('scans/**/*.png'), or a file of many images: .npy,
.npz, IDX, CSV, Parquet, or a ZIP archive of any of these (docs/how-to/data.md). Each may also be
under s3://bucket/prefix; the environment has the endpoint and the credentials.

OUTPUT is a .parquet or .csv file with one row per image: path, predicted, confidence, p0 to p9,
review (true if the confidence is below --threshold), error. An image that can't be read is a row
with an error. If INPUT is one file and no image in it can be read, the command fails and writes no
OUTPUT. OUTPUT.manifest.json names the model and the plan of the run.

If a run is killed or fails, the same command continues it; no row appears twice. OUTPUT appears
when all images are done.

With --model sagemaker://ENDPOINT this machine reads the images, and the endpoint classifies them.
With --engine ray, the Ray cluster at RAY_ADDRESS does both (make .venv/scale). The rows are the
same.

Exit code 0: all images have a row. 2: something is missing, broken or can't be reached.
"""

import argparse
import re
import sys
import tempfile
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from digits.core import command_line, errors, files
from digits.core.command_line import say
from digits.core.errors import InputError, first, printable
from digits.core.params import Params
from digits.model import self_test
from digits.model.classifier import Classifier
from digits.storage import filesystem, location
from ops.predict import batch, executors
from ops.predict.executors import Executor, Task
from ops.predict.job import Job, Plan, Request, delete_parts, make_plan, read_record
from ops.tools import inputs
from ops.tools.inputs import Input
from ops.tools.models import ENDPOINT, bring_model

MANIFEST = ".manifest.json"
FORMATS = (".parquet", ".csv")


class Manifest(Params):
    """The plan of a complete run, the model's version and classes, and the counts of its rows."""

    plan: Plan
    version: str | None
    classes: tuple[str, ...]
    errors: int
    review: int
    sha256: str  # of the output


def main() -> None:
    args = parse_args()
    source = inputs.find(args.input)
    check_output_is_elsewhere(source, args.output)
    with tempfile.TemporaryDirectory(prefix="predict-") as temporary:
        folder = Path(temporary)
        path, version = bring_model(args.model, folder)
        self_test.check(path)
        model = Classifier.load(path)
        request = make_request(args.input, args.written, model, args.threshold)
        job = find_job(request, source, args.written, args.output, folder)
        if isinstance(job, Manifest):
            manifest = job
        else:
            executor = find_executor(args.engine, args.model)
            compute(job, Task(path, source, args.threshold), executor)
            if source.file is not None:
                check_any_is_read(job, args.input, args.output)
            manifest = write_output(job, args.output, model, version, folder)
    print(manifest.model_dump_json(indent=2) if args.json else summary(args.output, manifest))


def check_output_is_elsewhere(source: Input, output: str) -> None:
    """Raises `InputError` if the next run would read the output as an input."""
    storage, name = location.find_file(output)
    url = f"{storage.url}/{name}"
    relative = url.removeprefix(f"{source.url}/")
    if source.file is None and relative != url and re.match(source.pattern, relative):
        raise InputError(f"{output} is in {source.shown}, which is the input: name another output")


def make_request(text: str, day: date | None, model: Classifier, threshold: float) -> Request:
    return Request(
        input=inputs.readable(text),
        source=inputs.readable(location.find(text).url),
        written=str(day) if day else None,
        model=model.id,
        threshold=threshold,
    )


def find_job(
    request: Request, source: Input, day: date | None, output: str, folder: Path
) -> Job | Manifest:
    """Resume the request's job, or start it; the manifest if the output is complete already."""
    storage = location.find(f"{output}.parts")
    if job := Job.resume(storage, request):
        return job
    passed_over: list[str] = []
    plan = make_plan(request, inputs.chunks(source, day, passed_over), folder)
    report_passed_over([source.path(n) for n in passed_over if re.match(source.pattern, n)])
    if not plan.rows and not day:
        raise InputError(f"{request.input} holds no images")
    if manifest := find_complete(output, plan):
        delete_parts(storage)
        return manifest
    return Job.start(storage, plan, folder)


def report_passed_over(paths: list[str]) -> None:
    if paths:
        shown = first([printable(path) for path in paths])
        say(f"passed over, hidden or the operating system's ({len(paths):,}): {shown}")


def find_complete(output: str, plan: Plan) -> Manifest | None:
    """The manifest of an output of the same plan; None if there is no output yet."""
    storage, name = location.find_file(output)
    if not filesystem.is_file(storage, name):
        return None
    manifest = read_record(Manifest, storage, name + MANIFEST)
    if manifest is None:
        raise InputError(f"{output} exists, and is no output of this command: name another output")
    if manifest.plan != plan:
        raise InputError(f"{output} exists, from another run: remove it, or name another output")
    return manifest


def find_executor(engine: str, model: str | None) -> Executor:
    if model and model.startswith(ENDPOINT):
        return partial(executors.on_endpoint, model.removeprefix(ENDPOINT))
    return {"local": executors.local, "ray": executors.on_ray}[engine]


def compute(job: Job, task: Task, executor: Executor) -> None:
    """Compute and store the parts that are not done."""
    from tqdm import tqdm

    rows = {number: len(chunk) for number, chunk in job.pending()}
    if not rows:
        return
    total = job.plan.rows
    with tqdm(
        total=total,
        initial=total - sum(rows.values()),
        unit="image",
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds; a log needs few lines
    ) as bar:
        for number, content in executor(task, job.pending(), len(rows)):
            job.save(number, content)
            bar.update(rows[number])


def check_any_is_read(job: Job, file: str, output: str) -> None:
    """Raises `InputError` with the reason if no row of a file has a prediction."""
    reason = None
    for table in job.tables():
        if table["error"].null_count:
            return
        reason = reason or table["error"][0].as_py()
    delete_parts(job.storage)
    rows = job.plan.rows
    which = f"none of its {rows:,} images can be read. The first one: " if rows > 1 else ""
    raise InputError(
        f"{file}: {which}{reason}\n  {output} was not written. Correct the file or name another "
        f"one, then run the command again"
    )


def write_output(
    job: Job, output: str, model: Classifier, version: str | None, folder: Path
) -> Manifest:
    """Join the parts into the output, write its manifest, then delete the parts."""
    storage, name = location.find_file(output)
    file, with_error, review = folder / f"output{Path(name).suffix}", 0, 0
    with open_writer(file, batch.schema(model)) as writer:
        for table in job.tables():
            writer.write_table(table)
            with_error += len(table) - table["error"].null_count
            review += int(table["review"].to_numpy(zero_copy_only=False).sum())
    manifest = Manifest(
        plan=job.plan,
        version=version,
        classes=model.classes,
        errors=with_error,
        review=review,
        sha256=files.sha256(file),
    )
    files.write(folder / "manifest", files.canonical_json(manifest.model_dump()))
    filesystem.put(storage, name, file)
    filesystem.put(storage, name + MANIFEST, folder / "manifest")
    delete_parts(job.storage)
    return manifest


def open_writer(file: Path, schema: Any) -> Any:
    """A writer of tables to a Parquet or CSV file."""
    from pyarrow.csv import CSVWriter
    from pyarrow.parquet import ParquetWriter

    if file.suffix == ".csv":
        return CSVWriter(file, schema)
    return ParquetWriter(file, schema, use_dictionary=["predicted"])  # other columns vary


def summary(output: str, manifest: Manifest) -> str:
    plan = manifest.plan
    version = f"{manifest.version}, " if manifest.version else ""
    images = "image" if plan.rows == 1 else "images"
    line = (
        f"{output}: {plan.rows:,} {images} by {version}model {plan.run.model[:12]}: "
        f"{manifest.errors:,} with an error, {manifest.review:,} for review (confidence below "
        f"{plan.run.threshold:g})"
    )
    faults = ["the column `error` says what is wrong"] if manifest.errors else []
    return "\n  ".join([line, *faults, *plan.taken])


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
        help="a .parquet or .csv file; may be under s3://...",
    )
    parser.add_argument(
        "--model",
        metavar="URL",
        type=command_line.path_or_name,
        help="a model folder, a deployment's URL, sagemaker://ENDPOINT, or production or staging "
        "for the version that this repository's tags assign to it (default: "
        "models/digit-classifier, or the demo's if that does not exist)",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="classify on this machine, or on a Ray cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold",
        metavar="P",
        type=float,
        default=0.9,
        help="mark rows with a confidence below P for review (default: %(default)s)",
    )
    parser.add_argument(
        "--written",
        metavar="DAY",
        type=date.fromisoformat,
        help="read only files that were written on this day, in UTC, for example 2026-11-25",
    )
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    args = parser.parse_args()
    if Path(args.output).suffix not in FORMATS:
        parser.error(f"OUTPUT is {args.output}; expected a name that ends with .parquet or .csv")
    if args.engine == "ray" and (args.model or "").startswith(ENDPOINT):
        parser.error(f"--engine ray and --model {args.model} can't be combined: each classifies")
    if not 0 <= args.threshold <= 1:
        parser.error(f"--threshold is {args.threshold}; expected 0 to 1")
    return args


if __name__ == "__main__":
    errors.run(main, failure=2)
