"""Compare each setting of a sweep with the default."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from digits.core.errors import InputError
from digits.gate import diff, judge
from digits.gate.diff import Figure
from digits.gate.judge import Difference
from digits.gate.results import Run
from digits.gate.seed_spread import mean_margin
from ops.sweep.settings import DEFAULT, Setting


@dataclass(frozen=True)
class Outcome:
    """A setting's runs, and how they differ from the default's runs.

    `difference` is None for the default, if the default has no runs, and if the test images differ.
    """

    setting: Setting
    runs: list[Run]
    difference: Difference | None
    figures: dict[str, Figure]  # by name

    @property
    def is_default(self) -> bool:
        return self.setting.name == DEFAULT

    @property
    def accuracies(self) -> list[float]:
        return [run.scores.accuracy for run in self.runs]

    @property
    def mean(self) -> float:
        """Accuracy over the seeds."""
        return mean(self.accuracies)

    @property
    def margin(self) -> float | None:
        """Half the width of the mean's 95 % interval."""
        return mean_margin(self.accuracies)

    @property
    def mark(self) -> str:
        """The gate's mark for the difference in errors: better, worse, noise, or empty."""
        return self.figures["errors"].mark or ""


def compare(settings: Sequence[tuple[Setting, list[Run]]]) -> list[Outcome]:
    """Compare each setting that has runs with the first one, the default, by the gate's test."""
    default = settings[0][1]
    outcomes = []
    for setting, runs in settings:
        if runs:
            difference = _difference(default, runs) if runs is not default else None
            figures = diff.figures(default if difference else [], runs, difference)
            outcomes.append(Outcome(setting, runs, difference, {f.name: f for f in figures}))
    return outcomes


def _difference(default: Sequence[Run], runs: Sequence[Run]) -> Difference | None:
    if not default:
        return None
    try:
        judge.check_comparable([*default, *runs])
    except InputError:
        return None
    return judge.difference(default, runs)
