"""Overrides of parameters by dotted keys, and presets: files of them, each for one purpose."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from digits import params
from digits.errors import InputError

PRESETS = Path("presets")


def names(folder: Path = PRESETS) -> dict[str, str]:
    """Each preset's name, and the line that says what it is for."""
    lines = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}
    return {name: text.partition("\n")[0].removeprefix("#").strip() for name, text in lines.items()}


def load(name: str, folder: Path = PRESETS) -> dict[str, Any]:
    """A preset's overrides by dotted key; raises `InputError` if there is none of that name."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise InputError(
            f"there is no preset {name!r}; expected one of: {', '.join(names(folder))}"
        )
    return flat(params.read_yaml(path))


def override(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested parameters with dotted keys changed.

    Raises
    ------
    InputError
        If a key is not there already; names it, and those that are.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        section: Any = changed
        for name in [*sections, key]:
            if not isinstance(section, dict) or name not in section:
                there = ", ".join(section) if isinstance(section, dict) else "a value, no section"
                raise InputError(f"{dotted} is unknown: of {name!r}, there is {there}")
            section, parent = section[name], section
        parent[key] = value
    return changed


def flat(nested: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A nested mapping's values by their dotted names."""
    found: dict[str, object] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def shown(value: Any) -> str:
    """A parameter's value as it is written after `--set-param KEY=`."""
    return value if isinstance(value, str) else json.dumps(value)
