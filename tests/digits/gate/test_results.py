import json
from typing import Any

import pytest

from digits.core.errors import InputError
from digits.gate import results
from tests.helpers.metrics_files import metrics_files

WRONG = (7, 40, 41)


def test_a_run_is_read_with_its_errors() -> None:
    run = results.parse("here", metrics_files(WRONG))
    assert run.wrong() == {7, 40, 41}
    assert run.wrong("1") == {41}
    assert run.errors[7] == results.Error("7", "8", 0.9)
    assert (run.duplicates, run.seed) == (None, None)


def test_data_and_training_are_read_where_they_are() -> None:
    files = metrics_files(WRONG)
    files |= {"data.json": b'{"duplicates": 3}', "train.json": b'{"seed": 5, "epochs": 8}'}
    run = results.parse("here", files)
    assert (run.duplicates, run.seed) == (3, 5)


def test_what_else_a_run_measures_is_no_hindrance() -> None:
    results.parse("here", metrics_files(WRONG, latency_us=30))


def with_answers(predicted: list[int], confidence: list[int]) -> dict[str, bytes]:
    """A run of 20 images, of which 7 was taken for an 8."""
    files = metrics_files([7], size=20)
    answers = {"predicted": predicted, "confidence": confidence}
    evaluation = json.loads(files["evaluation.json"]) | {"answers": answers}
    return files | {"evaluation.json": json.dumps(evaluation).encode()}


def test_counts_of_answers_are_read_where_they_are() -> None:
    assert results.parse("here", metrics_files(WRONG)).scores.answers is None
    files = with_answers([2, 2, 2, 2, 2, 2, 2, 1, 3, 2], [0, 20])
    answers = results.parse("here", files).scores.answers
    assert answers is not None
    assert answers.confidence == (0, 20)


@pytest.mark.parametrize(
    ("predicted", "confidence", "message"),
    [
        ([2] * 9, [20], "images is 20, but answers.predicted adds up to 18"),
        (
            [2, 2, 2, 2, 2, 2, 2, 1, 3, 2],
            [19],
            "images is 20, but answers.confidence adds up to 19",
        ),
        ([2] * 10, [20], r"answers.predicted is \[2, .*\], but support and errors.csv add up to"),
        ([2, 2, 2, 2, 2, 2, 2, 1, 4, 1], [20], "support and errors.csv add up to"),
        ([22, -2], [20], "answers.predicted.1 is -2"),
    ],
)
def test_counts_of_answers_that_can_not_be_are_refused(
    predicted: list[int], confidence: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        results.parse("here", with_answers(predicted, confidence))


def test_answers_without_counts_are_refused() -> None:
    files = metrics_files(WRONG)
    evaluation = json.loads(files["evaluation.json"]) | {"answers": {"x": 1}}
    with pytest.raises(InputError, match=r"answers\.predicted is missing"):
        results.parse("here", files | {"evaluation.json": json.dumps(evaluation).encode()})


@pytest.mark.parametrize("name", ["evaluation.json", "errors.csv"])
def test_a_missing_file_is_named(name: str) -> None:
    files = metrics_files(WRONG)
    del files[name]
    with pytest.raises(InputError, match=f"here/{name} is missing. Run: dvc repro"):
        results.parse("here", files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "holds a list; expected an object"),
        (b"null", "holds a NoneType; expected an object"),
        (b"{}", "images is missing"),
        (b"\xef\xbb\xbf{}", "is not JSON: Unexpected UTF-8 BOM"),
        ("{}".encode("utf-16"), "is not JSON"),
        (b'{"images": 1, "images": 1}', "images is there twice"),
        (b'{"recall": {"3": 1, "3": 1}}', "3 is there twice"),
        (b'{"more": 1e400}', "more is inf; expected a finite number"),
        (b'{"images": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b'{"images": ' + b"9" * 30 + b"}", "images is 9999.*expected less than"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"source": "a\\nb"}', r"source is 'a\\nb'; expected a short text on one line"),
        (b'{"recall": {"3": "\\ud800"}}', r"recall\.3 is '\\ud800'; expected a short text"),
        (b'{"source": "\\ud800"}', r"source is '\\ud800'; expected a short text"),
        (b'{"recall": {"\\u0000": 1}}', r"a key is '\\x00'"),
    ],
)
def test_an_evaluation_that_is_none_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s)here/evaluation.json.*{message}"):
        results.parse("here", metrics_files(WRONG) | {"evaluation.json": content})


KEYS = [
    *("source", "images", "errors", "accuracy", "nll", "ece", "recall", "support", "robustness"),
    *("parameters", "model_bytes", "model", "test_set"),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_metric_is_named(key: str) -> None:
    files = metrics_files(WRONG)
    scores = json.loads(files["evaluation.json"])
    del scores[key]
    with pytest.raises(InputError, match=rf"evaluation.json: {key} is missing"):
        results.parse("here", files | {"evaluation.json": json.dumps(scores).encode()})


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), True, [1]])
def test_a_value_that_is_no_figure_is_named(key: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"evaluation.json: {key} is"):
        results.parse("here", metrics_files(WRONG, **{key: value}))


@pytest.mark.parametrize("key", ["images", "errors", "accuracy", "nll", "ece", "model_bytes"])
def test_a_number_in_quotes_is_none(key: str) -> None:
    with pytest.raises(InputError, match=rf"evaluation.json: {key} is '1'"):
        results.parse("here", metrics_files(WRONG, **{key: "1"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": 99.97}, r"accuracy is 99\.97; expected less than or equal to 1"),
        ({"accuracy": 0.9998}, r"accuracy is 0\.9998, but errors\.csv has 3 errors in 10000"),
        ({"errors": 2}, r"errors\.csv has 3 rows, but evaluation\.json's errors is 2"),
        ({"images": 9_999}, r"images is 9999, but support adds up to 10000"),
        ({"recall": {"7": 1.0}}, r"recall\.7 is 1\.0, but errors\.csv has 1 errors in 1000"),
        ({"recall": {"7": float("nan")}}, r"recall\.7 is nan"),
        ({"recall": {"x": 1.0}}, "only one of recall and support has the classes x"),
        ({"support": {"7": 0}}, r"support\.7 is 0"),
        (
            {"robustness": {"mean": 0.91}},
            r"robustness\.mean is 0\.91, but the others' mean is 0\.9",
        ),
        ({"robustness": {"mean": 0.90001}}, r"robustness\.mean is 0\.90001, but the others'"),
        ({"robustness": {"mean": None}}, r"robustness\.mean is None"),
        ({"nll": -0.1}, "nll is -0.1; expected greater than or equal to 0"),
        ({"nll": 10**12}, "nll is 1000000000000; expected"),
        ({"images": 10**15}, "images is 1000000000000000; expected less than"),
        ({"model": "abc"}, "model is 'abc'; expected a SHA-256 digest"),
        ({"test_set": ""}, "test_set is ''; expected a SHA-256 digest"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        results.parse("here", metrics_files(WRONG, **changes))


def test_the_mean_robustness_may_not_be_missing() -> None:
    files = metrics_files(WRONG)
    scores = json.loads(files["evaluation.json"])
    del scores["robustness"]["mean"]
    with pytest.raises(InputError, match=r"robustness\.mean is missing"):
        results.parse("here", files | {"evaluation.json": json.dumps(scores).encode()})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["7,7,8,0.9", "40,0,1,0.9"], "has 2 rows"),
        (["7,7,8,0.9", "40,0,1,0.9", "40,0,1,0.9"], "line 4: index is 40; expected more than 40"),
        (["40,0,1,0.9", "7,7,8,0.9", "41,1,2,0.9"], "line 3: index is 7; expected more than 40"),
        (["7,7,8,0.9", "40,0,1,0.9", "10000,0,1,0.9"], "index is 10000; .* less than 10000"),
        (["7,7,8,0.9", "40,0,1,0.9", "041,1,2,0.9"], "index is '041'; expected a whole number"),
        (["7,7,8,0.9", "40,0,1,0.9", f"{'9' * 5000},1,2,0.9"], "index is '9999.* whole number"),
        (["7,7,8,0_9", "40,0,1,0.9", "41,1,2,0.9"], "confidence is '0_9'; expected a fraction"),
        (["7,7,8, 0.9", "40,0,1,0.9", "41,1,2,0.9"], "confidence is ' 0.9'"),
        (["-7,7,8,0.9", "40,0,1,0.9", "41,1,2,0.9"], "index is '-7'; expected a whole number"),
        (["7.0,7,8,0.9", "40,0,1,0.9", "41,1,2,0.9"], "index is '7.0'"),
        (["7,7,7,0.9", "40,0,1,0.9", "41,1,2,0.9"], "label and predicted are both '7'"),
        (["7,x,7,0.9", "40,0,1,0.9", "41,1,2,0.9"], "label is 'x'; expected one of: 0, 1"),
        (["7,7,x,0.9", "40,0,1,0.9", "41,1,2,0.9"], "predicted is 'x'"),
        (["7,7,8,nan", "40,0,1,0.9", "41,1,2,0.9"], "confidence is 'nan'; expected a fraction"),
        (["7,7,8,1.5", "40,0,1,0.9", "41,1,2,0.9"], "confidence is '1.5'"),
        (["7,7,8,90", "40,0,1,0.9", "41,1,2,0.9"], "confidence is '90'"),
        (["7,7,8,", "40,0,1,0.9", "41,1,2,0.9"], "confidence is ''"),
        (["7,7,8", "40,0,1,0.9", "41,1,2,0.9"], "line 2: 3 fields; expected 4"),
        (["7,7,8,0.9", "", "40,0,1,0.9", "41,1,2,0.9"], "line 3: 0 fields; expected 4"),
        (['7,7,"8,0.9', "40,0,1,0.9"], "is not CSV"),
        (["7,7,8,0.9", "40,0,1,0.9", "42,2,3,0.9"], r"recall\.1 is 0\.999, but"),
    ],
)
def test_errors_that_cannot_be_are_refused(rows: list[str], message: str) -> None:
    content = "\n".join(["index,label,predicted,confidence", *rows, ""]).encode()
    with pytest.raises(InputError, match=message):
        results.parse("here", metrics_files(WRONG) | {"errors.csv": content})


def test_errors_whose_last_line_is_cut_off_are_refused() -> None:
    files = metrics_files(WRONG)
    cut = files["errors.csv"].removesuffix(b"000\n")
    with pytest.raises(InputError, match=r"here/errors\.csv, line 4: the line has no end"):
        results.parse("here", files | {"errors.csv": cut})


def test_a_message_stays_short_whatever_the_value() -> None:
    with pytest.raises(InputError) as caught:
        results.parse("here", metrics_files(WRONG, images=[0] * 100_000))
    assert "evaluation.json: images is [0, 0" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"index,label\n", b"7,7,8,0.9\n", b"\xff"])
def test_errors_want_their_header(content: bytes) -> None:
    with pytest.raises(InputError, match=r"here/errors\.csv"):
        results.parse("here", metrics_files(WRONG) | {"errors.csv": content})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.json", b'{"duplicates": null, "duplicates": -1}'),
        ("data.json", b'{"duplicates": NaN}'),
        ("data.json", b"{}"),
        ("data.json", b'{"duplicates": null}'),
        ("train.json", b'{"seed": "0"}'),
        ("train.json", b"[]"),
    ],
)
def test_a_broken_file_beside_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(InputError, match=f"here/{name}"):
        results.parse("here", metrics_files(WRONG) | {name: content})
