"""Is a candidate fit to take a base's place? A pure function of their metrics and a rule set.

Five sentences hold it all. Only images that exactly one of two models gets wrong count. Where the
broken outnumber the fixed by more than luck (exact McNemar, two-sided p <= 0.05), it blocks. Where
the loss may be as large as `max_loss` (one-sided 95 % bound, Tango), it blocks. A class that loses
by more than luck (p <= 0.05 / classes), or a figure beyond its limit, blocks too. Where the sample
is too small for the bound to say anything, `small_sample` decides.

With several runs a side (seeds), the differences are summed image by image: see paired_test.py.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from math import sqrt
from statistics import mean, variance

from digits.core.errors import InputError
from digits.gate.paired_test import loss_bound, sign_flip_p
from digits.gate.results import Run
from digits.gate.rules import PER, Rules

LUCK = 0.05  # largest two-sided p-value that counts as more than luck
SEEDS_APART = 1.96  # standard errors
OVERDISPERSED = 1.3  # times the variance that images alone would make


@dataclass(frozen=True)
class Difference:
    """How the errors on some images differ between candidate and base.

    `broken` and `fixed` are images on which the candidate errs more often, or less often. `loss` is
    their balance, images a run; `p` is two-sided; `bound` is the loss's, images per 10,000.
    """

    images: int
    broken: int
    fixed: int
    loss: float
    p: float
    bound: float
    seeds_error: float | None  # standard error of the loss by the runs' own spread, if known


@dataclass(frozen=True)
class Judgement:
    """What a comparison found; it blocks where there is a reason to."""

    overall: Difference
    by_class: dict[str, Difference]
    errors: dict[str, list[int]]  # of each run, base and candidate
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    better: bool = False


def judge(base: Sequence[Run], candidate: Sequence[Run], rules: Rules, looks: int = 1) -> Judgement:
    """Compare a candidate's runs with a base's, image by image.

    Parameters
    ----------
    base, candidate : one or more runs a side, on the same test images
    rules : the base's
    looks : how often this test set has been looked at; "better" is claimed at 0.05 divided by it

    Raises
    ------
    InputError
        If the two sides do not speak of the same images, classes and metrics.
    """
    check_comparable([*base, *candidate])
    overall = difference(base, candidate)
    classes = {name: difference(base, candidate, name) for name in base[0].scores.support}
    too_few = small_sample(overall.images, rules)
    reasons = worse_than_luck("test images", overall, LUCK)
    for name, found in classes.items():
        reasons += worse_than_luck(f"class {name}", found, LUCK / len(classes))
    reasons += too_few if rules.small_sample == "block" else []
    reasons += [] if too_few else too_large_a_loss(overall, rules)
    reasons += leaks(base, candidate)
    notes = too_few if rules.small_sample == "pass" else []
    notes += seeds_wanted(base, candidate)
    better = overall.loss < 0 and overall.p <= LUCK / looks and beyond_seeds(overall)
    errors = {
        "base": [run.scores.errors for run in base],
        "candidate": [run.scores.errors for run in candidate],
    }
    return Judgement(overall, classes, errors, reasons, notes, better)


def check_comparable(runs: Sequence[Run]) -> None:
    """Raises `InputError` where two runs differ in test set, classes, metrics or labels."""
    first = runs[0]
    for other in runs[1:]:
        a, b = first.scores, other.scores
        for name, one, two in (
            ("test_set", a.test_set, b.test_set),
            ("images", a.images, b.images),
            ("support", a.support, b.support),
            ("the names in robustness", sorted(a.robustness), sorted(b.robustness)),
        ):
            if one != two:
                raise InputError(
                    f"{first.name} and {other.name} can't be compared: {name} differs, "
                    f"{one} and {two}"
                )
        for index in first.errors.keys() & other.errors.keys():
            one, two = first.errors[index].label, other.errors[index].label
            if one != two:
                raise InputError(
                    f"{first.name} and {other.name} can't be compared: in errors.csv, the label "
                    f"of image {index} is {one} and {two}"
                )


def balance(
    base: Sequence[Run], candidate: Sequence[Run], label: str | None = None
) -> Counter[int]:
    """By image, how many more errors the candidate's runs made, times the runs of the base."""
    counts = Counter[int]()
    for runs, weight in ((candidate, len(base)), (base, -len(candidate))):
        for run in runs:
            for index in run.wrong(label):
                counts[index] += weight
    return counts


def difference(
    base: Sequence[Run], candidate: Sequence[Run], label: str | None = None
) -> Difference:
    """Compare the errors on all images, or on those of one class."""
    counts = balance(base, candidate, label)
    scores = base[0].scores
    images = scores.images if label is None else scores.support[label]
    error = standard_error([[len(r.wrong(label)) for r in runs] for runs in (base, candidate)])
    return measure([d for d in counts.values() if d], images, len(base) * len(candidate), error)


def measure(
    differences: Sequence[int], images: int, pairs: int = 1, seeds_error: float | None = None
) -> Difference:
    """What differences say; `pairs` is the number of runs of one side times that of the other."""
    loss = sum(differences) / pairs
    discordance = sum(d * d for d in differences) / pairs**2
    return Difference(
        images=images,
        broken=sum(d > 0 for d in differences),
        fixed=sum(d < 0 for d in differences),
        loss=loss,
        p=sign_flip_p(differences),
        bound=PER * loss_bound(loss, discordance, images),
        seeds_error=seeds_error,
    )


def worse_than_luck(what: str, found: Difference, largest_p: float) -> list[str]:
    if found.loss > 0 and found.p <= largest_p and beyond_seeds(found):
        return [
            f"{what}: {found.broken} broken, {found.fixed} fixed is more than luck "
            f"(p = {found.p:.2g}, at most {largest_p:g})"
        ]
    return []


def too_large_a_loss(found: Difference, rules: Rules) -> list[str]:
    if found.bound >= rules.max_loss:
        return [
            f"the loss may be as large as {found.bound:.1f} images per 10,000 (95 % bound); "
            f"allowed is less than {rules.max_loss}"
        ]
    return []


def small_sample(images: int, rules: Rules) -> list[str]:
    """Where the bound would block even equal models, it can't tell."""
    if loss_bound(0, 0, images) * PER < rules.max_loss:
        return []
    return [
        f"{images} test images are too few to rule out a loss of {rules.max_loss} per 10,000, even "
        f"between equal models: that takes {smallest_sample(rules.max_loss)}"
    ]


def beyond_seeds(found: Difference) -> bool:
    """Whether the runs' own spread leaves room for chance; unknown with one run a side."""
    return found.seeds_error is None or abs(found.loss) > SEEDS_APART * found.seeds_error


def pooled_variance(sides: Sequence[Sequence[float]]) -> float | None:
    """Of the runs within their sides; None where each has but one."""
    freedom = sum(len(side) - 1 for side in sides)
    if freedom == 0:
        return None
    return sum((len(s) - 1) * variance(s) for s in sides if len(s) > 1) / freedom


def standard_error(sides: Sequence[Sequence[float]]) -> float | None:
    """Of the difference between two sides' means, by the runs' own spread, if it is known."""
    spread = pooled_variance(sides)
    return None if spread is None else sqrt(sum(spread / len(side) for side in sides))


def seeds_wanted(base: Sequence[Run], candidate: Sequence[Run]) -> list[str]:
    """Whether training varies by more than the images that two runs disagree about."""
    spread = pooled_variance([[run.scores.errors for run in runs] for runs in (base, candidate)])
    if spread is None or min(len(base), len(candidate)) >= 3:
        return []
    discordance = mean(len(b.wrong() ^ c.wrong()) for b, c in product(base, candidate))
    if 2 * spread <= OVERDISPERSED * discordance:
        return []
    return ["the runs of a side differ by more than their images explain: bring three seeds a side"]


def leaks(base: Sequence[Run], candidate: Sequence[Run]) -> list[str]:
    """Whether more test images are among the training images than before."""
    before = [run.duplicates for run in base if run.duplicates is not None]
    now = [run.duplicates for run in candidate if run.duplicates is not None]
    if before and not now:
        raise InputError(f"{candidate[0].name}: data.json is missing, which the base has")
    if before and max(now) > max(before):
        return [
            f"{max(now)} test images are also among the training images; in the base {max(before)}"
        ]
    return []


def smallest_sample(max_loss: int) -> int:
    """Test images from which on the bound lets equal models pass."""
    low, high = 1, 10 * PER
    while low < high:
        middle = (low + high) // 2
        if loss_bound(0, 0, middle) * PER >= max_loss:
            low = middle + 1
        else:
            high = middle
    return low
