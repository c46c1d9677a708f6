"""How far a model's answers have drifted from the answers in its evaluation.

Answers are counted by predicted class, and by confidence in bins between the edges below.
"""

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

# Upper edges, inclusive. They are closest near 1, where most answers of a good model are.
EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)


def bins(confidence: Iterable[float]) -> list[int]:
    """Find each confidence's bin, as a position in `EDGES`."""
    return [bisect_left(EDGES, value, hi=len(EDGES) - 1) for value in confidence]


def distance(counts: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Total variation distance: the share of answers that must change to make both equal.

    Parameters
    ----------
    counts, others : numbers of answers (k,), in the same order, not all zero

    Returns
    -------
    float in [0, 1]; for n answers of an unchanged distribution, chance alone makes it about
    0.4 * sqrt(k / n)
    """
    one, other = np.asarray(counts, np.float64), np.asarray(others, np.float64)
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)
