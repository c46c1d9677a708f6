"""What changed between two models, as a report shows it; `judge` says whether that is allowed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from digits.gate.judge import LUCK, SEEDS_APART, Difference, balance, beyond_seeds, standard_error
from digits.gate.results import Run

Unit = Literal["images", "share", "decimal", "count"]  # a share is shown in percent
Mark = Literal["same", "noise", "better", "worse", "untested"]


@dataclass(frozen=True)
class Figure:
    """A figure of both sides, as means over their runs; `before` is None without a base.

    `mark` tells noise from change: "untested" where the files leave no way to tell.
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
    """An image that a model gets wrong: true class, its answer, and its confidence in it."""

    index: int  # position among the test images
    label: str
    predicted: str
    confidence: float


def figures(
    base: Sequence[Run], candidate: Sequence[Run], overall: Difference | None
) -> list[Figure]:
    """The figures of two sides, best known first.

    Errors and accuracy are noise where the gate's paired test says so. Others are noise within
    1.96 standard errors by the runs' own spread, where a side has several: one run a side does not
    tell how far such a figure moves from training to training.

    Parameters
    ----------
    base : runs; empty where there is none
    candidate : one or more runs
    overall : what the gate found on all images; None without a base
    """

    def figure(
        name: str, unit: Unit, value: Callable[[Run], float], *, less: bool, paired: bool = False
    ) -> Figure:
        sides = [[value(run) for run in runs] for runs in (base, candidate) if runs]
        after = mean(sides[-1])
        if not base or overall is None:
            return Figure(name, unit, None, after, None)
        before = mean(sides[0])
        if before == after:
            return Figure(name, unit, before, after, "same")
        noise: bool | None
        if unit == "count":
            noise = False
        elif paired:
            noise = not (overall.p <= LUCK and beyond_seeds(overall))
        else:
            error = standard_error(sides)
            noise = None if error is None else abs(after - before) <= SEEDS_APART * error
        if noise is None:
            return Figure(name, unit, before, after, "untested")
        better = (after < before) == less
        return Figure(
            name, unit, before, after, "noise" if noise else "better" if better else "worse"
        )

    return [
        figure("errors", "images", lambda r: r.scores.errors, less=True, paired=True),
        figure("accuracy", "share", lambda r: r.scores.accuracy, less=False, paired=True),
        figure("nll", "decimal", lambda r: r.scores.nll, less=True),
        figure("ece", "decimal", lambda r: r.scores.ece, less=True),
        figure("robustness", "share", lambda r: r.scores.robustness["mean"], less=False),
        figure("weights", "count", lambda r: r.scores.parameters, less=True),
        figure("bytes", "count", lambda r: r.scores.model_bytes, less=True),
    ]


def changed_images(
    base: Sequence[Run], candidate: Sequence[Run]
) -> tuple[list[Answer], list[Answer]]:
    """Images that the candidate broke, and those that it fixed.

    Each with the answer of the model that errs, the most confident one first.
    """
    counts = balance(base, candidate)
    broken = {index for index, n in counts.items() if n > 0}
    fixed = {index for index, n in counts.items() if n < 0}
    return _answers(candidate, broken), _answers(base, fixed)


def contested(runs: Sequence[Run]) -> list[int]:
    """Images that some of the runs get wrong and some do not, those that most get wrong first."""
    counts = Counter(index for run in runs for index in run.errors)
    return sorted(
        (index for index, n in counts.items() if n < len(runs)), key=lambda i: (-counts[i], i)
    )


def worst(candidate: Sequence[Run]) -> list[Answer]:
    """Every image that the first run gets wrong, the most confident answer first."""
    return _answers(candidate[:1], candidate[0].wrong())


def _answers(runs: Sequence[Run], indices: set[int]) -> list[Answer]:
    found = []
    for index in indices:
        errors = [run.errors[index] for run in runs if index in run.errors]
        e = max(errors, key=lambda error: error.confidence)
        found.append(Answer(index, e.label, e.predicted, e.confidence))
    return sorted(found, key=lambda answer: (-answer.confidence, answer.index))


def confusion(run: Run) -> Mapping[str, Mapping[str, int]]:
    """Images by true class, then by predicted class."""
    classes = run.scores.support
    found = {label: dict.fromkeys(classes, 0) for label in classes}
    for label, images in classes.items():
        found[label][label] = images - run.class_errors[label]
    for error in run.errors.values():
        found[error.label][error.predicted] += 1
    return found


def shown(figure: Figure, value: float | None) -> str:
    """A figure's value for a person: shares in percent."""
    if value is None:
        return ""
    match figure.unit:
        case "share":
            return f"{value:.2%}".replace("%", " %")
        case "decimal":
            return f"{value:.4f}"
    return f"{value:,.1f}".removesuffix(".0")


def shown_change(figure: Figure) -> str:
    """A figure's change for a person: shares in percentage points."""
    if not figure.change:
        return ""
    sign, size = "\N{MINUS SIGN}" if figure.change < 0 else "+", abs(figure.change)
    match figure.unit:
        case "share":
            return f"{sign}{100 * size:.2f} points"
        case "decimal":
            return f"{sign}{size:.4f}"
    return f"{sign}{size:,.1f}".removesuffix(".0")
