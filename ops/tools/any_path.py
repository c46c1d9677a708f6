"""Run DVC in a folder of any name: python -m ops.tools.any_path exp run --temp

DVC 3.67 writes the path of its cache into the configuration of a temporary experiment, as ASCII.
So it fails below a folder such as /home/jörg, unless ConfigObj's encoding is set.
"""

import sys
from functools import partialmethod


def allow() -> None:
    """Have this process write DVC's configuration as UTF-8, which is how DVC reads it."""
    from configobj import ConfigObj

    ConfigObj.__init__ = partialmethod(ConfigObj.__init__, default_encoding="utf-8")


def main() -> None:
    from dvc.cli import main as dvc

    allow()
    sys.exit(dvc())


if __name__ == "__main__":
    main()
