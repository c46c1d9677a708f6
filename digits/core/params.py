"""Strict, frozen parameter types, and the loader that fills them from a YAML file."""

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

# PyYAML raises these for `2026-99-99`, `!!bool x`, bytes that are no UTF-8, and 1000 brackets.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Params(BaseModel):
    """A section of parameters. Refuses unknown keys, missing keys and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read this type's sections from a YAML file; ignore other top-level sections.

        Raises
        ------
        InputError
            If a key is unknown, missing, of another type or out of range; names every such key.
        """
        document = read_yaml(path)
        return cls.parse({k: v for k, v in document.items() if k in cls.model_fields}, path)

    @classmethod
    def parse(cls, values: dict[str, Any], origin: str | Path = "params") -> Self:
        """Check a nested mapping and turn its lists into tuples; raises `InputError` as `load`."""
        try:
            return cls.model_validate(_freeze(values))
        except ValidationError as error:
            lines = (f"{key} {problem}" for key, problem in _explain(cls, error).items())
            raise InputError(f"{origin}: " + "\n  ".join(lines)) from None

    @classmethod
    def problems(cls, values: dict[str, Any]) -> dict[str, str]:
        """What is wrong with a nested mapping, by dotted key: "is 0; expected ..."."""
        try:
            cls.model_validate(_freeze(values))
        except ValidationError as error:
            return _explain(cls, error)
        return {}


class _Loader(yaml.SafeLoader):
    """Reads YAML 1.2 floats: plain PyYAML reads `1e-05`, which DVC writes, as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same by libyaml: ten times as fast, but it crashes on YAML that is nested deeply."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


DEEPEST = 500  # levels of YAML that _FastLoader reads


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a mapping from a YAML file; raises `InputError` if the file is absent or no mapping."""
    try:
        return parse_yaml(Path(path).read_bytes(), path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a file") from None


def parse_yaml(content: bytes, origin: str | Path) -> dict[str, Any]:
    """Parse YAML that holds a mapping; errors name it as `origin`."""
    try:
        # Both are a SafeLoader with one more number format.
        document = yaml.load(content, _FastLoader if _is_shallow(content) else _Loader)
    except (yaml.YAMLError, *MALFORMED) as error:
        raise InputError(f"{origin} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(
            f"{origin} holds {type(document).__name__}; expected a mapping of sections"
        )
    return document


def _is_shallow(content: bytes) -> bool:
    """Whether YAML has at most `DEEPEST` levels: each needs a bracket, or a column of its line."""
    longest = max(map(len, content.split(b"\n")))
    return longest + content.count(b"[") + content.count(b"{") <= DEEPEST


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _freeze(v) for k, v in value.items()}
    return tuple(_freeze(v) for v in value) if isinstance(value, list) else value


def _explain(cls: type[BaseModel], error: ValidationError) -> dict[str, str]:
    """What is wrong, by dotted key."""
    problems: dict[str, str] = {}
    for e in error.errors():
        # pydantic's location also names a union's alternatives, which are not parts of the key.
        location = [part for part in e["loc"] if re.fullmatch(r"\w+", str(part))]
        if e["type"] == "missing" and isinstance(location[-1], int):
            # A position that is missing in a list that is too short; the last one comes last.
            line = f"is {_shown(e['input'])}; expected {int(location.pop()) + 1} values"
            problems.pop(".".join(map(str, location)), None)
        elif e["type"] == "missing":
            line = "is missing"
        elif e["type"] == "extra_forbidden":
            line = f"is unknown; expected one of: {', '.join(_siblings(cls, e['loc']))}"
        else:
            line = f"is {_shown(e['input'])}; expected {_expected(e)}"
        key = ".".join(str(part) for part in location)
        problems[key] = f"{problems[key]} or {_expected(e)}" if key in problems else line
    return problems


def _expected(error: ErrorDetails) -> str:
    match error["type"]:
        case "too_long":
            return f"at most {error['ctx']['max_length']} values"
        case "tuple_type":
            return "a list"
        case "invalid_key":
            return "a name"
        case "model_type" | "dict_type":
            return "a section of keys and values"
    message = error["msg"]
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _siblings(cls: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    section: Any = cls
    for part in location[:-1]:
        is_mapping = get_origin(section) is dict
        section = get_args(section)[1] if is_mapping else section.model_fields[str(part)].annotation
    return list(section.model_fields)


def override(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy nested parameters and change the values of dotted keys.

    Raises
    ------
    InputError
        If a key does not exist; names it and the keys that exist.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        section: Any = changed
        for i, name in enumerate([*sections, key]):
            if not isinstance(section, dict):
                raise InputError(f"{dotted} is unknown; {'.'.join(sections[:i])} is not a section")
            if name not in section:
                wrong = ".".join([*sections[:i], name])
                raise InputError(f"{wrong} is unknown; expected one of: {', '.join(section)}")
            section, parent = section[name], section
        parent[key] = value
    return changed


def flat(nested: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flatten a nested mapping: dotted name -> value."""
    values: dict[str, object] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def as_text(value: Any) -> str:
    """Format a parameter's value for DVC's `--set-param KEY=VALUE`."""
    return value if isinstance(value, str) else json.dumps(value)


def changes(
    before: Mapping[str, object], after: Mapping[str, object]
) -> Mapping[str, tuple[object, object]]:
    """Differences of two nested mappings: dotted name -> both values, None if absent."""
    one, two = flat(before), flat(after)
    return {
        name: (one.get(name), two.get(name))
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    }
