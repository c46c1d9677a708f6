"""The command line that stages and commands share: arguments, paths, progress."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from digits.core.urls import looks_like_url

# The folder in which the user typed the command, if it is not the current one.
STARTED_IN = "DIGITS_STARTED_IN"


class Parser(argparse.ArgumentParser):
    """A parser that completes arguments for a shell, and names mistyped options first."""

    words: Sequence[str] = ()

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(self)
        return super().parse_args(args, namespace)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        self.words = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        options = [word.partition("=")[0] for word in self.words if word.startswith("--")]
        known = self._option_string_actions
        unknown = [o for o in options if not any(name.startswith(o) for name in known)]
        if unknown and "required" in message:  # --bse in place of the required --base
            message = f"unrecognized arguments: {' '.join(unknown)}"
        super().error(message)


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """Create the argument parser of a stage or a command.

    Parameters
    ----------
    name : the module's; ops.NAME is shown as `digits NAME`
    text : the module's docstring, which --help shows unchanged
    """
    package, _, command = name.partition(".")
    shown = f"digits {command}" if package == "ops" else f"python -m {name}"
    return Parser(shown, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def path(text: str) -> Path:
    """Convert a path on the command line into one relative to the current folder."""
    return Path(path_or_url(text))


def path_or_url(text: str) -> str:
    """Convert a path as `path` does; return a URL unchanged."""
    folder = os.environ.get(STARTED_IN)
    if folder is None or not text or os.path.isabs(text) or looks_like_url(text):
        return text
    return os.path.relpath(os.path.join(folder, text))


def path_or_name(text: str) -> str:
    """Convert a path as `path` does if it exists; return any other text unchanged."""
    converted = path_or_url(text)
    return converted if os.path.exists(converted) else text


def say(message: str) -> None:
    """Print progress to standard error; only results go to standard output."""
    sys.stdout.flush()  # keeps the order if both go to one file
    print(message, file=sys.stderr, flush=True)
