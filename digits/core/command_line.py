"""What the command lines of stages and commands have in common."""

import argparse
import os
import sys
from pathlib import Path

# The folder in which the user typed the command, where that is not the current one.
STARTED_IN = "DIGITS_STARTED_IN"


class Parser(argparse.ArgumentParser):
    """Reads a command's arguments, and completes them for a shell that asks."""

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(self)
        return super().parse_args(args, namespace)


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """A parser of a command's arguments.

    Parameters
    ----------
    name : of the module; ops.NAME is shown as `digits NAME`
    text : the module's docstring, which --help shows as it is
    """
    package, _, command = name.partition(".")
    shown = f"digits {command}" if package == "ops" else f"python -m {name}"
    return Parser(shown, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def path(text: str) -> Path:
    """A path on the command line, as seen from the current folder."""
    return Path(path_or_url(text))


def path_or_url(text: str) -> str:
    """As `path`; a URL stays as it is."""
    folder = os.environ.get(STARTED_IN)
    if folder is None or not text or os.path.isabs(text) or "://" in text:
        return text
    return os.path.relpath(os.path.join(folder, text))


def path_or_name(text: str) -> str:
    """As `path` if there is such a file or folder; else a name of something else."""
    found = path_or_url(text)
    return found if os.path.exists(found) else text


def say(what: str) -> None:
    """Report progress on standard error; standard output is for results alone."""
    sys.stdout.flush()  # so that both stay in order where they go to one file
    print(what, file=sys.stderr, flush=True)
