"""A sweep: settings of the parameters, each run with several seeds."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from digits.core import params
from digits.core.errors import InputError
from digits.core.params import Params
from ops.tools import presets

DEFAULT = "default"
SEED = "train.seed"
LONGEST = 80  # characters of a setting in an experiment's name

Count = Annotated[int, Field(ge=0)]
Overrides = dict[str, Any]


class SweepFile(Params):
    """The keys of a sweep's file; overrides are dotted or nested, and may start from a `preset`."""

    seeds: Annotated[int, Field(ge=1)] | tuple[Count, ...] = 3  # how many, or which
    always: Overrides = Field({})  # in every run
    grid: Overrides = Field({})  # a list of values for each key: every combination
    settings: tuple[Overrides, ...] = ()  # in addition to the grid


@dataclass(frozen=True, eq=False)
class Setting:
    """Overrides by dotted key, their label for a person, and the parameters that result."""

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


def load(path: Path, document: Mapping[str, Any]) -> Sweep:
    """Read a sweep's file; its settings change the parameters in `document`.

    Raises `InputError` if a key is unknown or a setting is not valid; the message names it.
    """
    raw = params.read_yaml(path)
    file = SweepFile.parse(raw, path)
    seeds = list(range(file.seeds)) if isinstance(file.seeds, int) else list(file.seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: seeds is {seeds}; expected different numbers, at least one")
    try:
        settings = _settings(raw, document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    name = re.sub(r"[^\w+-]+", "_", path.stem)
    return Sweep(name, settings, seeds)


def _settings(raw: Mapping[str, Any], document: Mapping[str, Any]) -> list[Setting]:
    """The default, then the grid's settings and the list's; of equal parameters, only the first."""
    always = _overrides(raw.get("always", {}))
    settings: list[Setting] = []
    for section in itertools.chain([{}], _grid(raw.get("grid", {})), raw.get("settings", [])):
        label, changes = _label(section, document), always | _overrides(section)
        if SEED in changes:
            raise InputError(f"{SEED} is set by seeds; leave it out of the overrides")
        result = params.override(document, changes)
        same = next((i for i, other in enumerate(settings) if other.params == result), None)
        if same is None:
            settings.append(Setting(_name(label), label, changes, result))
        elif same == 0:  # a value of the grid that the default has too
            settings[0] = Setting(DEFAULT, f"{label} ({DEFAULT})", settings[0].changes, result)
    return settings


def _grid(grid: Mapping[str, Any]) -> Iterator[Overrides]:
    choices: list[list[tuple[str, Any]]] = []
    for key, values in params.flat(grid).items():
        if not isinstance(values, list) or not values:
            raise InputError(f"grid.{key} is {values!r}; expected a list of values")
        choices.append([(key, value) for value in values])
    if choices:
        yield from map(dict, itertools.product(*choices))


def _overrides(section: Mapping[str, Any]) -> Overrides:
    """Overrides by dotted key; the section's own keys win over those of its preset."""
    own = {key: value for key, value in section.items() if key != "preset"}
    preset = presets.load(section["preset"]) if "preset" in section else {}
    return preset | params.flat(own)


def _label(section: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    words = [
        str(value) if key == "preset" else f"{_short(key, document)}={params.as_text(value)}"
        for key, value in params.flat(section).items()
    ]
    return ", ".join(words) or DEFAULT


def _short(key: str, document: Mapping[str, Any]) -> str:
    """The shortest end of a dotted key that no other parameter has: optimizer.lr, or lr."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        short = ".".join(parts[-count:])
        if sum(f".{other}".endswith(f".{short}") for other in params.flat(document)) == 1:
            return short
    return key


def _name(label: str) -> str:
    """A label in the characters that a Git reference may have."""

    name = re.sub(r"[^\w.=+-]+", "_", re.sub(r"[][{}\"]", "", label)).replace("..", "_")
    if len(name) > LONGEST:
        digest = hashlib.sha256(label.encode()).hexdigest()
        name = f"{name[: LONGEST - 9]}-{digest[:8]}"
    return name
