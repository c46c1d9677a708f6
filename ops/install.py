"""Install the packages of a requirements file into .venv: python3 -m ops.install requirements.txt

`make` runs it with any Python that you have, so it uses the standard library alone. It installs
with uv if there is one, else with pip.

On Linux, PyTorch's build on PyPI brings 5 GB of CUDA libraries. On a machine without an NVIDIA
driver this command installs PyTorch's CPU build from PyTorch's own index, a tenth of that size, or
the build on PyPI if that index can't be reached. To choose: make TORCH=cpu, TORCH=pypi or
TORCH=cuda.
"""

import argparse
import platform
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from pathlib import Path

INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_S = 5  # timeout, to find out whether the index answers
VENV = Path(".venv")
BUILD = VENV / "torch"  # names the build that was chosen; the Makefile reads it
WAYS_OUT = "Choose: make TORCH=cpu, cuda or pypi"
# The script `digits`: runs `python -m ops` in the root of the clone that it is called in.
COMMAND = """
import os, runpy, sys
from pathlib import Path

here = Path.cwd()
for root in (here, *here.parents):
    if (root / "ops" / "__main__.py").is_file() and (root / "dvc.yaml").is_file():
        break
else:
    sys.exit(f"error: {here} is not in a clone of this repository. Go to one: cd FOLDER")
if root != here:
    os.environ["DIGITS_STARTED_IN"] = str(here)
    os.chdir(root)
programs, path = os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)
if programs not in path.split(os.pathsep):  # dvc starts the stages with the first python there
    os.environ["PATH"] = programs + os.pathsep + path
sys.path[0] = str(root)
runpy.run_module("ops", run_name="__main__", alter_sys=True)
"""


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  the Python that the user has
        sys.exit(
            f"Python 3.11 or later is needed; {sys.executable} is {platform.python_version()}. "
            f"Name another: make PYTHON=python3.12"
        )
    args = parse_args()
    print("Setting up .venv (once; PyTorch takes a while)", flush=True)
    installer = make_venv()
    if pins := torch_pins(args.requirements):
        build = install_torch(installer, pins, args.torch, args.index)
        BUILD.write_text(build, encoding="utf-8")
    if run([*installer, "-r", str(args.requirements)]):
        sys.exit(f"Setting up .venv failed; see the installer's message above. {WAYS_OUT}")
    install_command()


def make_venv() -> list[str]:
    """Make .venv if there is none, and return the command that installs into it."""
    python = VENV / "bin" / "python"
    if uv := shutil.which("uv"):
        if not python.exists():
            run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], check=True)
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    if not (VENV / "bin" / "pip").exists():
        run([sys.executable, "-m", "venv", str(VENV)], check=True)
    # -qq hides pip's warnings, which are about its own configuration. Errors are still shown.
    return [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]


def install_command() -> None:
    """Put `digits` into .venv/bin."""
    python, script = VENV.absolute() / "bin" / "python", VENV / "bin" / "digits"
    # As pip does it: for sh a command, since #! takes no path with a space; for Python a text.
    start = f"#!/bin/sh\n'''exec' {shlex.quote(str(python))} \"$0\" \"$@\"\n' '''\n"
    script.write_text(start + COMMAND, encoding="utf-8")
    script.chmod(0o755)


def torch_pins(requirements: Path) -> dict[str, str]:
    """Return the versions of torch and torchvision, in a requirements file or one it includes."""
    text = requirements.read_text(encoding="utf-8")
    pins = dict(re.findall(r"^(torch|torchvision)==([\w.]+)", text, re.MULTILINE))
    for included in re.findall(r"^-r (\S+)", text, re.MULTILINE):
        pins |= torch_pins(requirements.with_name(included))
    return pins


def install_torch(installer: list[str], pins: dict[str, str], asked: str, index: str) -> str:
    """Install PyTorch's CPU build or leave PyTorch to PyPI, and return which build it is."""
    build = choose_build(index) if asked == "auto" else asked
    if build != "cpu":
        if has_cpu_build(pins):  # the installer takes it for the same version and would keep it
            wanted = [f"{name}=={version}" for name, version in pins.items()]
            run([*installer, "--force-reinstall", "--no-deps", *wanted], check=True)
        return build
    wanted = [f"{name}=={version}+cpu" for name, version in pins.items()]
    option = "--default-index" if "--python" in installer else "--index-url"  # uv's, pip's
    if run([*installer, option, index, "--no-deps", *wanted]):
        sys.exit(f"{index} does not have {' and '.join(wanted)}. To do without: make TORCH=pypi")
    reason = "as asked" if asked == "cpu" else "no NVIDIA driver was found"
    print(f"PyTorch's CPU build: {reason}. {WAYS_OUT}", flush=True)
    return "cpu"


def choose_build(index: str) -> str:
    """The build for this machine: cpu, cuda or pypi."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "pypi"  # PyPI has no CUDA libraries for this platform
    if has_nvidia_driver():
        print(f"PyTorch with CUDA, for this machine's NVIDIA driver. {WAYS_OUT}", flush=True)
        return "cuda"
    if not reachable(index):
        print(
            f"PyTorch from PyPI, 5 GB with CUDA libraries: {index} can't be reached. {WAYS_OUT}",
            flush=True,
        )
        return "pypi"
    return "cpu"


def has_cpu_build(names: Iterable[str]) -> bool:
    """Whether a package in .venv is PyTorch's CPU build."""
    packages = "lib/python*/site-packages"
    return any(any(VENV.glob(f"{packages}/{name}-*+cpu.dist-info")) for name in names)


def has_nvidia_driver() -> bool:
    return bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia/version").exists()


def reachable(index: str) -> bool:
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=PROBE_S):
            return True
    except OSError:
        return False


def run(words: list[str], check: bool = False) -> int:
    return subprocess.run(words, check=check).returncode


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python3 -m ops.install",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("requirements", type=Path, help="requirements file to install")
    parser.add_argument(
        "--torch",
        choices=("auto", "cpu", "cuda", "pypi"),
        default="auto",
        help="PyTorch's build (auto); on Linux, cuda is the build on PyPI",
    )
    parser.add_argument("--index", default=INDEX, help="index of PyTorch's CPU builds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
