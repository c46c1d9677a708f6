"""Read a run from its metrics files, and check each figure against the others."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from digits.core.errors import InputError
from digits.core.params import Params
from digits.gate import strict_json

TOLERANCE = 1e-6  # figures are written with six digits
COLUMNS = ["index", "label", "predicted", "confidence"]
INDEX: Final = re.compile(r"0|[1-9][0-9]{0,11}")
FRACTION: Final = re.compile(r"[01](\.[0-9]{1,20})?|[0-9](\.[0-9]{1,20})?e-[0-9]{1,2}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
LONGEST = 400  # characters of a line of a message, which may show a value

# The bounds are far beyond any real value; they keep the arithmetic from overflowing.
Count = Annotated[int, Field(ge=0, le=10**12)]
Share = Annotated[float, Field(ge=0, le=1)]


class Answers(Params):
    """Numbers of test images by predicted class, and by confidence (see evaluation/drift.py)."""

    model_config = ConfigDict(extra="ignore")

    predicted: tuple[Count, ...]
    confidence: tuple[Count, ...]


class Scores(Params):
    """The content of evaluation.json; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    source: str
    images: Annotated[int, Field(ge=1, le=10**9)]
    errors: Count
    accuracy: Share
    nll: Annotated[float, Field(ge=0, le=1e9)]
    ece: Share
    recall: dict[str, Share]
    support: dict[str, Annotated[int, Field(ge=1, le=10**9)]]
    robustness: dict[str, Share]
    parameters: Count
    model_bytes: Count
    model: str
    test_set: str
    answers: Answers | None = None  # missing in evaluations by earlier versions


@dataclass(frozen=True)
class Error:
    """A row of errors.csv: true class, predicted class, and the confidence of the prediction."""

    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Run:
    """The content of a run's metrics files; `duplicates` and `seed` are None without their file."""

    name: str
    scores: Scores
    errors: dict[int, Error]  # by position among the test images
    duplicates: int | None = None
    seed: int | None = None

    @cached_property
    def class_errors(self) -> Counter[str]:
        return Counter(error.label for error in self.errors.values())

    def wrong(self, label: str | None = None) -> set[int]:
        """Positions of the misclassified images, of all classes or of one."""
        return {i for i, error in self.errors.items() if label in (None, error.label)}


def parse(name: str, files: Mapping[str, bytes]) -> Run:
    """Parse a run from the contents of its files.

    Parameters
    ----------
    name : the run's, for messages
    files : file name -> content; evaluation.json and errors.csv are required, data.json and
        train.json optional

    Raises
    ------
    InputError
        If a file is missing or malformed, or contradicts another; names the file and the field.
    """
    try:
        return _parse(name, files)
    except InputError as error:
        raise InputError("\n".join(map(_shortened, str(error).splitlines()))) from None


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 100]} ... {line[-95:]}"


def _parse(name: str, files: Mapping[str, bytes]) -> Run:
    scores = _scores(f"{name}/evaluation.json", _content(name, files, "evaluation.json"))
    errors = _errors(f"{name}/errors.csv", _content(name, files, "errors.csv"), scores)
    _check_counts(name, scores, errors)
    return Run(
        name,
        scores,
        errors,
        _optional_count(name, files, "data.json", "duplicates"),
        _optional_count(name, files, "train.json", "seed"),
    )


def _content(name: str, files: Mapping[str, bytes], file: str) -> bytes:
    if file not in files:
        raise InputError(f"{name}/{file} is missing. Run: dvc repro")
    return files[file]


def _optional_count(name: str, files: Mapping[str, bytes], file: str, key: str) -> int | None:
    if file not in files:
        return None
    document = strict_json.parse(f"{name}/{file}", files[file])
    if key not in document:
        raise InputError(f"{name}/{file}: {key} is missing")
    value = document[key]
    if type(value) is not int or not 0 <= value <= 2**63:
        raise InputError(f"{name}/{file}: {key} is {value!r}; expected a count")
    return value


def _scores(path: str, content: bytes) -> Scores:
    scores = Scores.parse(strict_json.parse(path, content), path)
    for key, value in (("model", scores.model), ("test_set", scores.test_set)):
        if not DIGEST.fullmatch(value):
            raise InputError(f"{path}: {key} is {value!r}; expected a SHA-256 digest")
    if scores.recall.keys() != scores.support.keys():
        only_one = ", ".join(sorted(scores.recall.keys() ^ scores.support.keys()))
        raise InputError(f"{path}: only one of recall and support has the classes {only_one}")
    if "mean" not in scores.robustness:
        raise InputError(f"{path}: robustness.mean is missing")
    accuracies = [share for name, share in scores.robustness.items() if name != "mean"]
    if accuracies and abs(scores.robustness["mean"] - fmean(accuracies)) > 2 * TOLERANCE:
        raise InputError(
            f"{path}: robustness.mean is {scores.robustness['mean']}, but the others' mean is "
            f"{fmean(accuracies):.6g}"
        )
    if (total := sum(scores.support.values())) != scores.images:
        raise InputError(f"{path}: images is {scores.images}, but support adds up to {total}")
    for key, counts in scores.answers or ():
        if sum(counts) != scores.images:
            raise InputError(
                f"{path}: images is {scores.images}, but answers.{key} adds up to {sum(counts)}"
            )
    return scores


def _errors(path: str, content: bytes, scores: Scores) -> dict[int, Error]:
    try:
        rows = list(csv.reader(io.StringIO(content.decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not CSV: {error}") from None
    if not rows or rows[0] != COLUMNS:
        raise InputError(f"{path}: expected the first line {','.join(COLUMNS)}")
    if not content.endswith(b"\n"):
        raise InputError(f"{path}, line {len(rows)}: the line has no end, so the file was cut off")
    errors: dict[int, Error] = {}
    last = -1
    for number, row in enumerate(rows[1:], start=2):
        where = f"{path}, line {number}"
        if len(row) != len(COLUMNS):
            raise InputError(f"{where}: {len(row)} fields; expected {len(COLUMNS)}")
        if not INDEX.fullmatch(row[0]):
            raise InputError(f"{where}: index is {row[0]!r}; expected a whole number")
        index = int(row[0])
        if not last < index < scores.images:
            raise InputError(
                f"{where}: index is {index}; expected more than {last}, the index before it, and "
                f"less than {scores.images}"
            )
        errors[index] = _error(where, row, scores)
        last = index
    return errors


def _error(where: str, row: list[str], scores: Scores) -> Error:
    _, label, predicted, confidence = row
    for column, value in (("label", label), ("predicted", predicted)):
        if value not in scores.support:
            raise InputError(
                f"{where}: {column} is {value!r}; expected one of: {', '.join(scores.support)}"
            )
    if label == predicted:
        raise InputError(
            f"{where}: label and predicted are both {label!r}, so this is not an error"
        )
    if not FRACTION.fullmatch(confidence) or float(confidence) > 1:
        raise InputError(f"{where}: confidence is {confidence!r}; expected a fraction")
    return Error(label, predicted, float(confidence))


def _check_counts(name: str, scores: Scores, errors: dict[int, Error]) -> None:
    if len(errors) != scores.errors:
        raise InputError(
            f"{name}: errors.csv has {len(errors)} rows, but evaluation.json's errors is "
            f"{scores.errors}"
        )
    by_class = Counter(error.label for error in errors.values())
    expected = {"accuracy": (scores.accuracy, scores.errors, scores.images)} | {
        f"recall.{label}": (scores.recall[label], by_class[label], support)
        for label, support in scores.support.items()
    }
    for key, (value, wrong, images) in expected.items():
        if wrong > images or abs(value - (images - wrong) / images) > TOLERANCE:
            raise InputError(
                f"{name}: evaluation.json's {key} is {value}, but errors.csv has {wrong} errors "
                f"in {images} images"
            )
    if scores.answers is None:
        return
    mistaken_for = Counter(error.predicted for error in errors.values())
    predicted = [
        support - by_class[label] + mistaken_for[label] for label, support in scores.support.items()
    ]
    # Sorted, since answers.predicted has the model's order of classes, which is unknown here.
    if sorted(scores.answers.predicted) != sorted(predicted):
        raise InputError(
            f"{name}: evaluation.json's answers.predicted is {list(scores.answers.predicted)}, but "
            f"support and errors.csv add up to {predicted}"
        )
