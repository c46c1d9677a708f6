"""The errors that a user is told, and the edge of a command, where that happens."""

import errno
import os
import sys
from collections.abc import Callable

FULL_DISK = """{error}
  Nothing that was whole is lost. Make room, then: dvc repro
  Back to the last results: git checkout dvc.lock metrics && dvc checkout"""


class UserError(Exception):
    """What a user is told. The message names the value, what was expected, and the way out."""


class InputError(UserError):
    """Something given from outside is wrong: a file, a parameter, an argument."""


class Unreachable(UserError):
    """A folder, a bucket or a service can't be read or written, so its content is unknown."""


def run(main: Callable[[], None], failure: int = 1) -> None:
    """Run a command's `main`; show what a person can mend as a message, with exit code `failure`.

    Ctrl-C ends it with exit code 130, and 141 says that nobody reads on, as of `... | head`. Any
    other error is a fault of the program: a traceback.
    """
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except UserError as error:
        _fail(error, failure)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left to print
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
