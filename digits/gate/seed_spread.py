"""Runs that differ only in the seed vary: how much can their means differ by chance?

Student's t distribution: a spread that is estimated from few runs is itself uncertain, so the fewer
runs there are, the larger the difference must be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev, variance

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanDifference:
    """How well the difference of two sides' means is known.

    error : its standard error
    freedom : degrees of freedom of this error; rarely a whole number
    """

    error: float
    freedom: float

    @property
    def margin(self) -> float:
        """Half the width of the difference's 95 % confidence interval."""
        return quantile(self.freedom) * self.error


def mean_difference(one: Sequence[float], other: Sequence[float]) -> MeanDifference | None:
    """Estimate how well the runs tell the difference of two sides' means.

    Welch's t test: the sides may vary differently. A side of one run has no spread of its own, so
    it is taken to vary as the other side does, with the other side's degrees of freedom.

    Parameters
    ----------
    one, other : a figure of each run; one or more runs a side

    Returns
    -------
    None if the spread is unknown: each side has one run, or the runs of a side are all equal.

    References
    ----------
    Welch 1947, The generalization of Student's problem when several different population variances
    are involved, Biometrika 34; Satterthwaite 1946 for the degrees of freedom.
    """
    spreads = [variance(side) for side in (one, other) if len(side) > 1]
    if not any(spreads):
        return None
    if len(spreads) == 1:
        runs = max(len(one), len(other))
        return MeanDifference(math.sqrt(spreads[0] * (1 + 1 / runs)), runs - 1)
    shares = [spread / len(side) for spread, side in zip(spreads, (one, other), strict=True)]
    total = sum(shares)
    freedom = 1 / sum(
        (share / total) ** 2 / (len(side) - 1)
        for share, side in zip(shares, (one, other), strict=True)
    )
    return MeanDifference(math.sqrt(total), freedom)


def mean_margin(values: Sequence[float]) -> float | None:
    """Half the width of the mean's 95 % confidence interval; None for one value."""
    if len(values) < 2:
        return None
    return quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))


def quantile(freedom: float) -> float:
    """Standard errors on each side of an estimate that hold 95 % of Student's t distribution."""
    import scipy  # 0.1 s with NumPy, of which a --help has no need

    return float(scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2))
