"""The one error that a person is meant to read, and the edge where it is shown."""

import errno
import sys
from collections.abc import Callable

FULL_DISK = """{error}
  Nothing that was whole is lost. Make room, then: dvc repro
  Back to the last results: git checkout dvc.lock metrics && dvc checkout"""


class InputError(ValueError):
    """Something given from outside is wrong: a file, a parameter, an argument.

    The message names what was found, what was expected, and the way out.
    """


def run(main: Callable[[], None], failure: int = 1) -> None:
    """Run a command's `main`; show what a person can mend as a message, with exit code `failure`.

    Ctrl-C ends it with exit code 130. Any other error is a fault of the program: a traceback.
    """
    try:
        main()
    except InputError as error:
        _fail(error, failure)
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
