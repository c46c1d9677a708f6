"""Parse JSON from a file that may be broken in any way, so that each error names the field."""

import json
import math
import unicodedata
from typing import Any

from digits.core.errors import InputError

DEEPEST = 16  # levels of nesting
LONGEST = 1_000  # characters of a text or a key
LARGEST = 2**63  # absolute value of a whole number
INT_DIGITS = 400  # Python refuses to convert more than 4300
CONTROL = {"Cc", "Cs", "Zl", "Zp"}  # categories: control, surrogate, line and paragraph separator


class _Object(list[tuple[str, Any]]):
    """The pairs of a JSON object: unlike a dict, it keeps both values of a repeated key."""


def parse(path: str, content: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Parameters
    ----------
    path : the file's, for messages
    content : the file's, in UTF-8 without a byte order mark

    Raises
    ------
    InputError
        If the content is not JSON. If a key occurs twice in an object. If a number is not finite or
        is larger than 2^63. If a text has control characters, or is very long. If there are more
        than 16 levels.
    """
    try:
        document = json.loads(content.decode(), object_pairs_hook=_Object, parse_int=_whole_number)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(
            f"{path} is nested too deeply; expected at most {DEEPEST} levels"
        ) from None
    if not isinstance(document, _Object):
        raise InputError(f"{path} holds a {type(document).__name__}; expected an object")
    values: dict[str, Any] = _checked(path, "", document, depth=0)
    return values


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= INT_DIGITS else math.inf


def _checked(path: str, name: str, value: Any, depth: int) -> Any:
    """The value with its objects as dicts; `name` is its dotted key."""
    if depth > DEEPEST:
        raise InputError(f"{path}: {name} is nested too deeply; expected at most {DEEPEST} levels")
    if isinstance(value, _Object):
        values: dict[str, Any] = {}
        for key, item in value:
            inner = f"{name}.{key}" if name else key
            if not key or not _is_clean(key):
                raise InputError(f"{path}: {name or 'the file'} has the key {_short(key)}")
            if key in values:
                raise InputError(f"{path}: {inner} is there twice; expected each key once")
            values[key] = _checked(path, inner, item, depth + 1)
        return values
    if isinstance(value, list):
        return [_checked(path, f"{name}.{i}", item, depth + 1) for i, item in enumerate(value)]
    if isinstance(value, str) and not _is_clean(value):
        raise InputError(f"{path}: {name} is {_short(value)}; expected a short text in one line")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path}: {name} is {value}; expected a finite number")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise InputError(f"{path}: {name} is {_short(str(value))}; expected at most 2^63")
    return value


def _is_clean(text: str) -> bool:
    return len(text) <= LONGEST and not CONTROL & set(map(unicodedata.category, text))


def _short(text: str) -> str:
    return ascii(text[:40]) + (f" and {len(text) - 40} more characters" if len(text) > 40 else "")
