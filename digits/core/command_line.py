"""What the command lines of stages and operations have in common."""

import argparse
import sys


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """What reads a command's arguments.

    Parameters
    ----------
    name : what follows `python -m`
    text : the module's own; --help shows it as it stands, so it has an example
    """
    return argparse.ArgumentParser(
        f"python -m {name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def say(what: str) -> None:
    """Tell of progress, on standard error: results alone go to standard output."""
    sys.stdout.flush()  # for whoever reads both in one
    print(what, file=sys.stderr, flush=True)
