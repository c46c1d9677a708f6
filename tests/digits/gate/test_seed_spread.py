import random
from itertools import product

import pytest
from scipy import stats

from digits.gate.seed_spread import mean_difference, mean_margin, quantile


def test_the_interval_is_that_of_welchs_t_test() -> None:
    one, other = [31.0, 35.0, 28.0], [40.0, 52.0, 31.0, 44.0]
    spread = mean_difference(one, other)
    assert spread is not None
    assert (spread.error, spread.freedom) == pytest.approx((4.81390, 4.14438), rel=1e-5)
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert 2 * spread.margin == pytest.approx(interval.high - interval.low)


def test_a_side_of_one_run_varies_as_the_other_side_does() -> None:
    one, other = mean_difference([30.0], [1.0, 2.0, 3.0]), mean_difference([1.0, 2.0, 3.0], [30.0])
    assert one == other
    assert one is not None
    assert one.freedom == 2
    assert one.error == pytest.approx((1 + 1 / 3) ** 0.5)


def test_a_side_whose_runs_agree_by_chance_leaves_the_others_freedom() -> None:
    spread = mean_difference([30.0, 30.0], [28.0, 32.0, 36.0])
    assert spread is not None
    assert spread.freedom == pytest.approx(2)


@pytest.mark.parametrize(
    ("one", "other"), [([1.0], [2.0]), ([1.0, 1.0], [2.0]), ([1.0, 1.0, 1.0], [2.0, 2.0])]
)
def test_without_any_spread_nothing_is_known(one: list[float], other: list[float]) -> None:
    assert mean_difference(one, other) is None


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (30, 2.04227)]
)
def test_the_fewer_runs_the_more_standard_errors(freedom: float, expected: float) -> None:
    assert quantile(freedom) == pytest.approx(expected, rel=1e-5)


def test_the_margin_of_one_mean_is_by_the_same_distribution() -> None:
    assert mean_margin([1.0]) is None
    assert mean_margin([0.0, 1.0, 2.0]) == pytest.approx(2.4841, abs=1e-4)


@pytest.mark.parametrize(("one", "other"), [*product((1, 2, 3), (2, 3)), (5, 5)])
def test_equal_models_differ_by_more_than_the_margin_once_in_twenty(one: int, other: int) -> None:
    rng, draws = random.Random(0), 2000
    beyond = 0
    for _ in range(draws):
        sides = [[rng.gauss(33, 4) for _ in range(runs)] for runs in (one, other)]
        spread = mean_difference(*sides)
        assert spread is not None
        means = [sum(side) / len(side) for side in sides]
        beyond += abs(means[0] - means[1]) > spread.margin
    assert beyond / draws < 0.065
