import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from digits.core.errors import InputError
from digits.gate import judge as judging
from digits.gate import results
from digits.gate import rules as gate_rules
from digits.gate.judge import Reason
from digits.gate.results import Run
from digits.gate.rules import Rules
from tests.helpers.metrics_files import metrics_files

LIMITS = {
    "errors": 60,
    "class_errors": 200,
    "ece": 0.01,
    "nll": 0.03,
    "robustness": 0.75,
    "model_bytes": 300_000,
}
DOCUMENT: dict[str, Any] = {
    "max_loss": 30,
    "small_sample": "pass",
    "seeds": [],
    "limits": {"mnist": LIMITS},
}
RULES = Rules.parse(DOCUMENT)
COMMON = range(100, 120)  # images that both models get wrong


def run(wrong: Iterable[int], name: str = "run", **changes: Any) -> Run:
    return results.parse(name, metrics_files(wrong, **changes))


def judge(broken: Iterable[int], fixed: Iterable[int], rules: Rules = RULES) -> judging.Judgement:
    return judging.judge([run([*COMMON, *fixed])], [run([*COMMON, *broken])], rules)


def rules(**changes: Any) -> Rules:
    return Rules.parse({**DOCUMENT, **changes})


# Against a base


def test_equal_models_pass() -> None:
    found = judge([], [])
    assert found.reasons == []
    assert not found.better


def test_only_images_that_one_of_them_gets_wrong_count() -> None:
    found = judge(range(1000, 1003), range(2000, 2005)).overall
    assert (found.broken, found.fixed, found.loss) == (3, 5, -2)


def test_more_broken_than_luck_allows_is_blocked() -> None:
    assert judge(range(1000, 1010), [2000, 2001]).reasons == [
        Reason(
            "images",
            "test images: 10 broken and 2 fixed, more than by chance (p = 0.039, limit 0.05)",
        )
    ]
    assert judge(range(1000, 1009), [2000, 2001]).reasons == []


def test_a_loss_that_may_be_too_large_is_blocked_though_luck_could_explain_it() -> None:
    found = judge(range(1000, 1070), range(2000, 2051))
    assert found.overall.p > 0.05
    text = (
        "the loss may be as large as 37.5 images per 10,000 (95 % bound); allowed is less than 30"
    )
    assert found.reasons == [Reason("bound", text)]


def test_the_largest_loss_is_the_rules_to_say() -> None:
    pair = range(1000, 1070), range(2000, 2051)
    assert judge(*pair, rules(max_loss=38)).reasons == []
    assert judge(*pair, rules(max_loss=37)).reasons != []


def test_a_loss_that_may_be_just_as_large_as_the_rules_say_is_blocked() -> None:
    measured = replace(judge([], []).overall, bound=30.0)
    assert judging.too_large_a_loss(measured, RULES)
    assert not judging.too_large_a_loss(replace(measured, bound=29.9), RULES)


def test_a_gain_is_never_blocked() -> None:
    assert judge([], range(2000, 2100)).reasons == []
    assert judge(range(1000, 1040), range(2000, 2100)).reasons == []


def test_better_is_claimed_at_a_level_that_falls_with_each_look() -> None:
    base, candidate = [run(range(2000, 2007))], [run([1000])]
    assert judging.judge(base, [run([])], RULES, looks=1).better
    assert not judging.judge(base, candidate, RULES, looks=1).better
    assert not judging.judge(base, [run([])], RULES, looks=4).better


def test_a_class_that_loses_is_blocked() -> None:
    """All of one digit, and as many of the others mended."""
    threes, others = range(1003, 1113, 10), (i for i in range(2000, 2020) if i % 10 != 3)
    reasons = judge(threes, list(others)[:11]).reasons
    text = "class 3: 11 broken and 0 fixed, more than by chance (p = 0.00098, limit 0.005)"
    assert reasons == [Reason("class", text)]


@pytest.mark.parametrize(("images", "small"), [(899, True), (900, False), (360, True)])
def test_a_sample_too_small_for_the_bound_is_said_in_words(images: int, small: bool) -> None:
    pair = [run([1], size=images)], [run([1], size=images)]
    notes = judging.judge(*pair, RULES).notes
    assert bool(notes) == small
    if small:
        assert f"{images} test images are too few to rule out a loss of 30 per 10,000" in notes[0]
        assert "at least 900 are needed" in notes[0]
    reasons = judging.judge(*pair, rules(small_sample="block")).reasons
    assert [reason.kind for reason in reasons] == ["small_sample"] * small


def test_more_test_images_in_the_training_set_are_blocked() -> None:
    def with_duplicates(count: int) -> Run:
        files = metrics_files(COMMON) | {"data.json": b'{"duplicates": %d}' % count}
        return results.parse("run", files)

    found = judging.judge([with_duplicates(1)], [with_duplicates(2)], RULES)
    text = "2 test images are also among the training images; in the base, 1 are"
    assert found.reasons == [Reason("duplicates", text)]
    one, two = with_duplicates(1), with_duplicates(2)
    assert judging.judge([one, one], [one, two], RULES).reasons == found.reasons
    assert judging.judge([one, two], [one, two], RULES).reasons == []
    assert judging.judge([one], [one], RULES).reasons == []
    judging.judge([run(COMMON)], [with_duplicates(0)], RULES)
    with pytest.raises(InputError, match=r"run: data\.json is missing, so it is unknown whether"):
        judging.judge([run(COMMON)], [with_duplicates(1)], RULES)
    for without in ([run(COMMON)], [with_duplicates(0), run(COMMON)]):
        with pytest.raises(InputError, match=r"run: data\.json is missing, but the base has one"):
            judging.judge([with_duplicates(0)], without, RULES)


@pytest.mark.parametrize(
    ("base", "candidate", "message"),
    [
        ({"test_set": "c" * 64}, {}, "test_set differs"),
        ({"source": "folder"}, {}, "source differs, folder and mnist"),
        ({"size": 9_000}, {}, "images differs, 9000 and 10000"),
        (
            {"support": {"0": 1001, "1": 999}, "recall": {"0": 999 / 1001, "1": 997 / 999}},
            {},
            "support differs",
        ),
        ({"robustness": {"blur": 0.9}}, {}, "the names in robustness differs"),
        ({}, {"robustness": {"blur": 0.9}}, "the names in robustness differs"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    base: dict[str, Any], candidate: dict[str, Any], message: str
) -> None:
    pair = [run(COMMON, "old", **base)], [run(COMMON, "new", **candidate)]
    with pytest.raises(InputError, match=f"old and new can't be compared: {message}"):
        judging.judge(*pair, RULES)


def test_a_label_that_differs_is_refused() -> None:
    files = metrics_files([13, 24])
    swapped = files["errors.csv"].replace(b"13,3,4", b"13,4,3").replace(b"24,4,5", b"24,3,5")
    other = results.parse("new", files | {"errors.csv": swapped})
    with pytest.raises(InputError, match=r"the label of image (13 is 3 and 4|24 is 4 and 3)"):
        judging.judge([run([13, 24], "old")], [other], RULES)


# Several seeds


def seeds(rng: random.Random, loss: int, spread: int) -> list[Run]:
    """Three runs with 40 hard images, each wrong with a chance, and `loss` more errors."""
    return [
        run(
            [i for i in range(100, 180) if rng.random() < 0.5]
            + list(range(1000, 1000 + loss + rng.randint(0, spread)))
        )
        for _ in range(3)
    ]


def test_seeds_are_not_pooled_into_pairs() -> None:
    """Three equal runs a side tell no more than one: the same images differ three times."""
    one = judge(range(1000, 1009), [2000, 2001])
    base = [run([*COMMON, 2000, 2001])] * 3
    three = judging.judge(base, [run([*COMMON, *range(1000, 1009)])] * 3, RULES)
    assert three.overall.p == pytest.approx(one.overall.p)
    assert three.overall.bound == pytest.approx(one.overall.bound)
    assert three.overall.loss == one.overall.loss


def test_a_loss_within_the_seeds_own_spread_passes() -> None:
    base = [run(range(100, 110)), run(range(100, 110)), run(range(100, 150))]
    candidate = [run(range(100, 150)), run(range(100, 150)), run(range(100, 110))]
    found = judging.judge(base, candidate, RULES)
    assert found.overall.p < 0.05
    assert found.reasons == []


def test_a_loss_beyond_the_seeds_spread_is_blocked() -> None:
    rng = random.Random(0)
    found = judging.judge(seeds(rng, 0, 2), seeds(rng, 25, 2), RULES)
    assert "more than by chance" in found.reasons[0].text
    assert len(found.errors["base"]) == 3


def test_two_seeds_hardly_prove_a_gain_but_excuse_no_loss() -> None:
    """Nineteen images fewer or more, in runs that differ by eight: within Student's t interval."""
    few = [run([*range(100, 110), *range(200, 204)]), run([*range(100, 110), *range(300, 312)])]
    many = [run(range(100, 133)), run(range(100, 141))]
    gain = judging.judge(many, few, RULES)
    assert gain.overall.loss == -19
    assert gain.overall.p < 0.05
    assert not gain.better
    assert "more than by chance" in str(judging.judge(few, many, RULES).reasons)


def test_many_seeds_prove_a_gain() -> None:
    few = [run(range(100, 116 + i)) for i in range(5)]
    many = [run(range(100, 135 + i)) for i in range(5)]
    assert judging.judge(many, few, RULES).better


def test_sides_may_have_different_numbers_of_runs() -> None:
    base, candidate = [run([*COMMON, 2000])], [run([*COMMON, 1000])] * 3
    found = judging.judge(base, candidate, RULES).overall
    assert (found.broken, found.fixed, found.loss) == (1, 1, 0)


def test_runs_that_vary_more_than_their_images_call_for_three_seeds() -> None:
    quiet = [run(range(100, 130)), run(range(115, 145))]
    wild = [run(range(100, 110)), run(range(100, 200))]
    assert judging.judge(quiet, quiet, RULES).notes == []
    assert "use three seeds on each side" in judging.judge(quiet, wild, RULES).notes[0]
    assert judging.judge([*wild, wild[0]], [*wild, wild[0]], RULES).notes == []
    steady = [run(range(100, 130))] * 2
    unsteady = [run(range(115, 135)), run(range(115, 145))]  # 2 * 25 is more than 1.3 * 25
    assert "use three seeds on each side" in judging.judge(steady, unsteady, RULES).notes[0]
    fairly_steady = [run(range(115, 135)), run(range(115, 142))]  # 24.5 is less than 1.3 * 23.5
    assert judging.judge(steady, fairly_steady, RULES).notes == []


def test_the_rules_may_name_the_seeds_to_bring() -> None:
    def with_seed(seed: int, model: str | None = None) -> Run:
        files = metrics_files(COMMON, model=(model or str(seed)) * 64)
        return results.parse(f"seed-{seed}", files | {"train.json": b'{"seed": %d}' % seed})

    three = rules(seeds=[0, 1, 2])
    gate_rules.check_seeds([with_seed(s) for s in (2, 0, 1)], three)
    for brought in ([0, 1], [0, 1, 3], [0, 1, 2, 3], [0, 0, 1]):
        with pytest.raises(InputError, match=r"seeds \[0, 1, 2\]; the candidate's have"):
            gate_rules.check_seeds([with_seed(s) for s in brought], three)
    with pytest.raises(InputError, match="None"):
        gate_rules.check_seeds([*(with_seed(s) for s in (0, 1, 2)), run(COMMON)], three)
    with pytest.raises(InputError, match="but seed-0, seed-1, seed-2 describe the same"):
        gate_rules.check_seeds([with_seed(s, "a") for s in (0, 1, 2)], three)
    with pytest.raises(InputError, match="but seed-0, seed-2 describe the same"):
        gate_rules.check_seeds([with_seed(0, "a"), with_seed(1), with_seed(2, "a")], three)


# Limits and rules


@pytest.mark.parametrize(
    ("wrong", "changes", "beyond"),
    [
        (range(60), {}, []),
        (range(61), {}, ["errors"]),
        (range(3, 203, 10), {}, []),
        (range(3, 213, 10), {}, ["errors in 3"]),
        ((), {"ece": 0.011}, ["ece"]),
        ((), {"nll": 0.031}, ["nll"]),
        ((), {"robustness": {"rotation": 0.74, "mean": 0.74}}, ["robustness"]),
        ((), {"model_bytes": 300_001}, ["model_bytes"]),
    ],
)
def test_a_figure_beyond_its_limit_is_named(
    wrong: Iterable[int], changes: dict[str, Any], beyond: list[str]
) -> None:
    limits = gate_rules.check_limits([run(wrong, **changes)], RULES)
    assert [limit.name for limit in limits if not limit.held] == beyond


def test_limits_are_counted_in_whole_images() -> None:
    limits = gate_rules.check_limits([run((), size=360)], RULES)
    assert limits[0].limit == 2  # 60 per 10,000 of 360, cut
    assert {type(limit.limit) for limit in limits[:11]} == {int}


def test_each_run_must_keep_the_limits() -> None:
    limits = gate_rules.check_limits([run((), "a"), run(range(61), "b")], RULES)
    assert [limit.name for limit in limits if not limit.held] == ["errors (b)"]


def test_a_source_without_limits_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"source is 'x', which has no limits; expected one of: mnist"
    ):
        gate_rules.check_limits([run((), source="x")], RULES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_loss": 0}, "max_loss is 0; expected greater than or equal to 1"),
        ({"max_loss": 30.0}, "max_loss is 30.0"),
        ({"small_sample": "maybe"}, "small_sample is 'maybe'; expected 'pass' or 'block'"),
        ({"limits": {"mnist": {**LIMITS, "ece": None}}}, r"limits\.mnist\.ece is None"),
        ({"limits": {"mnist": {"errors": 1}}}, r"limits\.mnist\.nll is missing"),
        ({"limits": {"mnist": {**LIMITS, "x": 1}}}, r"limits\.mnist\.x is unknown"),
        ({"limits": {"mnist": 3}}, r"limits\.mnist is 3; expected a section"),
        ({"extra": 1}, "extra is unknown; expected one of: limits, max_loss"),
    ],
)
def test_a_malformed_rule_set_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rules(**changes)


def test_changed_rules_are_listed_by_their_dotted_names() -> None:
    looser = rules(max_loss=300, limits={"mnist": {**LIMITS, "errors": 600}, "uci": LIMITS})
    found = gate_rules.changed_rules(RULES, looser)
    assert found["max_loss"] == (30, 300)
    assert found["limits.mnist.errors"] == (60, 600)
    assert found["limits.uci.nll"] == (None, 0.03)
    assert gate_rules.changed_rules(RULES, RULES) == {}


# Rates, briefly; benchmarks/gate_power.py has them at length


def blocked_share(loss: float, discordance: int, draws: int = 400) -> float:
    """Of pairs whose candidate truly loses `loss` images of 10,000."""
    rng = random.Random(0)
    blocked = 0
    for _ in range(draws):
        flips = [i for i in range(5_000, 10_000) if rng.random() < discordance / 5_000]
        broken = [i for i in flips if rng.random() < (1 + loss / discordance) / 2]
        fixed = set(flips) - set(broken)
        blocked += bool(judge(broken, fixed, rules(limits={})).reasons)
    return blocked / draws


@pytest.mark.slow(3)
def test_few_equal_models_are_blocked_and_few_losers_pass() -> None:
    assert blocked_share(0, 30) < 0.05
    assert blocked_share(30, 40) > 0.9
