from collections.abc import Mapping

import pytest

from digits.gate import diff, judge
from digits.gate.diff import Figure, shown, shown_change
from digits.gate.results import Error, Run, Scores


def run(wrong: Mapping[int, tuple[str, str, float]], nll: float = 0.1, robust: float = 0.5) -> Run:
    """A run on 1,000 images of two classes, with these errors."""
    scores = Scores(
        source="toy",
        images=1000,
        errors=len(wrong),
        accuracy=1 - len(wrong) / 1000,
        nll=nll,
        ece=0.01,
        recall={"a": 1.0, "b": 1.0},
        support={"a": 500, "b": 500},
        robustness={"blur": robust, "mean": robust},
        parameters=10,
        model_bytes=100,
        model="m",
        test_set="t",
    )
    return Run("run", scores, {i: Error(*error) for i, error in wrong.items()})


def marks(base: list[Run], candidate: list[Run]) -> dict[str, str | None]:
    overall = judge.difference(base, candidate)
    return {f.name: f.mark for f in diff.figures(base, candidate, overall)}


def test_one_error_more_is_noise_and_twenty_are_not() -> None:
    few = {0: ("a", "b", 0.5)}
    many = {i: ("a", "b", 0.5) for i in range(20)}
    assert marks([run({})], [run(few)])["accuracy"] == "noise"
    assert marks([run({})], [run(many)])["accuracy"] == "worse"
    assert marks([run(many)], [run({})])["errors"] == "better"


def test_a_gain_that_the_spread_of_the_seeds_may_explain_is_noise() -> None:
    def runs(*errors: int) -> list[Run]:
        return [run({i: ("a", "b", 0.5) for i in range(n)}) for n in errors]

    assert judge.difference(runs(33, 41), runs(14, 22)).p < judge.ALPHA
    assert marks(runs(33, 41), runs(14, 22))["errors"] == "noise"
    assert marks(runs(33, 34), runs(14, 15))["errors"] == "better"


def test_what_no_image_tells_is_untested_by_one_run_a_side_and_tested_by_several() -> None:
    found = marks([run({}, nll=0.1, robust=0.5)], [run({}, nll=0.2, robust=0.6)])
    assert found["nll"] == found["robustness"] == "untested"
    base = [run({}, nll=n) for n in (0.100, 0.101, 0.102)]
    assert marks(base, [run({}, nll=n) for n in (0.101, 0.102, 0.103)])["nll"] == "noise"
    assert marks(base, [run({}, nll=n) for n in (0.2, 0.201, 0.202)])["nll"] == "worse"


def test_two_runs_a_side_know_their_spread_too_badly_to_mark_a_small_change() -> None:
    """Three standard errors: much for many runs, little for two degrees of freedom."""
    base = [run({}, nll=n) for n in (0.100, 0.102)]
    assert marks(base, [run({}, nll=n) for n in (0.105, 0.107)])["nll"] == "noise"
    assert marks(base, [run({}, nll=n) for n in (0.108, 0.110)])["nll"] == "worse"
    assert marks(base, [run({}, nll=0.107)])["nll"] == "noise"


def test_runs_that_are_all_equal_have_no_known_spread() -> None:
    assert marks([run({}, nll=0.1)] * 2, [run({}, nll=0.2)] * 2)["nll"] == "untested"


def test_without_a_base_there_is_no_before_and_no_mark() -> None:
    found = diff.figures([], [run({})], None)
    assert {(f.before, f.change, f.mark) for f in found} == {(None, None, None)}


def test_changed_images_come_with_the_erring_models_answer_the_surest_first() -> None:
    base = run({1: ("a", "b", 0.6), 2: ("a", "b", 0.7)})
    candidate = run({2: ("a", "b", 0.9), 3: ("b", "a", 0.5), 4: ("b", "a", 0.8)})
    broken, fixed = diff.changed_images([base], [candidate])
    assert [(a.index, a.predicted, a.confidence) for a in broken] == [(4, "a", 0.8), (3, "a", 0.5)]
    assert [(a.index, a.label, a.confidence) for a in fixed] == [(1, "a", 0.6)]
    other = run({3: ("b", "a", 0.7), 4: ("b", "a", 0.2)})
    broken, _ = diff.changed_images([base, base], [candidate, other])
    assert [(a.index, a.confidence) for a in broken] == [(4, 0.8), (3, 0.7)]
    wrong_too = run({4: ("b", "a", 0.9)})  # as one of the base's runs, so that two more are wrong
    broken, _ = diff.changed_images([base, wrong_too], [candidate, other])
    assert [(a.index, a.confidence) for a in broken] == [(4, 0.8), (3, 0.7)]
    _, fixed = diff.changed_images([candidate, other], [base, wrong_too])
    assert [(a.index, a.confidence) for a in fixed] == [(4, 0.8), (3, 0.7)]


def test_contested_are_the_images_that_some_get_wrong_and_some_do_not() -> None:
    error = ("3", "5", 0.9)
    models = [
        run({1: error, 2: error}),
        run({2: error, 3: error, 4: error}),
        run({2: error, 4: error}),
    ]
    assert diff.contested(models) == [4, 1, 3]


def test_confusion_adds_up_to_the_images_of_each_class() -> None:
    measured = run({1: ("a", "b", 0.6), 2: ("a", "b", 0.7)})
    found = diff.confusion(measured.scores.support, measured.errors.values())
    assert found == {"a": {"a": 498, "b": 2}, "b": {"a": 0, "b": 500}}


@pytest.mark.parametrize(
    ("figure", "before", "change"),
    [
        (Figure("accuracy", "share", 0.9966, 0.9967, "noise"), "99.66 %", "+0.01 points"),
        (Figure("nll", "decimal", 0.0105, 0.0099, "untested"), "0.0105", "\N{MINUS SIGN}0.0006"),
        (Figure("errors", "images", 33, 34.5, "noise"), "33", "+1.5"),
        (Figure("bytes", "count", 286797, 286797, "same"), "286,797", ""),
    ],
)
def test_figures_read_in_their_units(figure: Figure, before: str, change: str) -> None:
    assert (shown(figure, figure.before), shown_change(figure)) == (before, change)
