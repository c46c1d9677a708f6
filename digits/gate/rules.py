"""The gate's rules: limits for every model, and the loss allowed against a base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from digits.core.errors import InputError
from digits.core.params import Params, changes
from digits.gate.results import Run, Share

PER = 10_000  # images; the rules are counts per so many

Count = Annotated[int, Field(ge=0, le=2**63)]


class Limits(Params):
    """Limits for every model of a data source, independent of the base."""

    errors: Count  # images per 10,000
    class_errors: Count  # images per 10,000 of a class
    ece: Share
    nll: Annotated[float, Field(ge=0)]  # nats
    robustness: Share  # the least mean accuracy under the corruptions
    model_bytes: Count


class Rules(Params):
    """The `gate` section of params.yaml."""

    limits: dict[str, Limits]  # by data source
    max_loss: Annotated[int, Field(ge=1, le=PER)]  # images per 10,000
    small_sample: Literal["pass", "block"]
    seeds: tuple[Count, ...]  # the seeds that a candidate must have; empty: any


@dataclass(frozen=True)
class Limit:
    """A figure and its limit, which is a maximum, or a minimum if `at_least`."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def held(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def check_limits(runs: Sequence[Run], rules: Rules) -> list[Limit]:
    """Compare each run's figures with the limits of its data source.

    Raises `InputError` if the rules have no limits for the source.
    """
    compared = []
    for run in runs:
        s = run.scores
        if s.source not in rules.limits:
            raise InputError(
                f"{run.name}/evaluation.json: source is {s.source!r}, which has no limits; "
                f"expected one of: {', '.join(rules.limits) or 'none'} (gate.limits)"
            )
        limits = rules.limits[s.source]
        label = f" ({run.name})" if len(runs) > 1 else ""
        compared += [
            Limit(f"errors{label}", s.errors, limits.errors * s.images // PER),
            *(
                Limit(f"errors in {name}{label}", run.class_errors[name], allowed)
                for name, images in s.support.items()
                for allowed in [limits.class_errors * images // PER]
            ),
            Limit(f"ece{label}", s.ece, limits.ece),
            Limit(f"nll{label}", s.nll, limits.nll),
            Limit(f"robustness{label}", s.robustness["mean"], limits.robustness, at_least=True),
            Limit(f"model_bytes{label}", s.model_bytes, limits.model_bytes),
        ]
    return compared


def check_seeds(candidate: Sequence[Run], rules: Rules) -> None:
    """Raises `InputError` unless the candidate's runs have the seeds that the rules require.

    Copies of one run, with another seed written into each, are no runs.
    """
    seeds = sorted(run.seed for run in candidate if run.seed is not None)
    if rules.seeds and (seeds != sorted(rules.seeds) or len(seeds) < len(candidate)):
        raise InputError(
            f"gate.seeds requires runs with the seeds {list(rules.seeds)}; the candidate's have "
            f"{[run.seed for run in candidate]} (train.json: seed)"
        )
    models = [run.scores.model for run in candidate]
    copies = [run.name for run in candidate if models.count(run.scores.model) > 1]
    if rules.seeds and copies:
        raise InputError(
            f"gate.seeds requires a model for each seed, but {', '.join(copies)} describe the same "
            f"(evaluation.json: model)"
        )


def changed_rules(base: Rules, candidate: Rules) -> Mapping[str, tuple[object, object]]:
    """Rules that the candidate changes: dotted name -> (the base's, the candidate's)."""
    return changes(base.model_dump(), candidate.model_dump())
