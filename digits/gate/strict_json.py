"""Parse JSON from a file that may be broken in any way, so that each error names the field."""

import json
import math
import unicodedata
from typing import Any

from digits.core.errors import InputError
from digits.core.params import flat

LONGEST = 1_000  # characters of a text or a key
CONTROL = {"Cc", "Cs", "Zl", "Zp"}  # categories: control, surrogate, line and paragraph separator


def parse(path: str, content: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Parameters
    ----------
    path : the file's, for messages
    content : the file's, in UTF-8 without a byte order mark

    Raises
    ------
    InputError
        If the content is not JSON. If a key occurs twice in an object. If a key or the text of a
        key has control characters, or is very long. If a number of the object is not finite.
    """
    try:
        document = json.loads(content.decode(), object_pairs_hook=_object)
        values = flat(document) if isinstance(document, dict) else {}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} holds a {type(document).__name__}; expected an object")
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{path}: {key} is {value}; expected a finite number")
        if isinstance(value, str) and not _is_clean(value):
            raise InputError(f"{path}: {key} is {_short(value)}; expected a short text on one line")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of these pairs, of which json.loads itself would keep the last of each key."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if not key or not _is_clean(key):
            raise InputError(f"a key is {_short(key)}; expected a short text on one line")
        if key in values:
            raise InputError(f"{key} is there twice; expected each key once")
        values[key] = value
    return values


def _is_clean(text: str) -> bool:
    return len(text) <= LONGEST and not CONTROL & set(map(unicodedata.category, text))


def _short(text: str) -> str:
    return ascii(text[:40]) + (f" and {len(text) - 40} more characters" if len(text) > 40 else "")
