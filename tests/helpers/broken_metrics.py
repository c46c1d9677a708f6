"""Metrics folders that are broken in one place, in ways that nobody listed, built by Hypothesis.

Example:

    @given(broken_metrics.broken_folders())
    def test_refused(fault: Fault) -> None:
        with broken_metrics.example(fault) as (base, candidate):
            assert broken_metrics.complaint(fault, base, candidate) is None

A fault knows which file it breaks and, where a message can say so, which field. `damage` breaks
bytes at random, which may leave a file intact; then the run must be sound.
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from digits.core.errors import InputError
from digits.core.params import read_yaml
from digits.gate import judge
from digits.gate.results import Run
from digits.gate.rules import Rules, check_limits, check_seeds
from ops.tools import revisions
from tests.helpers.metrics_files import CLASSES, metrics_files
from tests.helpers.small import ROOT

Draw = Callable[[st.SearchStrategy[Any]], Any]
Content = Mapping[str, bytes]

RULES = Rules.parse(read_yaml(ROOT / "params.yaml")["gate"])
PLACE = "@here@"
RUNS = ("base", "base/seed-1", "candidate", "candidate/seed-1")
WRONG = range(103, 134)
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp037")
COUNTS = ("images", "errors", "parameters", "model_bytes", "support.3", "answers.predicted.0")
SHARES = ("accuracy", "ece", "recall.3", "robustness.mean", "robustness.rotation")
TEXTS = ("source", "model", "test_set")
SECTIONS = ("recall", "support", "robustness")
FIELDS = {
    "evaluation.json": (*COUNTS, *SHARES, *TEXTS, *SECTIONS, "nll", "answers.confidence"),
    "data.json": ("duplicates",),
    "train.json": ("seed",),
}
# JSON that is no value of any field.
NONE_OF_THEM = (
    *("null", "true", "false", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "-1", "-0.5"),
    *("[]", '"', "'1'", "{1: 2}", "[1,]", "0x10", "01", "+1", ".5", "1.", "1_000", "undefined"),
    *("9" * 400, "-" + "9" * 400, "9" * 5000, "9223372036854775809", "1e300", "1e-400x"),
    *("[" * 100_000, '{"a":' * 50_000, "[" * 900 + "]" * 900, '{"a":' * 300 + "1" + "}" * 300),
    *('"\\ud800"', '"\\u0000"', '"a\\nb"', '"\\u2028"', '"\x00"', '"\n"', json.dumps("x" * 2000)),
)


@dataclass(frozen=True)
class Fault:
    """A broken place of a run's folder, and the function that breaks it.

    field : a text that the message must have; empty if nobody can say which field is broken
    """

    run: str
    file: str
    field: str
    how: str
    break_it: Callable[[Path], None]

    def __repr__(self) -> str:
        return f"{self.run}/{self.file}, {self.field or 'no field'}: {self.how[:200]}"


def contents(run: str) -> dict[str, bytes]:
    """The files of a sound run; each run has its own model and seed."""
    number = RUNS.index(run)
    wrong = [sum(i % 10 == int(c) for i in WRONG) for c in CLASSES]
    predicted = [1000 - wrong[i] + wrong[i - 1] for i in range(10)]
    files = metrics_files(WRONG, model=f"{number}" * 64)
    evaluation = json.loads(files["evaluation.json"])
    evaluation["answers"] = {"predicted": predicted, "confidence": [0] * 9 + [10_000]}
    files["evaluation.json"] = json.dumps(evaluation).encode()
    return files | {
        "data.json": b'{"duplicates": 0, "images": {"test": 10000}, "source": "mnist"}\n',
        "train.json": json.dumps({"seed": number % 2, "epochs": 8}).encode(),
    }


@contextmanager
def example(fault: Fault) -> Iterator[tuple[Path, Path]]:
    """The folders of a base and a candidate with two seeds each, one of them broken."""
    with tempfile.TemporaryDirectory(prefix="broken-") as name:
        root = Path(name)
        for run in RUNS:
            (root / run).mkdir()
            for file, content in contents(run).items():
                (root / run / file).write_bytes(content)
        fault.break_it(root / fault.run / fault.file)
        yield root / "base", root / "candidate"


def verdict(base: Path, candidate: Path) -> tuple[str, list[Run]]:
    """The gate's verdict on two folders, and their runs; raises `InputError` if there is none."""
    before, after = revisions.runs_in_folder(base), revisions.runs_in_folder(candidate)
    check_seeds(after, RULES)
    held = all(limit.held for limit in check_limits(after, RULES))
    reasons = judge.judge(before, after, RULES).reasons
    return "pass" if held and not reasons else "blocked", [*before, *after]


def complaint(fault: Fault, base: Path, candidate: Path) -> str | None:
    """What the gate does wrong with a broken folder; None if it refuses it as it should."""
    try:
        outcome, _ = verdict(base, candidate)
    except InputError as error:
        message = str(error)
    except Exception as error:
        return f"{fault!r}: {type(error).__name__}: {error}"[:500]
    else:
        return f"{fault!r}: {outcome}"
    if fault.file not in message or fault.field not in message:
        return f"{fault!r}: the message names no {fault.file}, {fault.field}: {message}"
    return f"{fault!r}: a message of {len(message)} bytes" if len(message) > 5000 else None


def unsound(fault: Fault, base: Path, candidate: Path) -> str | None:
    """As `complaint`, for bytes that were changed at random: what is not refused must add up."""
    try:
        _, runs = verdict(base, candidate)
    except InputError as error:
        return None if str(error).isprintable() or "\n" in str(error) else f"{fault!r}: {error!r}"
    except Exception as error:
        return f"{fault!r}: {type(error).__name__}: {error}"[:500]
    for run in runs:
        s = run.scores
        wrong = [sum(e.label == c for e in run.errors.values()) for c in s.support]
        adds_up = (
            (len(run.errors), s.images) == (s.errors, sum(s.support.values()))
            and abs(s.accuracy - 1 + s.errors / s.images) < 2e-6
            and all(
                abs(s.recall[c] - 1 + n / s.support[c]) < 2e-6
                for c, n in zip(s.support, wrong, strict=True)
            )
            and all(0 <= i < s.images and 0 <= e.confidence <= 1 for i, e in run.errors.items())
        )
        if not adds_up:
            return f"{fault!r}: {run.name} does not add up"
    return None


@st.composite
def broken_folders(draw: Draw) -> Fault:
    """A fault of any kind in any run."""
    make = draw(st.sampled_from((value, missing, repeated, encoding, cell, table, entry)))
    fault: Fault = make(draw, draw(st.sampled_from(RUNS)))
    return fault


@st.composite
def damage(draw: Draw) -> Fault:
    """Bytes that are changed, removed or inserted anywhere in a file."""
    run, file = draw(st.sampled_from(RUNS)), draw(st.sampled_from(revisions.FILES))
    content = bytearray(contents(run)[file])
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 3))
        content[start:end] = draw(st.one_of(st.binary(max_size=4), FRAGMENTS))
    return Fault(run, file, "", f"damaged: {bytes(content)!r}", writes(bytes(content)))


FRAGMENTS = st.sampled_from(
    [b"0", b"1", b"9", b"e9", b"-", b".", b",", b"\n", b'"', b"{", b"}", b"[", b"]", b":", b"null"]
)


def value(draw: Draw, run: str) -> Fault:
    """A field whose value has the wrong type, or can't be."""
    file = draw(st.sampled_from(sorted(FIELDS)))
    field = draw(st.sampled_from(FIELDS[file]))
    wrong = st.sampled_from(NONE_OF_THEM)
    texts = st.text(max_size=8).filter(lambda text: text != "mnist").map(json.dumps)
    if field not in TEXTS:
        wrong |= texts | st.integers(max_value=-1).map(str) | st.integers(2**63 + 1).map(str)
    if field in {"model", "test_set"}:
        wrong |= texts
    if field in {"images", "errors", "support.3", "answers.predicted.0"}:
        wrong |= st.integers(1001, 9999).map(str) | st.just("1000.0")
    if field in SHARES:
        wrong |= st.floats(min_value=1.00001).map(json.dumps)
    if field in {"accuracy", "recall.3", "robustness.mean", "robustness.rotation"}:
        wrong |= st.floats(0, 0.89).map(json.dumps)
    raw = draw(wrong)
    document = json.loads(contents(run)[file])
    set_field(document, field, PLACE)
    text = json.dumps(document).replace(f'"{PLACE}"', raw)
    return Fault(
        run, file, named(field, text), f"is {raw}", writes(text.encode("utf-8", "replace"))
    )


def missing(draw: Draw, run: str) -> Fault:
    file = draw(st.sampled_from(sorted(FIELDS)))
    fields = [f for f in FIELDS[file] if f not in {"robustness.rotation", "answers.predicted.0"}]
    field = draw(st.sampled_from(fields))
    document = json.loads(contents(run)[file])
    name = field.rpartition(".")[2]
    section = document if "." not in field else document[field.partition(".")[0]]
    if draw(st.booleans()):
        section[f"{name} "] = section[name]
    del section[name]
    text = json.dumps(document)
    return Fault(run, file, field.split(".")[0], "is missing", writes(text.encode()))


def repeated(draw: Draw, run: str) -> Fault:
    """A key that is there twice, with the same or another value, in any object."""
    file = draw(st.sampled_from(sorted(FIELDS)))
    document = json.loads(contents(run)[file])
    sections = ["", *(key for key, item in document.items() if isinstance(item, dict))]
    section = draw(st.sampled_from(sections))
    key = draw(st.sampled_from(sorted(document[section] if section else document)))
    start = f'"{section}": {{' if section else "{"
    first = draw(
        st.sampled_from([json.dumps((document[section] if section else document)[key]), "1"])
    )
    text = json.dumps(document).replace(start, f"{start}{json.dumps(key)}: {first}, ", 1)
    return Fault(run, file, key, "is there twice", writes(text.encode()))


def encoding(draw: Draw, run: str) -> Fault:
    """A file in another encoding, with bytes that no text has, cut off, or of another kind."""
    file = draw(st.sampled_from(revisions.FILES))
    content = contents(run)[file].rstrip(b"\n") + b"\n" * (file == "errors.csv")
    somewhere = draw(st.integers(0, len(content) - 1))
    odd = draw(st.sampled_from([b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80", b"\x1a\x00"]))
    changed = draw(
        st.sampled_from(
            [
                *(content.decode().encode(name) for name in ENCODINGS[:4]),
                content.decode().encode("cp037"),
                b"",
                content[:somewhere],
                content[:somewhere] + odd + content[somewhere:],
                odd + content,
                content + b"\x00",
                content + content,
                content[::-1],
                b"version https://git-lfs.github.com/spec/v1\n",
                b"<<<<<<< HEAD\n" + content,
                b"\x1f\x8b\x08\x00" + content,
            ]
        )
    )
    return Fault(run, file, "", f"bytes {changed!r}", writes(changed))


BAD_CELLS: Mapping[str, st.SearchStrategy[str]] = {
    "index": st.sampled_from(
        [
            "",
            " ",
            "-1",
            "+103",
            "103.0",
            "1e2",
            "0103",
            " 103",
            "103 ",
            "١٠٣",
            "\N{FULLWIDTH DIGIT NINE}",
            "9" * 5000,
            "0x1",
            *("10000", "1_03", "nan", "103\x00", "²", "99999999999999999999"),
        ]
    ),
    "label": st.text(max_size=4).filter(lambda text: text not in CLASSES),
    "predicted": st.text(max_size=4).filter(lambda text: text not in CLASSES),
    "confidence": st.one_of(
        st.sampled_from(
            ["", "nan", "inf", "-inf", "1e400", "1.1", "-0.1", "-0", "90", "0_9", " 0.9"]
        )
        | st.sampled_from(
            [
                "0.9 ",
                "\N{FULLWIDTH DIGIT NINE}",
                "0x1p-1",
                "0,9",
                "9e-400000",
                ".9",
                "1.0000001",
                "0.9" * 9,
            ]
        ),
        st.text(max_size=4).filter(lambda text: not text.replace(".", "").isdigit()),
        st.floats(min_value=1.001).map(str),
    ),
}


def cell(draw: Draw, run: str) -> Fault:
    column = draw(st.sampled_from(sorted(BAD_CELLS)))
    text = draw(BAD_CELLS[column])
    rows = rows_of(contents(run)["errors.csv"])
    row = draw(st.integers(1, len(rows) - 1))
    rows[row][rows[0].index(column)] = text
    # A carriage return ends a row for some programs, so that nobody can say which column is broken.
    field = "" if any(c in text for c in '\r\n\x00"') or len(text) > 1000 else column
    return Fault(run, "errors.csv", field, f"is {text!r}", writes(csv_of(rows)))


def table(draw: Draw, run: str) -> Fault:
    """Rows, columns and a header that can't be."""
    rows = rows_of(contents(run)["errors.csv"])
    row = draw(st.integers(1, len(rows) - 1))
    other = draw(st.integers(1, len(rows) - 1).filter(lambda i: i != row))
    content = csv_of(rows)
    how = draw(st.sampled_from(sorted(TABLES)))
    return Fault(run, "errors.csv", "", how, writes(TABLES[how](rows, row, other, content)))


def _without(rows: list[list[str]], row: int) -> list[list[str]]:
    return rows[:row] + rows[row + 1 :]


def _changed(rows: list[list[str]], row: int, new: list[str]) -> list[list[str]]:
    return [*rows[:row], new, *rows[row + 1 :]]


TABLES: Mapping[str, Callable[[list[list[str]], int, int, bytes], bytes]] = {
    "a row less": lambda r, i, j, c: csv_of(_without(r, i)),
    "a row twice": lambda r, i, j, c: csv_of([*r[:i], r[i], *r[i:]]),
    "a row elsewhere": lambda r, i, j, c: csv_of(
        [*_without(r, i)[:1], *sorted(_without(r, 0), reverse=True)]
    ),
    "a row of another class": lambda r, i, j, c: csv_of(
        _changed(r, i, [r[i][0], r[i][2], r[i][1], r[i][3]])
    ),
    "label and predicted equal": lambda r, i, j, c: csv_of(
        _changed(r, i, [r[i][0], r[i][1], r[i][1], r[i][3]])
    ),
    "a column more": lambda r, i, j, c: csv_of(_changed(r, i, [*r[i], "1"])),
    "a column less": lambda r, i, j, c: csv_of(_changed(r, i, r[i][:-1])),
    "a column more everywhere": lambda r, i, j, c: csv_of([[*row, "1"] for row in r]),
    "a blank line": lambda r, i, j, c: csv_of([*r[:i], [], *r[i:]]),
    "blank lines at the end": lambda r, i, j, c: c + b"\n\n",
    "no header": lambda r, i, j, c: csv_of(r[1:]),
    "the header twice": lambda r, i, j, c: csv_of([r[0], *r]),
    "the header in capitals": lambda r, i, j, c: c.replace(b"index", b"INDEX"),
    "the header in another order": lambda r, i, j, c: csv_of([row[::-1] for row in r]),
    "semicolons": lambda r, i, j, c: c.replace(b",", b";"),
    "tabs": lambda r, i, j, c: c.replace(b",", b"\t"),
    "spaces after commas": lambda r, i, j, c: c.replace(b",", b", "),
    "a quote": lambda r, i, j, c: c.replace(b",", b',"', i),
    "a comment": lambda r, i, j, c: b"# errors\n" + c,
    "a field of 200,000 characters": lambda r, i, j, c: csv_of(
        _changed(r, i, [*r[i][:3], "9" * 200_000])
    ),
    "no end of the last line": lambda r, i, j, c: c.rstrip(b"\n"),
    "carriage returns alone, doubled": lambda r, i, j, c: c.replace(b"\n", b"\r\r"),
    "an index column of pandas": lambda r, i, j, c: csv_of(
        [["", *r[0]], *([str(n), *row] for n, row in enumerate(r[1:]))]
    ),
}


def entry(draw: Draw, run: str) -> Fault:
    """Something else in a file's place."""
    file = draw(st.sampled_from(revisions.FILES))
    how = draw(st.sampled_from(sorted(ENTRIES)))
    if how == "nothing" and file in {"train.json", "data.json"}:
        how = "a folder"  # these two may be missing
    return Fault(run, file, "", how, ENTRIES[how])


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def _moved_and_linked(path: Path) -> None:
    target = path.with_name(f"real-{path.name}")
    path.rename(target)
    path.symlink_to(target.name)


def _sparse(path: Path) -> None:
    os.truncate(path, revisions.LARGEST + 1)


ENTRIES: Mapping[str, Callable[[Path], None]] = {
    "nothing": Path.unlink,
    "a folder": _replaced(Path.mkdir),
    "a folder with a file": _replaced(lambda path: (path / "evaluation.json").mkdir(parents=True)),
    "a link to nothing": _replaced(lambda path: path.symlink_to("nothing")),
    "a link to itself": _replaced(lambda path: path.symlink_to(path.name)),
    "a link to a folder": _replaced(lambda path: path.symlink_to(".")),
    "a link to /dev/zero": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to a sound file": _moved_and_linked,
    "a pipe": _replaced(os.mkfifo),
    "a huge file": _sparse,
}


def writes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def set_field(document: Any, field: str, item: object) -> None:
    """Set a value by its dotted key; a part that is a number counts in a list."""
    *sections, last = field.split(".")
    for name in sections:
        document = document[name]
    document[int(last) if isinstance(document, list) else last] = item


def named(field: str, text: str) -> str:
    """The part of a field's name that a message must have: none if the text is no JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return field.split(".")[0]


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def csv_of(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")
