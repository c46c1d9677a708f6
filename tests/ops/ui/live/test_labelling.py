"""Outputs of digits predict, as files; tests/ops/ui/live/test_label_page.py has the page."""

import re
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from digits.core.errors import InputError
from ops.ui.live import label_page, labelling


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(count: int, review: list[bool | None]) -> pa.Table:
    names = [f"{i}.png" for i in range(count)] if count < 100 else ["same.png"] * count
    confidence = [1 - i / count for i in range(count)]
    return pa.table(
        {
            "path": names,
            "predicted": ["3"] * count,
            "confidence": confidence,
            "review": pa.array((review * count)[:count], pa.bool_()),
        }
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_for_review_come_with_the_least_confident_first(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "BATCH_ROWS", 2)
    rows = table(6, [True, False, None])
    if ending == "csv":
        pa.csv.write_csv(rows, "out.csv")
    else:
        pq.write_table(rows, "out.parquet")
    output = labelling.read_output(f"out.{ending}")
    assert [row.path for row in output.rows] == ["3.png", "0.png"]
    assert output.rows[0].confidence == pytest.approx(0.5)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_output_of_more_rows_than_anybody_labels_is_refused(ending: str) -> None:
    """20 million rows are 400 kB of Parquet; to read them all took more than 6 GB."""
    rows = table(labelling.MOST_ROWS + 1, [True])
    if ending == "csv":
        pa.csv.write_csv(rows, "out.csv")
    else:
        pq.write_table(rows, "out.parquet")
    with pytest.raises(InputError, match="more than 100,000 rows for review"):
        labelling.read_output(f"out.{ending}")


def test_undo_takes_back_the_label_that_was_given_last_also_to_an_image_that_had_one() -> None:
    pq.write_table(table(3, [True]), "out.parquet")
    Path("out.parquet.manifest.json").write_text('{"classes": ["3", "5"]}')
    output = labelling.read_output("out.parquet")
    for path, label in (("0.png", "3"), ("1.png", "5"), ("0.png", "5")):
        labelling.give(output, path, label)
    assert labelling.progress(output).last == ("0.png", "5")
    labelling.undo(output)
    assert labelling.progress(output).last == ("1.png", "5")
    assert Path("out.parquet.labels.csv").read_text() == "path,label\n1.png,5\n"


def test_outputs_of_one_name_have_labels_of_their_own() -> None:
    pa.csv.write_csv(table(3, [True]), "out.csv")
    pq.write_table(table(3, [True]), "out.parquet")
    for name in ("out.csv", "out.parquet"):
        Path(f"{name}.manifest.json").write_text('{"classes": ["3", "5"]}')
    one, other = (labelling.read_output(name) for name in ("out.csv", "out.parquet"))
    labelling.give(one, "0.png", "3")
    labelling.undo(other)
    assert labelling.progress(one).labelled == 1
    assert labelling.progress(other).labelled == 0


def test_a_damaged_file_of_labels_leaves_the_other_outputs_to_choose_from() -> None:
    for name in ("one", "other"):
        pa.csv.write_csv(table(3, [True]), f"{name}.csv")
        Path(f"{name}.csv.manifest.json").write_text('{"classes": ["3", "5"]}')
    Path("one.labels.csv").write_bytes(b"path,label\ncaf\xe9.png,3\n")
    one, other = (label_page.progress_or_fault(found) for found in labelling.find_outputs())
    assert "one.labels.csv is not CSV" in str(one)
    assert isinstance(other, labelling.Progress)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("path;label;note\n0.png;3;blurred\n", "one.labels.csv has the column 'note'"),
        ("path;label\n0.png;3\n1.png;5\n0.png;5\n", "one.labels.csv, line 4: 0.png is there twice"),
    ],
)
def test_a_file_of_labels_by_hand_that_would_lose_something_is_refused(
    content: str, problem: str
) -> None:
    for name in ("one", "other"):
        pa.csv.write_csv(table(3, [True]), f"{name}.csv")
        Path(f"{name}.csv.manifest.json").write_text('{"classes": ["3", "5"]}')
    Path("one.labels.csv").write_text(content)
    one, other = labelling.find_outputs()
    for change in (partial(labelling.give, one, "2.png", "3"), partial(labelling.undo, one)):
        with pytest.raises(InputError, match=re.escape(problem)):
            change()
    answer = label_page.answer("revisit", {"output": "one.csv"})
    assert (answer.status_code, problem in bytes(answer.body).decode()) == (400, True)
    assert problem in str(label_page.progress_or_fault(one))
    assert isinstance(label_page.progress_or_fault(other), labelling.Progress)
    assert Path("one.labels.csv").read_text() == content


def test_files_are_looked_for_four_folders_deep_and_not_among_data_and_models() -> None:
    for folder in (".", "a/b/c/d", "a/b/c/d/e", "data", "a/models", ".hidden"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "out.labels.csv").touch()
    assert labelling.find_labels() == ["out.labels.csv", "a/b/c/d/out.labels.csv"]


def test_only_so_many_outputs_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "MOST_OUTPUTS", 2)
    for name in ("one", "three", "two"):
        pa.csv.write_csv(table(3, [True]), f"{name}.csv")
        Path(f"{name}.csv.manifest.json").touch()
    assert [str(output.path) for output in labelling.find_outputs()] == ["one.csv", "three.csv"]


@pytest.mark.parametrize("content", [b"", b"path\n1\n", b"path,predicted,confidence,review\na,b\n"])
def test_another_table_is_no_output(content: bytes) -> None:
    for name in ("out.csv", "out.parquet"):
        Path(name).write_bytes(content)
        with pytest.raises(InputError, match="is no output of digits predict"):
            labelling.read_output(name)
