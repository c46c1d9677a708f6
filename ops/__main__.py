"""The commands of this repository: digits NAME ARGUMENTS

`digits` alone lists them; `digits NAME --help` explains one. In the root folder, each is also
`python -m ops.NAME`. To complete names and options in a shell:

    eval "$(digits --completion bash)"        # or zsh; add the line to .bashrc or .zshrc
    digits --completion fish | source         # in config.fish
"""

import ast
import os
import runpy
import sys
from difflib import get_close_matches
from pathlib import Path

from digits.core import errors
from digits.core.errors import InputError

OPS = Path(__file__).parent
SHELLS = ("bash", "zsh", "fish")
STARTED_BY_OTHERS = ("comment", "install", "launch", "notify", "propose")


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
    """The file of each command, by its name."""
    files = {path.stem: path for path in OPS.glob("[!_]*.py")}
    packages = {path.parent.name: path for path in OPS.glob("*/__main__.py")}
    return dict(sorted((files | packages).items()))


def overview() -> str:
    """A line for each command; nothing is imported for it."""
    width = max(map(len, commands()))
    usual: list[str] = []
    others: list[str] = []
    for name, path in commands().items():
        lines = others if name in STARTED_BY_OTHERS else usual
        lines.append(f"  {name:<{width}}  {purpose(path)}")
    return "\n".join(
        [str(__doc__), *usual, "\nStarted by make, by DVC and by the workflows:\n", *others]
    )


def purpose(path: Path) -> str:
    """The first line of a command's docstring, without its usage."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = text.partition("\n")[0]
    for usage in ("digits ", "python"):
        line = line.partition(usage)[0]
    return line.strip().rstrip(":.")


def run(name: str, arguments: list[str]) -> None:
    if name not in commands():
        near = get_close_matches(name, commands(), n=1)
        hint = f"Did you mean: digits {near[0]}" if near else "They are listed by: digits"
        raise InputError(f"there is no command {name!r}. {hint}")
    sys.argv = [f"digits {name}", *arguments]
    runpy.run_module(f"ops.{name}", run_name="__main__", alter_sys=True)


def completion(shell: str) -> str:
    from argcomplete.shell_integration import shellcode

    script: str = shellcode(["digits"], shell=shell)
    return script


def complete() -> None:
    """Complete the name; with a name there already, have that command complete its options."""
    import argparse

    import argcomplete

    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = line.split()
    if len(words) > 2 or (len(words) == 2 and line.endswith(" ")):
        if words[1] in commands():
            os.environ["_ARGCOMPLETE"] = "2"  # words that are the command's name
            run(words[1], [])
        sys.exit()
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(commands()))
    argcomplete.autocomplete(parser)


if __name__ == "__main__":
    errors.run(main, failure=2)
