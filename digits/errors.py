"""The one error that a person is meant to read, and the edge where it is shown."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Something given from outside is wrong: a file, a parameter, an argument.

    The message names what was found, what was expected, and the way out.
    """


def run(main: Callable[[], None]) -> None:
    """Run a command's `main`; an `InputError` ends it with its message and exit code 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
