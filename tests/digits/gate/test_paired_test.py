from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from digits.gate.paired_test import loss_bound, sign_flip_p


@pytest.mark.parametrize(("broken", "fixed"), [(0, 0), (1, 0), (10, 2), (20, 22), (300, 0)])
def test_with_one_run_a_side_the_p_value_is_mcnemars(broken: int, fixed: int) -> None:
    expected = binomtest(broken, broken + fixed).pvalue if broken + fixed else 1
    assert sign_flip_p([1] * broken + [-1] * fixed) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-3, 3), max_size=9))
def test_the_p_value_is_that_of_all_ways_to_flip_the_signs(differences: list[int]) -> None:
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    expected = sum(abs(s) >= abs(sum(differences)) for s in sums) / len(sums)
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_the_bound_of_equal_models_is_that_of_wilson() -> None:
    """With nothing discordant Tango's bound is z^2 / (n + z^2): Wilson's for no event."""
    assert loss_bound(0, 0, 10_000) == pytest.approx(1.6448536**2 / (10_000 + 1.6448536**2))


def test_the_bound_is_tangos_published_one() -> None:
    """Fagerland et al. 2014, airway reactivity, 1 and 7 of 21: -0.517 to -0.026 at 95 %."""
    assert loss_bound(-6, 8, 21, confidence=0.975) == pytest.approx(-0.026, abs=5e-4)
    assert loss_bound(6, 8, 21, confidence=0.975) == pytest.approx(0.517, abs=5e-4)


@given(st.integers(0, 200), st.integers(0, 200))
def test_more_broken_images_never_lower_the_bound(broken: int, fixed: int) -> None:
    now = loss_bound(broken - fixed, broken + fixed, 10_000)
    assert now > (broken - fixed) / 10_000
    assert loss_bound(broken + 1 - fixed, broken + 1 + fixed, 10_000) > now


@pytest.mark.parametrize(
    ("broken", "fixed"), [(5, 0), (0, 5), (5, 5), (3, 2), *((0, n) for n in range(1, 50))]
)
def test_the_bound_stays_within_what_is_possible(broken: int, fixed: int) -> None:
    assert -1 <= loss_bound(broken - fixed, broken + fixed, broken + fixed) <= 1
