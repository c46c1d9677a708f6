"""The errors that a command shows to its user, and the function that shows them."""

import errno
import os
import sys
from collections.abc import Callable

FULL_DISK = """{error}
  No complete file is lost. Free some space, then run: dvc repro
  To go back to the last results: git checkout dvc.lock metrics && dvc checkout"""


class UserError(Exception):
    """An error for the user. Its message names the value, what was expected, and the way out."""


class InputError(UserError):
    """An input is wrong: a file, a parameter or an argument."""


class Unreachable(UserError):
    """A folder, a bucket or a service cannot be read or written, so its content is unknown."""


def run(main: Callable[[], None], failure: int = 1) -> None:
    """Run a command's `main`; print a `UserError` as a message and exit with code `failure`.

    Ctrl-C exits with code 130. A reader that stops, as in `... | head`, ends the command with code
    141. Any other exception is a bug and keeps its traceback.
    """
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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _fail(FULL_DISK.format(error=error), failure)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _fail(message: object, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
