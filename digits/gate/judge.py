"""May a candidate replace a base? A pure function of their metrics and the rules.

Only images that exactly one of the two models gets wrong count. The gate blocks a candidate if

- it broke more images than it fixed, by more than luck (exact McNemar, two-sided p <= 0.05);
- it broke more images of one class than it fixed, by more than luck (p <= 0.05 / classes);
- its loss may be as large as `max_loss` (one-sided 95 % bound, Tango);
- more test images are also training images than before.

If the test set is too small for this bound, the rule `small_sample` decides. rules.py has the
limits that no candidate may exceed, whatever its base. With several runs on each side (seeds), the
differences are summed for each image: see paired_test.py.

The spread of several runs is a second estimate of luck, and a poor one if there are few runs. To
call a candidate better, the gain must exceed it with 95 % confidence (Student's t: seed_spread.py).
To excuse a loss, it must be within 1.96 standard errors, as if the spread were known. So a spread
that is hardly known neither proves a gain nor excuses a loss.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import mean, variance
from typing import Literal

from digits.core.errors import InputError
from digits.gate.paired_test import loss_bound, sign_flip_p
from digits.gate.results import Run
from digits.gate.rules import PER, Rules
from digits.gate.seed_spread import MeanDifference, mean_difference

ALPHA = 0.05  # the largest two-sided p-value that counts as more than luck
Z_95 = 1.96  # standard errors of the runs' spread within which a loss may be luck
OVERDISPERSION = 1.3  # times the variance that the images alone explain

Kind = Literal["images", "class", "bound", "small_sample", "duplicates"]


@dataclass(frozen=True)
class Reason:
    """A reason to block: the rule that decided, as listed above, and its finding."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Difference:
    """The difference in errors between candidate and base, on all images or on one class.

    broken, fixed : images on which the candidate errs more often, and less often, than the base
    loss : broken minus fixed, images per run
    p : two-sided
    bound : upper 95 % bound of the loss, images per 10,000
    seeds_error : standard error of the loss by the spread of the runs; None if that is unknown
    seeds_margin : half the width of the 95 % interval of the loss, by the same spread
    """

    images: int
    broken: int
    fixed: int
    loss: float
    p: float
    bound: float
    seeds_error: float | None
    seeds_margin: float | None

    @property
    def is_loss(self) -> bool:
        """Whether the gate blocks this difference if its p-value is small enough."""
        return self.loss > 0 and (self.seeds_error is None or self.loss > Z_95 * self.seeds_error)

    @property
    def is_gain(self) -> bool:
        """Whether this difference may be called better if its p-value is small enough."""
        return self.loss < 0 and (self.seeds_margin is None or -self.loss > self.seeds_margin)


@dataclass(frozen=True)
class Judgement:
    """The result of a comparison; a candidate is blocked if there are `reasons`."""

    overall: Difference
    by_class: dict[str, Difference]
    errors: dict[str, list[int]]  # of each run, base and candidate
    reasons: list[Reason] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    better: bool = False
    excused: bool = False  # too few images to rule out a forbidden loss, which the rules let pass


def judge(base: Sequence[Run], candidate: Sequence[Run], rules: Rules, looks: int = 1) -> Judgement:
    """Compare a candidate's runs with a base's, image by image.

    Parameters
    ----------
    base, candidate : one or more runs a side, on the same test images
    rules : the base's
    looks : number of comparisons on this test set; "better" requires p <= 0.05 / looks

    Raises
    ------
    InputError
        If the two sides do not have the same images, classes and metrics.
    """
    check_comparable([*base, *candidate])
    overall = difference(base, candidate)
    classes = {name: difference(base, candidate, name) for name in base[0].scores.support}
    too_few = small_sample(overall.images, rules)
    losses = [
        text
        for name, of_class in classes.items()
        for text in worse_than_luck(f"class {name}", of_class, ALPHA / len(classes))
    ]
    findings: dict[Kind, list[str]] = {
        "images": worse_than_luck("test images", overall, ALPHA),
        "class": losses,
        "small_sample": too_few if rules.small_sample == "block" else [],
        "bound": [] if too_few else too_large_a_loss(overall, rules),
        "duplicates": leaks(base, candidate),
    }
    reasons = [Reason(kind, text) for kind, texts in findings.items() for text in texts]
    excused = too_few if rules.small_sample == "pass" else []
    notes = excused + seeds_wanted(base, candidate)
    better = overall.is_gain and overall.p <= ALPHA / looks
    errors = {
        "base": [run.scores.errors for run in base],
        "candidate": [run.scores.errors for run in candidate],
    }
    return Judgement(overall, classes, errors, reasons, notes, better, bool(excused))


def check_comparable(runs: Sequence[Run]) -> None:
    """Raises `InputError` if two runs differ in test set, classes, metrics or labels."""
    first = runs[0]
    for other in runs[1:]:
        a, b = first.scores, other.scores
        for name, one, two in (
            ("source", a.source, b.source),  # it decides which limits apply
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


def error_differences(
    base: Sequence[Run], candidate: Sequence[Run], label: str | None = None
) -> Counter[int]:
    """By image, the candidate's errors minus the base's, as paired_test.py describes them."""
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
    counts = error_differences(base, candidate, label)
    scores = base[0].scores
    images = scores.images if label is None else scores.support[label]
    spread = mean_difference(*[[len(r.wrong(label)) for r in runs] for runs in (base, candidate)])
    return measure([d for d in counts.values() if d], images, len(base) * len(candidate), spread)


def measure(
    differences: Sequence[int], images: int, pairs: int = 1, spread: MeanDifference | None = None
) -> Difference:
    """Test differences.

    Parameters
    ----------
    differences : one integer for each image on which the runs disagree: see paired_test.py
    images : number of images in the test set
    pairs : the number of runs of one side times that of the other
    spread : of the runs' numbers of errors; None if it is unknown
    """
    loss = sum(differences) / pairs
    discordance = sum(d * d for d in differences) / pairs**2
    return Difference(
        images=images,
        broken=sum(d > 0 for d in differences),
        fixed=sum(d < 0 for d in differences),
        loss=loss,
        p=sign_flip_p(differences),
        bound=PER * loss_bound(loss, discordance, images),
        seeds_error=spread.error if spread else None,
        seeds_margin=spread.margin if spread else None,
    )


def worse_than_luck(subject: str, measured: Difference, largest_p: float) -> list[str]:
    if measured.is_loss and measured.p <= largest_p:
        return [
            f"{subject}: {measured.broken} broken and {measured.fixed} fixed, more than by chance "
            f"(p = {measured.p:.2g}, limit {largest_p:g})"
        ]
    return []


def too_large_a_loss(measured: Difference, rules: Rules) -> list[str]:
    if measured.bound >= rules.max_loss:
        return [
            f"the loss may be as large as {measured.bound:.1f} images per 10,000 (95 % bound); "
            f"allowed is less than {rules.max_loss}"
        ]
    return []


def small_sample(images: int, rules: Rules) -> list[str]:
    """Note a test set that is so small that the bound would block even equal models."""
    if loss_bound(0, 0, images) * PER < rules.max_loss:
        return []
    return [
        f"{images} test images are too few to rule out a loss of {rules.max_loss} per 10,000, even "
        f"between equal models; at least {smallest_sample(rules.max_loss)} are needed"
    ]


def pooled_variance(sides: Sequence[Sequence[float]]) -> float | None:
    """Variance of the runs within their sides; None if each side has one run."""
    freedom = sum(len(side) - 1 for side in sides)
    if freedom == 0:
        return None
    return sum((len(s) - 1) * variance(s) for s in sides if len(s) > 1) / freedom


def seeds_wanted(base: Sequence[Run], candidate: Sequence[Run]) -> list[str]:
    """Note that training varies more than the images on which two runs disagree explain."""
    spread = pooled_variance([[run.scores.errors for run in runs] for runs in (base, candidate)])
    if spread is None or min(len(base), len(candidate)) >= 3:
        return []
    discordance = mean(len(b.wrong() ^ c.wrong()) for b, c in product(base, candidate))
    if 2 * spread <= OVERDISPERSION * discordance:
        return []
    return [
        "the runs of a side differ by more than their images explain: use three seeds on each side"
    ]


def leaks(base: Sequence[Run], candidate: Sequence[Run]) -> list[str]:
    """Find out whether more test images are also training images than in the base."""
    before = [run.duplicates for run in base if run.duplicates is not None]
    now = [run.duplicates for run in candidate if run.duplicates is not None]
    lacking = [run.name for run in candidate if run.duplicates is None]
    if before and lacking:
        raise InputError(f"{lacking[0]}: data.json is missing, but the base has one")
    if not before and max(now, default=0) > 0:
        raise InputError(
            f"{base[0].name}: data.json is missing, so it is unknown whether the candidate has "
            f"more test images that are also training images"
        )
    if before and max(now) > max(before):
        return [
            f"{max(now)} test images are also among the training images; in the base, "
            f"{max(before)} are"
        ]
    return []


def smallest_sample(max_loss: int) -> int:
    """The smallest number of test images with which the bound lets equal models pass."""
    sizes = range(1, 10 * PER)
    return sizes[bisect_left(sizes, True, key=lambda n: loss_bound(0, 0, n) * PER < max_loss)]
