"""A sweep: settings of the parameters, each run with several seeds, and what came of them."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import scipy
from pydantic import Field

from digits import comparison, gate, params, presets
from digits.comparison import Figure
from digits.errors import InputError
from digits.gate import Difference
from digits.params import Params
from digits.runs import Run

DEFAULT = "default"
SEED = "train.seed"
LONGEST = 80  # characters of a setting in an experiment's name
CONFIDENCE = 0.95

Count = Annotated[int, Field(ge=0)]
Overrides = dict[str, Any]


class SweepFile(Params):
    """What a sweep's file may hold; overrides are dotted or nested, and may begin at a `preset`."""

    seeds: Annotated[int, Field(ge=1)] | tuple[Count, ...] = 3  # how many, or which
    always: Overrides = Field({})  # in every run
    grid: Overrides = Field({})  # a list of values for each key: every combination
    settings: tuple[Overrides, ...] = ()  # beside the grid


@dataclass(frozen=True, eq=False)
class Setting:
    """Overrides by dotted key, what a person calls them, and the parameters that come of them."""

    name: str
    label: str
    changes: Overrides
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """The first setting is the default."""

    name: str
    settings: list[Setting]
    seeds: list[int]


@dataclass(frozen=True)
class Outcome:
    """A setting's runs, and how they differ from the default's.

    `difference` is None for the default, and where the test images are not the same.
    """

    setting: Setting
    runs: list[Run]
    difference: Difference | None
    figures: dict[str, Figure]  # by name

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
        return margin(self.accuracies)

    @property
    def mark(self) -> str:
        """What the gate's test says of the difference in errors."""
        return self.figures["errors"].mark or ""


def load(path: Path, document: Mapping[str, Any]) -> Sweep:
    """Read a sweep's file, over the parameters that its settings change.

    Raises
    ------
    InputError
        If a key is unknown or a setting no valid one; names it.
    """
    raw = params.read_yaml(path)
    file = SweepFile.parse(raw, path)
    seeds = list(range(file.seeds)) if isinstance(file.seeds, int) else list(file.seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: seeds is {seeds}; expected different numbers, one at least")
    try:
        settings = _settings(raw, document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    name = re.sub(r"[^\w+-]+", "_", path.stem)
    return Sweep(name, settings, seeds)


def _settings(raw: Mapping[str, Any], document: Mapping[str, Any]) -> list[Setting]:
    """The default, the grid's and those of the list; what comes to the same parameters, once."""
    always = _overrides(raw.get("always", {}))
    found: list[Setting] = []
    for asked in itertools.chain([{}], _grid(raw.get("grid", {})), raw.get("settings", [])):
        label, changes = _label(asked, document), always | _overrides(asked)
        if SEED in changes:
            raise InputError(f"{SEED} is set by seeds; leave it out of the overrides")
        result = presets.override(document, changes)
        same = next((i for i, other in enumerate(found) if other.params == result), None)
        if same is None:
            found.append(Setting(_name(label), label, changes, result))
        elif same == 0:  # a value of the grid that is the default's
            found[0] = Setting(DEFAULT, f"{label} ({DEFAULT})", found[0].changes, result)
    return found


def _grid(grid: Mapping[str, Any]) -> Iterator[Overrides]:
    choices: list[list[tuple[str, Any]]] = []
    for key, values in presets.flat(grid).items():
        if not isinstance(values, list) or not values:
            raise InputError(f"grid.{key} is {values!r}; expected a list of values")
        choices.append([(key, value) for value in values])
    if choices:
        yield from map(dict, itertools.product(*choices))


def _overrides(asked: Mapping[str, Any]) -> Overrides:
    """By dotted key; those of a preset that is named come first."""
    own = {key: value for key, value in asked.items() if key != "preset"}
    preset = presets.load(asked["preset"]) if "preset" in asked else {}
    return preset | presets.flat(own)


def _label(asked: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    words = [
        str(value) if key == "preset" else f"{_short(key, document)}={presets.shown(value)}"
        for key, value in presets.flat(asked).items()
    ]
    return ", ".join(words) or DEFAULT


def _short(key: str, document: Mapping[str, Any]) -> str:
    """As many of a key's last parts as no other parameter ends with."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        short = ".".join(parts[-count:])
        if sum(f".{other}".endswith(f".{short}") for other in presets.flat(document)) == 1:
            return short
    return key


def _name(label: str) -> str:
    """A label as a part of a Git reference."""
    name = re.sub(r"[^\w.=+-]+", "_", re.sub(r"[][{}\"]", "", label)).replace("..", "_")
    if len(name) > LONGEST:
        digest = hashlib.sha256(label.encode()).hexdigest()
        name = f"{name[: LONGEST - 9]}-{digest[:8]}"
    return name


def outcomes(settings: Sequence[tuple[Setting, list[Run]]]) -> list[Outcome]:
    """Each setting that has runs, beside the first, the default, by the gate's own test."""
    default = settings[0][1]
    made = []
    for setting, runs in settings:
        if runs:
            difference = _difference(default, runs) if runs is not default else None
            figures = comparison.figures(default if difference else [], runs, difference)
            made.append(Outcome(setting, runs, difference, {f.name: f for f in figures}))
    return made


def _difference(default: Sequence[Run], runs: Sequence[Run]) -> Difference | None:
    if not default:
        return None
    try:
        gate.check_comparable([*default, *runs])
    except InputError:
        return None
    return gate.difference(default, runs)


def margin(values: Sequence[float]) -> float | None:
    """Half the width of the mean's 95 % confidence interval (Student's t); None for one value."""
    if len(values) < 2:
        return None
    quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * stdev(values) / math.sqrt(len(values))


def told(outcome: Outcome) -> tuple[str, str]:
    """How a setting differs from the default, and whether that is noise, for a person."""
    if outcome.difference is None:
        return "", "" if outcome.setting.name == DEFAULT else "other test images"
    return comparison.shown_change(outcome.figures["accuracy"]), outcome.mark
