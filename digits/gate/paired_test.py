"""Two models on the same images: is the difference in their errors a real loss, or luck?

Only the images on which the models disagree count. `differences` holds one integer for each of
them: the candidate's errors on the image minus the base's. Each side's errors are multiplied by the
number of runs of the other side, so the sides may have different numbers of runs. With one run on
each side, the integer is 1 for a broken image and -1 for a fixed one.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import NormalDist


def sign_flip_p(differences: Iterable[int]) -> float:
    """Two-sided p-value of the null hypothesis that the differences' signs are random.

    Exact: it uses the distribution of the sum over all ways to flip the signs. If all differences
    are 1 or -1, this is McNemar's exact test.

    Parameters
    ----------
    differences : integers; zeros are ignored

    Returns
    -------
    float in (0, 1]

    References
    ----------
    McNemar 1947; Fisher 1935, The Design of Experiments, section 21.
    """
    import numpy as np  # 0.1 s, of which a --help has no need

    signed = [d for d in differences if d]
    total = sum(signed)
    sizes = Counter(abs(d) for d in signed)
    probabilities = np.ones(1)  # of each sum from -reach to reach, in steps of 1
    for size, count in sizes.items():
        part = np.zeros(2 * size * count + 1)
        part[:: 2 * size] = [ways / 2**count for ways in _binomial_coefficients(count)]
        probabilities = np.convolve(probabilities, part)
    reach = len(probabilities) // 2
    tail = probabilities[reach + abs(total) :].sum()
    return float(min(1.0, 2 * tail))


def _binomial_coefficients(n: int) -> Iterator[int]:
    """`math.comb(n, k)` for k from 0 to n, each from the one before."""
    found = 1
    for k in range(n + 1):
        yield found
        found = found * (n - k) // (k + 1)


def loss_bound(loss: float, discordance: float, images: int, confidence: float = 0.95) -> float:
    """One-sided upper confidence bound of the loss, as a share of the images.

    Tango's score interval for a paired difference of proportions. With one run on each side, loss
    and discordance are counts; with several, they are those of the runs' mean.

    Parameters
    ----------
    loss : broken minus fixed images
    discordance : broken plus fixed images: the variance of the loss
    images : number of images in the test set
    confidence : level of the bound

    Returns
    -------
    float in [-1, 1]

    References
    ----------
    Tango 1998, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17.
    """
    import scipy  # as above

    discordance = max(discordance, abs(loss))  # the least that whole images allow
    fixed = (discordance - loss) / 2
    z = NormalDist().inv_cdf(confidence)

    def excess(bound: float) -> float:
        b = (2 * images - loss) * bound - discordance
        c = -fixed * bound * (1 - bound)
        root = math.sqrt(max(b * b - 8 * images * c, 0.0))  # rounding may leave less than 0
        rate = (root - b) / (4 * images)  # of fixed images, under this bound
        variance = images * (2 * rate + bound * (1 - bound))
        return loss - images * bound + z * math.sqrt(max(variance, 0.0))

    lowest = loss / images + 1e-9  # the loss itself is a root if no image is discordant
    return float(scipy.optimize.brentq(excess, lowest, 1.0, xtol=1e-12)) if lowest < 1 else 1.0
