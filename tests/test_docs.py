"""What the pages tell to type can be typed: commands, options, links, parameters and figures exist.

A fenced block after `<!-- run -->` is run, each page's in their order, in a scratch copy of the
project whose preset `demo` is smaller.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from digits.core.params import flat, read_yaml
from tests.helpers import warm_python
from tests.helpers.project import Project
from tests.helpers.small import ROOT, SMALL

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
REFERENCE = ROOT / "docs" / "reference"
PARAMS = read_yaml(ROOT / "params.yaml")

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"^<!-- run -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
TARGETS = set(re.findall(r"^([a-z./]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
DEMO = {
    **SMALL,
    "model.channels": [8, 16, 16],
    "train.epochs": 8,
    "train.shards": 2,
    "train.ema": 0.9,
    "train.optimizer.lr": 0.4,
}
# As tests/end_to_end/test_remote.py: what would install is taken to be there.
MAKE = """make() {
  command make --old-file=.venv/run --old-file=.venv/serve --old-file=.venv/dev BIN="$BIN" "$@"
}
"""


def code(text: str) -> Iterator[str]:
    """Each line of code, in blocks and in the text, with continued lines joined and no comments."""
    for _, language, block in BLOCK.findall(text):
        if language in ("", "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                yield re.sub(r"(^|\s+)#.*", "", line)
    for span in SPAN.findall(BLOCK.sub("", text)):
        yield " ".join(span.split())


def commands(text: str) -> list[list[str]]:
    """The words after `python -m`, of each such command; NAME stands for any and is none.

    `digits NAME` is `python -m ops.NAME`.
    """
    lines = [re.sub(r'make serve ARGS="([^"]*)"', r"python -m serving \1", x) for x in code(text)]
    lines = [re.sub(r"(^|\s)digits (?=[a-zN])", r"\1python -m ops.", line) for line in lines]
    found = (part for line in lines for part in re.split(r"&&|;|\|", line))
    parts = (re.search(r"python -m (.*)", part) for part in found)
    return [match[1].split() for match in parts if match and ".NAME" not in match[1]]


def module(words: list[str]) -> list[str]:
    """What `--help` is asked of: a module, perhaps one that ops.launch runs, and its command."""
    if words[0] == "ops.launch":
        words = words[1:]
    return words[:2] if words[0] == "ops.registry" else words[:1]


@cache
def options(*words: str) -> set[str]:
    asked = [warm_python.python(), "-m", *words, "--help"]
    return set(re.findall(r"--[a-z-]+", subprocess.check_output(asked, cwd=ROOT, text=True)))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("name", NAMES)
def test_modules_and_targets_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    for words in commands(text):
        wanted = words[1] if words[0] == "ops.launch" else words[0]
        spec = find_spec(wanted)
        assert spec, wanted
        assert not spec.submodule_search_locations or find_spec(f"{wanted}.__main__"), wanted
    for line in code(text):
        for target in re.findall(r"(?:^|&& |; )make ([a-z./]+)", line):
            assert target in TARGETS, line


@pytest.mark.slow(2)
@pytest.mark.parametrize("name", NAMES)
def test_options_are_known_to_the_help(name: str) -> None:
    for words in commands((ROOT / name).read_text()):
        for option in (word.strip("[]").partition("=")[0] for word in words[1:]):
            if option.startswith("--"):
                assert option in options(*module(words)), " ".join(words)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text())):
        if not link.startswith(("https://", "http://")):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def first_cells(page: Path) -> list[str]:
    """The names that the first column of a page's tables is about."""
    rows = re.findall(r"^\| (`[^|]*) \|", page.read_text(), re.MULTILINE)
    return [name for row in rows for name in SPAN.findall(row)]


def test_every_parameter_is_described_and_no_other() -> None:
    keys = {re.sub(r"^(gate\.limits)\.\w+", r"\1.SOURCE", key) for key in flat(PARAMS)}
    described = first_cells(REFERENCE / "params.md")
    assert sorted(described) == sorted(keys)


def parameters(text: str) -> Iterator[str]:
    """The keys of params.yaml that a page names, in the text or for `dvc exp run`."""
    for line in code(text):
        yield from re.findall(r"(?:-S|--set-param)[ =]'?([\w.]+)=", line)
    for span in SPAN.findall(BLOCK.sub("", text)):
        if named := re.match(rf"(?:params.yaml: )?((?:{'|'.join(PARAMS)})(?:\.[a-z_]+)+)", span):
            yield named[1]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_exist(name: str) -> None:
    known = [*flat(PARAMS), "compute.sagemaker"]  # which is optional
    for key in parameters((ROOT / name).read_text()):
        if not key.endswith((".json", ".onnx", ".yaml", ".csv")):
            assert any(f"{each}.".startswith(f"{key}.") for each in known), key


@pytest.mark.parametrize("name", ["data.json", "train.json", "evaluation.json", "errors.csv"])
def test_every_figure_is_described(name: str) -> None:
    content = (ROOT / "metrics" / name).read_text()
    keys = content.splitlines()[0].split(",") if name == "errors.csv" else flat(json.loads(content))
    per_class = r"^(recall|support)\..*"
    wanted = {re.sub(per_class, r"\1.CLASS", key) for key in keys}
    assert wanted <= set(first_cells(REFERENCE / "metrics.md"))


@pytest.mark.slow(90)
@pytest.mark.parametrize("name", [n for n in NAMES if RUN.search((ROOT / n).read_text())])
def test_what_is_to_be_typed_runs(name: str, tmp_path: Path) -> None:
    project = Project.scratch(tmp_path / "project")
    (project.folder / "presets" / "demo.yaml").write_text(f"# Small.\n{yaml.safe_dump(DEMO)}")
    project.commit("small")
    for block in RUN.findall((ROOT / name).read_text()):
        project.run(
            "bash", "-eu", "-o", "pipefail", "-c", f"{MAKE}{block}", BIN=str(warm_python.programs())
        )


def test_a_page_that_is_wrong_is_found_out() -> None:
    text = "```\ndigits gate --bas main  # --base\n```\nand `make nothing` or `dvc repro`"
    assert list(parameters("`train.lr: 1`, `dvc exp run -S model.depth=2`")) == [
        "model.depth",
        "train.lr",
    ]
    assert next(code(text)) == "digits gate --bas main"
    assert commands(text) == [["ops.gate", "--bas", "main"]]
    assert "nothing" not in TARGETS
    assert "--bas" not in options("ops.gate")
