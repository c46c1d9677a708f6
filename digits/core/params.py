"""Strict, frozen parameter types, and the one loader that fills them from a YAML file."""

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from digits.core.errors import InputError


class Params(BaseModel):
    """A section of parameters: no unknown keys, no missing keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read this type's sections from a YAML file; other top-level sections are not looked at.

        Raises
        ------
        InputError
            If a key is unknown, missing, of another type or out of range; names each of them.
        """
        document = read_yaml(path)
        return cls.parse({k: v for k, v in document.items() if k in cls.model_fields}, path)

    @classmethod
    def parse(cls, values: dict[str, Any], origin: str | Path = "params") -> Self:
        """Check a nested mapping; lists become tuples. Raises `InputError` as `load` does."""
        try:
            return cls.model_validate(_freeze(values))
        except ValidationError as error:
            raise InputError(f"{origin}: " + "\n  ".join(_explain(cls, error))) from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: PyYAML alone reads `1e-05`, which DVC writes, as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; raises `InputError` when it is absent or broken."""
    try:
        return parse_yaml(Path(path).read_bytes(), path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None


def parse_yaml(content: bytes, origin: str | Path) -> dict[str, Any]:
    """A mapping from YAML; `origin` is what errors call it."""
    try:
        document = yaml.load(content, _Loader)  # a SafeLoader with one more number format
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{origin} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(
            f"{origin} holds {type(document).__name__}; expected a mapping of sections"
        )
    return document


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _freeze(v) for k, v in value.items()}
    return tuple(_freeze(v) for v in value) if isinstance(value, list) else value


def _explain(cls: type[BaseModel], error: ValidationError) -> list[str]:
    """A line for each key that is wrong."""
    lines: dict[str, str] = {}
    for e in error.errors():
        # A union's alternatives are parts of pydantic's location, but not of the key.
        location = [part for part in e["loc"] if re.fullmatch(r"\w+", str(part))]
        if e["type"] == "missing" and isinstance(location[-1], int):
            location.pop()  # of a list that is too short
            line = f"is {_shown(e['input'])}; expected more values"
        elif e["type"] == "missing":
            line = "is missing"
        elif e["type"] == "extra_forbidden":
            line = f"is unknown; expected one of: {', '.join(_siblings(cls, e['loc']))}"
        else:
            line = f"is {_shown(e['input'])}; expected {_expected(e)}"
        key = ".".join(str(part) for part in location)
        lines[key] = f"{lines[key]} or {_expected(e)}" if key in lines else f"{key} {line}"
    return list(lines.values())


def _expected(error: ErrorDetails) -> str:
    match error["type"]:
        case "too_long":
            return f"at most {error['ctx']['max_length']} values"
        case "tuple_type":
            return "a list"
        case "model_type" | "dict_type":
            return "a section of keys and values"
    message = error["msg"]
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _siblings(cls: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    found: Any = cls
    for part in location[:-1]:
        of_mapping = get_origin(found) is dict
        found = get_args(found)[1] if of_mapping else found.model_fields[str(part)].annotation
    return list(found.model_fields)


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


def as_text(value: Any) -> str:
    """A parameter's value as it is written after `--set-param KEY=`."""
    return value if isinstance(value, str) else json.dumps(value)


def changes(
    before: Mapping[str, object], after: Mapping[str, object]
) -> Mapping[str, tuple[object, object]]:
    """What differs between two nested mappings: dotted name -> both values, None where absent."""
    one, two = flat(before), flat(after)
    return {
        name: (one.get(name), two.get(name))
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    }
