"""Record each run of a stage: when, how long, how it ended, what it printed and what it wrote.

DVC keeps none of this. It differs from run to run, so it is not among the results, but in the
git-ignored .ui/: stages/NAME.json and logs/NAME.log. Only the last run is kept.
"""

import io
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from pydantic import Field

from digits.core import files
from digits.core.errors import InputError
from digits.core.params import Params, parse_yaml
from ops.tools import disk, dvc_files, processes

FOLDER = Path(".ui")
STAGE = "DVC_STAGE"  # DVC names in it the stage whose command it runs
INTERRUPTED = 130
LOG_BYTES = 64_000  # of a log, shown from its end


class StageRun(Params):
    """A run of a stage in this folder.

    started : seconds since 1970
    pid : the process
    seconds, exit_code : None until it ends, and for ever if it is killed
    outputs : the digests of its outputs at its end, by path
    """

    started: float
    pid: int
    seconds: float | None = None
    exit_code: int | None = None
    outputs: dict[str, str] = Field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        return self.exit_code is None and processes.was_running(self.pid, self.started)

    @property
    def has_failed(self) -> bool:
        return self.exit_code != 0 and not self.is_running

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        match self.exit_code:
            case None if self.is_running:
                return "it is running"
            case None:
                return "its last run was killed"
            case 0:
                return "it ran to its end"
            case code if code == INTERRUPTED:
                return "its last run was stopped with Ctrl-C"
            case code:
                return f"its last run ended with exit code {code}"


@contextmanager
def recorded() -> Iterator[None]:
    """Record what runs in this block as a run of the stage that DVC started; else do nothing.

    Everything that Python prints goes to the terminal as before, and to the log. A record that
    can't be written stops no stage.
    """
    name = os.environ.get(STAGE)
    if name is None:
        yield
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:  # by torchrun, for a launcher that records the run
        _copy_output(name, os.O_APPEND)
        yield
        return
    _copy_output(name, os.O_APPEND | os.O_TRUNC)
    run = StageRun(started=time.time(), pid=os.getpid())
    _write(name, run)
    clock = time.perf_counter()
    code = 1
    try:
        yield
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        raise
    finally:
        values = {
            "seconds": round(time.perf_counter() - clock, 3),
            "exit_code": code,
            "outputs": _outputs(name) if code == 0 else {},
        }
        _write(name, run.model_copy(update=values))


def read(name: str) -> StageRun | None:
    """The last run of a stage in this folder; None if it is not known."""
    path = _path("stages", name, "json")
    try:
        return StageRun.parse(parse_yaml(path.read_bytes(), path), path)
    except (OSError, InputError):
        return None


def read_log(name: str) -> str:
    """The end of what the last run printed, as a terminal shows it, without colours."""
    try:
        with _path("logs", name, "log").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "\n".join(_overwritten(line) for line in text.split("\n")).strip("\n")


def _overwritten(line: str) -> str:
    """What is left of a line whose parts were written over one another, as by a progress bar."""
    parts = [part.rstrip() for part in line.split("\r")]
    return next((part for part in reversed(parts) if part), "")


class _Copied(io.FileIO):
    """An open file; what is written to it also goes to a log."""

    def __init__(self, descriptor: int, log: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.log = log

    def write(self, content: "io.ReadableBuffer") -> int:  # type: ignore[name-defined]
        count = super().write(content)
        with suppress(OSError):
            os.write(self.log, bytes(content)[:count])
        return count


def _copy_output(name: str, flags: int) -> None:
    path = _path("logs", name, "log")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
        sys.stdout, sys.stderr = _copy(sys.stdout, log), _copy(sys.stderr, log)


def _copy(stream: TextIO, log: int) -> TextIO:
    stream.flush()
    raw = _Copied(stream.fileno(), log)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
    )


def _write(name: str, run: StageRun) -> None:
    with suppress(OSError):
        files.write(_path("stages", name, "json"), files.canonical_json(run.model_dump()))


def _outputs(name: str) -> dict[str, str]:
    try:
        declared = dvc_files.parse_pipeline(Path("dvc.yaml").read_bytes())[name]
        digests = {path: disk.digest(path) for path in declared.outputs}
    except (OSError, InputError, KeyError):
        return {}
    return {path: digest for path, digest in digests.items() if digest}


def _path(kind: str, name: str, suffix: str) -> Path:
    return FOLDER / kind / f"{quote(name, safe='')}.{suffix}"  # a name may hold a slash
