"""The command line that stages and commands share: arguments, paths, progress."""

import argparse
import os
import sys
from pathlib import Path

from digits.core.urls import looks_like_url

# The folder in which the user typed the command, if it is not the current one.
STARTED_IN = "DIGITS_STARTED_IN"


class Parser(argparse.ArgumentParser):
    """A parser that also completes arguments when a shell asks for it."""

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(self)
        return super().parse_args(args, namespace)


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
