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
        result = params.override(document, changes)
        same = next((i for i, other in enumerate(found) if other.params == result), None)
        if same is None:
            found.append(Setting(_name(label), label, changes, result))
        elif same == 0:  # a value of the grid that is the default's
            found[0] = Setting(DEFAULT, f"{label} ({DEFAULT})", found[0].changes, result)
    return found


def _grid(grid: Mapping[str, Any]) -> Iterator[Overrides]:
    choices: list[list[tuple[str, Any]]] = []
    for key, values in params.flat(grid).items():
        if not isinstance(values, list) or not values:
            raise InputError(f"grid.{key} is {values!r}; expected a list of values")
        choices.append([(key, value) for value in values])
    if choices:
        yield from map(dict, itertools.product(*choices))


def _overrides(asked: Mapping[str, Any]) -> Overrides:
    """By dotted key; those of a preset that is named come first."""
    own = {key: value for key, value in asked.items() if key != "preset"}
    preset = presets.load(asked["preset"]) if "preset" in asked else {}
    return preset | params.flat(own)


def _label(asked: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    words = [
        str(value) if key == "preset" else f"{_short(key, document)}={params.as_text(value)}"
        for key, value in params.flat(asked).items()
    ]
    return ", ".join(words) or DEFAULT


def _short(key: str, document: Mapping[str, Any]) -> str:
    """As many of a key's last parts as no other parameter ends with."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        short = ".".join(parts[-count:])
        if sum(f".{other}".endswith(f".{short}") for other in params.flat(document)) == 1:
            return short
    return key


def _name(label: str) -> str:
    """A label as a part of a Git reference."""
    name = re.sub(r"[^\w.=+-]+", "_", re.sub(r"[][{}\"]", "", label)).replace("..", "_")
    if len(name) > LONGEST:
        digest = hashlib.sha256(label.encode()).hexdigest()
        name = f"{name[: LONGEST - 9]}-{digest[:8]}"
    return name
