"""The commands of this repository: digits NAME ARGUMENTS

`digits` lists the commands; `digits NAME --help` explains one. In the root folder, `python -m
ops.NAME` starts the same command. To complete names and options in your shell:

    eval "$(digits --completion bash)"        # in .bashrc; for zsh, in .zshrc
    digits --completion fish | source         # in config.fish
"""

import ast
import os
import re
import runpy
import sys
from difflib import get_close_matches
from pathlib import Path

from digits.core import errors
from digits.core.errors import InputError

OPS = Path(__file__).parent
SHELLS = ("bash", "zsh", "fish")
STARTED_BY_OTHERS = ("install", "launch")


def main() -> None:
    if "_ARGCOMPLETE" in os.environ:
        complete()
    match sys.argv[1:]:
        case [] | ["-h" | "--help"]:
            print(overview())
        case ["--completion", shell] if shell in SHELLS:
            print(completion(shell))
        case [name, *arguments]:
            run(name, arguments)


def commands() -> dict[str, Path]:
    """Return the file of each command, by name."""
    files = {path.stem: path for path in OPS.glob("[!_]*.py")}
    packages = {path.parent.name: path for path in OPS.glob("*/__main__.py")}
    return dict(sorted((files | packages).items()))


def overview() -> str:
    """List the commands, a line each, without importing them."""
    width = max(map(len, commands()))
    by_people: list[str] = []
    by_others: list[str] = []
    for name, path in commands().items():
        lines = by_others if name in STARTED_BY_OTHERS else by_people
        lines.append(f"  {name:<{width}}  {purpose(path)}")
    return "\n".join([str(__doc__), *by_people, "\nStarted by make and DVC:\n", *by_others])


def purpose(path: Path) -> str:
    """Return the first line of a command's docstring, without its usage."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = text.partition("\n")[0]
    for usage in (": digits ", ": python"):
        line = line.partition(usage)[0]
    return line.strip().rstrip(":.")


def run(name: str, arguments: list[str]) -> None:
    if name not in commands():
        raise InputError(f"there is no command {name!r}. {hint(name)}")
    sys.argv = [f"digits {name}", *arguments]
    runpy.run_module(f"ops.{name}", run_name="__main__", alter_sys=True)


def hint(name: str) -> str:
    """What somebody may have meant by a name that is no command."""
    root = OPS.parent
    if re.search(f"^{re.escape(name)}:.*##", (root / "Makefile").read_text(), re.MULTILINE):
        return f"There is: make {name}"
    if (root / "stages" / f"{name}.py").exists():
        return f"To run this stage, and those before it if they changed: dvc repro {name}"
    similar = get_close_matches(name, commands(), n=1)
    return f"Did you mean: digits {similar[0]}" if similar else "To list the commands: digits"


def completion(shell: str) -> str:
    from argcomplete.shell_integration import shellcode

    script: str = shellcode(["digits"], shell=shell)
    return script


def complete() -> None:
    """Complete the name of a command, or have the named command complete its options."""
    import argparse

    import argcomplete

    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = line.split()
    if len(words) > 2 or (len(words) == 2 and line.endswith(" ")):
        if words[1] in commands():
            os.environ["_ARGCOMPLETE"] = "2"  # words before the options: digits NAME
            run(words[1], [])
        sys.exit()
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(commands()))
    argcomplete.autocomplete(parser)


if __name__ == "__main__":
    errors.run(main, failure=2)
