"""Presets: files in presets/ that override parameters, each for one purpose."""

from pathlib import Path
from typing import Any

from digits.core.errors import InputError
from digits.core.params import flat, override, read_yaml
from ops.tools.dvc import set_params

PRESETS = Path("presets")


def names() -> dict[str, str]:
    """The purpose of each preset, by name: the first line of its file."""
    purposes = {}
    for path in sorted(PRESETS.glob("*.yaml")):
        line = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        purposes[path.stem] = line.removeprefix("#").strip()
    return purposes


def load(name: str) -> dict[str, Any]:
    """A preset's overrides by dotted key; raises `InputError` if there is no such preset."""
    path = PRESETS / f"{name}.yaml"
    if path not in PRESETS.glob("*.yaml"):
        raise InputError(f"there is no preset {name!r}; expected one of: {', '.join(names())}")
    return flat(read_yaml(path))


def set_params_of(name: str) -> list[str]:
    """A preset as options of `dvc exp run`; raises `InputError` if a parameter is unknown."""
    changes = load(name)
    try:
        override(read_yaml("params.yaml"), changes)
    except InputError as error:
        raise InputError(f"{PRESETS / name}.yaml: {error}") from None
    return set_params(changes)
