import numpy as np
import pytest

from digits.evaluation import drift


def test_a_confidence_falls_below_the_edge_that_it_reaches() -> None:
    found = drift.bins([0.1, 0.5, 0.500001, 0.99, 0.9991, 1.0, 1.0000001])  # rounded up
    assert found == [0, 0, 1, 6, 9, 9, 9]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [10, 20, 30], 0.0),
        ([1, 0], [0, 7], 1.0),
        ([5, 5], [10, 0], 0.5),
        ([50, 25, 25], [25, 50, 25], 0.25),
    ],
)
def test_distance_is_the_share_that_would_have_to_change(
    one: list[int], other: list[int], expected: float
) -> None:
    assert drift.distance(one, other) == pytest.approx(expected)
    assert drift.distance(other, one) == pytest.approx(expected)


@pytest.mark.parametrize(("k", "n"), [(10, 1000), (10, 100)])
def test_chance_makes_as_much_as_is_stated(k: int, n: int) -> None:
    random = np.random.default_rng(0)
    found = [drift.distance(random.multinomial(n, [1 / k] * k), [1] * k) for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.4 * np.sqrt(k / n), rel=0.1)
