"""The errors that a command shows to its user, and the function that shows them."""

import errno
import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

TRACEBACK = "DIGITS_TRACEBACK"  # in the environment: 1 shows the traceback of a fault
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
MAKE_ROOM = "Make room, then run the same command again"
MAKE_ROOM_FOR_PIPELINE = """No complete file is lost. Make room, then run: dvc repro
  To go back to the last results: git checkout dvc.lock metrics && dvc checkout"""
ROOT = Path(__file__).parents[2]
ROOMS = ("digits", "ops", "stages", "serving", "benchmarks")


class UserError(Exception):
    """An error for the user. Its message names the value, what was expected, and the way out."""


class InputError(UserError):
    """An input is wrong: a file, a parameter or an argument."""


class Unreachable(UserError):
    """A folder, a bucket or a service cannot be read or written, so its content is unknown."""


def first(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and the number of the others."""
    others = len(names) - most
    return ", ".join(names[:most]) + (f" and {others:,} more" if others > 0 else "")


def printable(text: object) -> str:
    """A text on one line: whatever a terminal does not show as it is, such as \\n, is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def run(main: Callable[[], None], failure: int = 1, full_disk: str = MAKE_ROOM) -> None:
    """Run a command's `main`; print an error as a message and exit with code `failure`.

    Ctrl-C exits with code 130. A reader that stops, as in `... | head`, ends the command with code
    141. Any other exception is a fault of the program, and Python exits with code 1. If this code
    means something else (`failure` is not 1), the fault is a message too.

    Parameters
    ----------
    main : the command
    failure : the exit code that says that the command could not do its work
    full_disk : the way out if the disk is full
    """
    gc.freeze()  # what was imported stays: no garbage is looked for in it, not even at the end
    gc.enable()
    for stream in (sys.stdout, sys.stderr):
        if stream.errors == "strict":  # a file's name may be no UTF-8
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except UserError as error:
        _fail(error, failure)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the rest
        sys.exit(141)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            _fail(f"{error}\n  {full_disk}", failure)
        if failure == 1:
            raise
        if os.environ.get(TRACEBACK) == "1":
            traceback.print_exc()
        _fail(_fault(error), failure)


def _fault(error: Exception) -> str:
    """A line on an exception that nothing expects, with its place in this project."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if any(f.filename.startswith(f"{ROOT}/{room}/") for room in ROOMS)]
    place = (own or frames)[-1]
    cause = "" if isinstance(error, OSError) else "a fault of the program: "
    return (
        f"{cause}{text} ({os.path.relpath(place.filename, ROOT)}, line {place.lineno}). "
        f"{TRACEBACK}=1 shows the traceback"
    )


def _fail(message: object, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
