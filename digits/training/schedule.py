"""The learning rate schedule, as a pure function of the step."""

import math
from typing import Annotated, Literal

from pydantic import Field

from digits.core.params import Params

Fraction = Annotated[float, Field(ge=0, le=1)]


class StepDecay(Params):
    """Multiply by `gamma` every `every` epochs."""

    every: Annotated[int, Field(ge=1)]
    gamma: Annotated[float, Field(gt=0, le=1)]


class Cosine(Params):
    """Fall along half a cosine to `final` times the learning rate (Loshchilov & Hutter 2017)."""

    final: Fraction


class OneCycle(Params):
    """Rise linearly over the first `warmup` of all steps, fall linearly to `final` times the peak.

    After Smith 2018, but with straight lines.
    """

    warmup: Fraction
    final: Fraction


class Schedule(Params):
    """The chosen schedule, and the settings of each."""

    name: Literal["constant", "step", "cosine", "onecycle"]
    step: StepDecay
    cosine: Cosine
    onecycle: OneCycle


def learning_rate_factor(schedule: Schedule, step: int, steps: int, steps_per_epoch: int) -> float:
    """The factor by which the learning rate is multiplied in a step.

    Parameters
    ----------
    schedule : name and settings
    step : from 0
    steps : number of steps in the whole training
    steps_per_epoch : number of batches in an epoch

    Returns
    -------
    float in [0, 1]
    """
    progress = (step + 0.5) / steps
    match schedule.name:
        case "constant":
            return 1.0
        case "step":
            return schedule.step.gamma ** (step // steps_per_epoch // schedule.step.every)
        case "cosine":
            final = schedule.cosine.final
            return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
        case "onecycle":
            warmup, final = schedule.onecycle.warmup, schedule.onecycle.final
            if progress <= warmup:
                return progress / warmup
            return final + (1 - final) * (1 - progress) / (1 - warmup)
