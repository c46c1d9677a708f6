"""How far a model's answers have moved away from those that its evaluation counted.

Answers are counted by predicted class, and by confidence between the edges below.
"""

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

# Upper edges, inclusive. They are close where a good model is: nearly sure.
EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)


def bins(confidence: Iterable[float]) -> list[int]:
    """Positions in `EDGES` of fractions."""
    return [bisect_left(EDGES, each, hi=len(EDGES) - 1) for each in confidence]


def distance(counts: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Total variation: the share of answers that would have to change to make both alike.

    Parameters
    ----------
    counts, others : numbers of answers (k,), not all zero; in the same order

    Returns
    -------
    float in [0, 1]. Of n answers like the others', about 0.4 * sqrt(k / n) is chance.
    """
    one, other = (np.asarray(each, np.float64) for each in (counts, others))
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)
