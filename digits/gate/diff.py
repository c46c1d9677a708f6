"""What changed between two models, for reports; judge.py decides whether it is allowed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from digits.gate.judge import ALPHA, Difference, error_differences
from digits.gate.results import Error, Run
from digits.gate.seed_spread import mean_difference

Unit = Literal["images", "share", "decimal", "count"]  # a share is shown in percent
Mark = Literal["same", "noise", "better", "worse", "untested"]

UNITS: dict[str, Unit] = {
    "errors": "images",
    "accuracy": "share",
    "nll": "decimal",
    "ece": "decimal",
    "robustness": "share",
    "weights": "count",
    "bytes": "count",
}


@dataclass(frozen=True)
class Figure:
    """A figure of both sides, each the mean over its runs; `before` is None without a base.

    `mark` says whether the change is noise; "untested" if the metrics files cannot tell.
    """

    name: str
    unit: Unit
    before: float | None
    after: float
    mark: Mark | None

    @property
    def change(self) -> float | None:
        return None if self.before is None else self.after - self.before


@dataclass(frozen=True)
class Answer:
    """A misclassified image: true class, predicted class, and the confidence of the prediction."""

    index: int  # position among the test images
    label: str
    predicted: str
    confidence: float


def figures(
    base: Sequence[Run], candidate: Sequence[Run], overall: Difference | None
) -> list[Figure]:
    """Compare the figures of two sides, the best-known figures first.

    A change in errors or accuracy is noise if the gate's paired test says so. A change in another
    figure is noise within its 95 % interval, by the spread of the runs (Welch's t test). With one
    run on each side this spread is unknown, and the change is untested.

    Parameters
    ----------
    base : runs; empty where there is none
    candidate : one or more runs
    overall : the gate's comparison on all images; None without a base
    """

    def figure(
        name: str, value: Callable[[Run], float], *, less: bool, paired: bool = False
    ) -> Figure:
        unit = UNITS[name]
        sides = [[value(run) for run in runs] for runs in (base, candidate) if runs]
        after = mean(sides[-1])
        if overall is None:
            return Figure(name, unit, None, after, None)
        before = mean(sides[0])
        mark: Mark = "better" if (after < before) == less else "worse"
        if before == after:
            mark = "same"
        elif paired:
            if overall.p > ALPHA or not (overall.is_loss or overall.is_gain):
                mark = "noise"
        elif unit != "count":
            spread = mean_difference(*sides)
            if spread is None:
                mark = "untested"
            elif abs(after - before) <= spread.margin:
                mark = "noise"
        return Figure(name, unit, before, after, mark)

    return [
        figure("errors", lambda r: r.scores.errors, less=True, paired=True),
        figure("accuracy", lambda r: r.scores.accuracy, less=False, paired=True),
        figure("nll", lambda r: r.scores.nll, less=True),
        figure("ece", lambda r: r.scores.ece, less=True),
        figure("robustness", lambda r: r.scores.robustness["mean"], less=False),
        figure("weights", lambda r: r.scores.parameters, less=True),
        figure("bytes", lambda r: r.scores.model_bytes, less=True),
    ]


def changed_images(
    base: Sequence[Run], candidate: Sequence[Run]
) -> tuple[list[Answer], list[Answer]]:
    """Images that the candidate broke, and images that it fixed, the most confident answer first.

    The answer is that of the model that errs.
    """
    counts = error_differences(base, candidate)
    broken = {index for index, n in counts.items() if n > 0}
    fixed = {index for index, n in counts.items() if n < 0}
    return _answers(candidate, broken), _answers(base, fixed)


def _answers(runs: Sequence[Run], indices: set[int]) -> list[Answer]:
    errors = {}
    for index in indices:
        of_image = [run.errors[index] for run in runs if index in run.errors]
        errors[index] = max(of_image, key=lambda error: error.confidence)
    return worst(errors)


def worst(errors: Mapping[int, Error]) -> list[Answer]:
    """Misclassified images, by their position; the most confident answer first."""
    answers = [Answer(i, e.label, e.predicted, e.confidence) for i, e in errors.items()]
    return sorted(answers, key=lambda answer: (-answer.confidence, answer.index))


def contested(runs: Sequence[Run]) -> list[int]:
    """Images that some runs misclassify and others do not; most often misclassified first."""
    counts = Counter(index for run in runs for index in run.errors)
    return sorted(
        (index for index, n in counts.items() if n < len(runs)), key=lambda i: (-counts[i], i)
    )


def confusion(
    support: Mapping[str, int], errors: Iterable[Error]
) -> Mapping[str, Mapping[str, int]]:
    """Number of images by true class, then by predicted class.

    Parameters
    ----------
    support : number of images by class
    errors : the misclassified images
    """
    counts = {label: dict.fromkeys(support, 0) for label in support}
    for label, images in support.items():
        counts[label][label] = images
    for error in errors:
        counts[error.label][error.label] -= 1
        counts[error.label][error.predicted] += 1
    return counts


def shown(figure: Figure, value: float | None) -> str:
    """Format a figure's value for a person; shares are in percent."""
    if value is None:
        return ""
    match figure.unit:
        case "share":
            return f"{value:.2%}".replace("%", " %")
        case "decimal":
            return f"{value:.4f}"
    return f"{value:,.1f}".removesuffix(".0")


def shown_change(figure: Figure) -> str:
    """Format a figure's change for a person; shares are in percentage points."""
    if not figure.change:
        return ""
    sign, size = "\N{MINUS SIGN}" if figure.change < 0 else "+", abs(figure.change)
    return sign + (f"{100 * size:.2f} points" if figure.unit == "share" else shown(figure, size))
