"""Strict, frozen parameter types, and the one loader that fills them from a YAML file."""

import re
from pathlib import Path
from typing import Any, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from digits.errors import InputError


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
            lines = [
                _explain(cls, e["loc"], e["type"], e["input"], e["msg"]) for e in error.errors()
            ]
            raise InputError(f"{origin}: " + "\n  ".join(lines)) from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: PyYAML alone reads `1e-05`, which DVC writes, as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; raises `InputError` when it is absent or broken."""
    try:
        with open(path, encoding="utf-8") as file:
            document = yaml.load(file, _Loader)  # a SafeLoader with one more number format
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} holds {type(document).__name__}; expected a mapping of sections")
    return document


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _freeze(v) for k, v in value.items()}
    return tuple(_freeze(v) for v in value) if isinstance(value, list) else value


def _explain(
    cls: type[BaseModel], loc: tuple[int | str, ...], kind: str, found: Any, message: str
) -> str:
    key = ".".join(str(part) for part in loc)
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        return f"{key} is unknown; expected one of: {', '.join(_siblings(cls, loc))}"
    expected = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key} is {found!r}; expected {expected}"


def _siblings(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for part in loc[:-1]:
        cls = cast(type[BaseModel], cls.model_fields[str(part)].annotation)
    return list(cls.model_fields)
