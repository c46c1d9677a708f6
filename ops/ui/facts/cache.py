"""Keep what takes long to work out in .ui/, which Git ignores; a damaged file is made again."""

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from digits.core import files
from ops.ui.project import FOLDER


def kept(name: str, make: Callable[[], Any]) -> Any:
    """Return the JSON value in .ui/NAME.json (a new one); if there is none, make it.

    The name has digests or commits of all that the value depends on.
    """
    path = (FOLDER / f"{name}.json").absolute()
    try:
        status = path.stat()
        body = _read(path, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        body = json.dumps(make())
        files.write(path, f"{_digest(body)}\n{body}")
    return json.loads(body)


@lru_cache(maxsize=10_000)
def _read(path: Path, changed: int, size: int) -> str:
    digest, _, body = path.read_text(encoding="ascii").partition("\n")
    if digest != _digest(body):
        raise ValueError(f"{path} is damaged")
    return body


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
