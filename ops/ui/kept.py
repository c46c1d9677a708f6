"""Keep what takes long to work out in .ui/, which Git ignores; a damaged file is made again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from digits.core import files

FOLDER = Path(".ui")


def kept(name: str, make: Callable[[], Any]) -> Any:
    """Return the JSON value in .ui/NAME.json; if there is none, make it and keep it.

    The name has digests or commits of all that the value depends on.
    """
    path = FOLDER / f"{name}.json"
    try:
        digest, _, body = path.read_text(encoding="ascii").partition("\n")
        if digest == _digest(body):
            return json.loads(body)
    except (OSError, ValueError):
        pass
    body = json.dumps(make())
    files.write(path, f"{_digest(body)}\n{body}")
    return json.loads(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
