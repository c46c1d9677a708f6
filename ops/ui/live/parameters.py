"""The parameters of an experiment as fields of a form, made of the types that read params.yaml."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from digits.core import kernels, params
from digits.core.params import Params
from ops.tools.compute import LaunchParams
from ops.tools.revisions import PARAMS
from ops.tools.rules import GateParams

STAGES = Path("stages")
REFERENCE = Path("docs/reference/params.md")
ROW = re.compile(r"^\| `([\w.]+)` \| (.+?) \| ", re.MULTILINE)  # key, meaning
# DVC reads a value in Hydra's syntax, where other characters have a meaning.
PLAIN = re.compile(r"[\w./+][\w./+-]*|")

Schema = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter and what it may be.

    key : dotted
    allowed : its values, in words
    choices : the values to choose from; empty if any value of a range is allowed
    kind : a text may look like a number; a list's values are typed with commas
    is_optional : it may have no value
    """

    key: str
    meaning: str
    allowed: str
    choices: tuple[str, ...]
    kind: Literal["text", "list", "value"]
    is_optional: bool

    @property
    def section(self) -> str:
        return self.key.rpartition(".")[0]

    def read(self, text: str) -> Any:
        """The value that a text means; of another type than the parameter's if it is wrong."""
        text = text.strip()
        if self.kind == "text":
            return text
        if self.is_optional and text in ("", "null"):
            return None
        if self.kind == "list":
            text = text.removeprefix("[").removesuffix("]").strip()
            return [_scalar(part) for part in text.split(",")] if text else []
        return _scalar(text)


@dataclass(frozen=True)
class Values:
    """The parameters as a form has them.

    texts : by dotted key, as they were typed
    base : by dotted key, as params.yaml has them
    changes : the values that differ from params.yaml
    problems : what is wrong, by dotted key of a parameter or of a section
    """

    texts: Mapping[str, str]
    base: Mapping[str, str]
    changes: Mapping[str, Any]
    problems: Mapping[str, str]


def fill_in(given: Mapping[str, str], preset: Mapping[str, Any]) -> Values:
    """Start from params.yaml, apply a preset and then what was typed, and check the result.

    Raises
    ------
    InputError
        If params.yaml can't be read.
    """
    document = params.read_yaml(PARAMS)
    before = params.flat(document)
    texts, changes, problems = {}, {}, {}
    nested: dict[str, Any] = {}
    for parameter in parameters():
        key = parameter.key
        value = preset.get(key, before.get(key))
        texts[key] = shown(value)
        if key in given and given[key].strip() != texts[key]:
            texts[key] = given[key]
            value = parameter.read(given[key])
            if parameter.kind == "text" and not PLAIN.fullmatch(value):
                problems[key] = "expected letters, digits and the characters . / _ + - only"
        if key not in before and key not in given:
            continue  # the types say that it is missing
        _put(nested, key, value)
        if key not in before or value != before[key]:
            changes[key] = value
    for unknown in before.keys() - texts.keys():
        if not unknown.startswith("compute.sagemaker."):
            _put(nested, unknown, before[unknown])
    for kind in types():
        sections = {name: nested[name] for name in kind.model_fields if name in nested}
        for key, problem in kind.problems(sections).items():
            expected = problem.rpartition("; expected ")[2]  # the field shows the value
            text = f"expected {expected}" if expected != problem else problem
            problems.setdefault(_owner(key, texts), text)
    base = {key: shown(before.get(key)) for key in texts}
    return Values(texts, base, changes, problems)


@cache
def types() -> tuple[type[Params], ...]:
    """The types that read the sections: those of the stages, of the gate and of the launcher.

    A stage's type is NAMEParams in its own file. To import `train` takes seconds.
    """
    kernels.pin()  # before torch is imported
    found: list[type[Params]] = []
    for path in STAGES.glob("[!_]*.py"):
        name = f"{path.stem.title()}Params"
        if f"class {name}(" in path.read_text(encoding="utf-8"):
            found.append(getattr(import_module(f"stages.{path.stem}"), name))
    return (*found, GateParams, LaunchParams)


@cache
def _schemas() -> dict[str, Schema]:
    """The JSON Schema of each section, without references."""
    schemas: dict[str, Schema] = {}
    for kind in types():
        schema = kind.model_json_schema()
        schemas |= _resolved(schema, schema.get("$defs", {}))["properties"]
    return schemas


def parameters() -> list[Parameter]:
    """All parameters, in the order of params.yaml; the limits of the gate by data source."""
    meanings = _meanings()
    document = params.read_yaml(PARAMS)
    order = [name for name in document if name in _schemas()]
    order += [name for name in _schemas() if name not in order]
    found = []
    for section in order:
        for key, schema in _leaves(_schemas()[section], section, document.get(section)):
            generic = re.sub(r"^(gate\.limits)\.\w+", r"\1.SOURCE", key)
            found.append(
                Parameter(
                    key,
                    meanings.get(generic, ""),
                    _allowed(schema),
                    tuple(map(shown, _choices(schema))),
                    _kind(schema),
                    any(each.get("type") == "null" for each in schema.get("anyOf", ())),
                )
            )
    return found


def shown(value: Any) -> str:
    """A value as a person types it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(params.as_text, value))
    return params.as_text(value)


def _scalar(text: str) -> Any:
    text = text.strip()
    if text in ("", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _put(nested: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for name in sections:
        nested = nested.setdefault(name, {})
    nested[key] = value


def _owner(key: str, texts: Mapping[str, str]) -> str:
    """The parameter whose element this is, or else the key itself."""
    while key not in texts and key.rpartition(".")[2].isdecimal():
        key = key.rpartition(".")[0]
    return key


def _resolved(schema: Any, definitions: Mapping[str, Schema]) -> Any:
    if isinstance(schema, list):
        return [_resolved(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _resolved(value, definitions) for key, value in schema.items() if key != "$defs"}


def _leaves(schema: Schema, key: str, value: Any) -> Iterator[tuple[str, Schema]]:
    if schema.get("type") != "object":
        yield key, schema
    elif "properties" in schema:
        for name, each in schema["properties"].items():
            yield from _leaves(each, f"{key}.{name}", value.get(name) if value else None)
    else:  # a mapping, whose keys only the document has
        for name in value or ():
            yield from _leaves(schema["additionalProperties"], f"{key}.{name}", value[name])


def _kind(schema: Schema) -> Literal["text", "list", "value"]:
    kinds = {each.get("type") for each in (schema, *schema.get("anyOf", ()))}
    return "list" if "array" in kinds else "text" if kinds == {"string"} else "value"


def _choices(schema: Schema) -> Sequence[Any]:
    if schema.get("type") == "boolean":
        return (True, False)
    choices: Sequence[Any] = schema.get("enum", ())
    return choices


def _allowed(schema: Schema) -> str:
    """The values that a schema allows, in words."""
    if "anyOf" in schema:
        return ", or ".join(map(_allowed, schema["anyOf"]))
    if "const" in schema:
        return shown(schema["const"])
    match schema.get("type"):
        case "null":
            return "nothing"
        case "array" if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: {_allowed(schema['prefixItems'][0])}"
        case "array":
            return f"list: {_allowed(schema['items'])}"
        case "integer" | "number" if not _choices(schema):
            return _range(schema)
    return ", ".join(map(shown, _choices(schema))) or "text"


def _range(schema: Schema) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    kind = "integer, " if schema["type"] == "integer" else ""
    if low is None:
        return kind + ("any" if high is None else f"at most {high}")
    start = f"{'above ' if 'minimum' not in schema else ''}{_number(low)}"
    if high is None:
        return f"{kind}{start}{' and above' if 'minimum' in schema else ''}"
    return f"{kind}{start} to {'below ' if 'maximum' not in schema else ''}{_number(high)}"


def _number(value: float) -> str:
    power = value.bit_length() - 1 if isinstance(value, int) else 0
    return f"2^{power}" if power >= 32 and value == 1 << power else f"{value:g}"


def _meanings() -> dict[str, str]:
    """What the reference says of each parameter; empty if this checkout lacks it."""
    text = REFERENCE.read_text(encoding="utf-8") if REFERENCE.is_file() else ""
    return {
        key: re.sub(r"\[([^]]+)\]\([^)]+\)|[`*]", r"\1", cell) for key, cell in ROW.findall(text)
    }
