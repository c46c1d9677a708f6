"""The pages are right: commands, options, links, files, parameters and figures exist.

The fenced blocks after `<!-- run -->` of a page are run in their order, in a scratch copy of the
project whose preset `demo` is smaller. So are the networks and the epochs that a page names.
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

from benchmarks import figures
from digits.core.params import flat, read_yaml
from ops import __main__ as digits
from tests.helpers import warm_python
from tests.helpers.project import Project
from tests.helpers.small import ROOT
from tests.helpers.workflows import GOOD

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
REFERENCE = ROOT / "docs" / "reference"
PARAMS = read_yaml(ROOT / "params.yaml")

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"^<!-- run -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
FOLDERS = ("benchmarks", "digits", "docs", "ops", "presets", "serving", "stages", "sweeps", "tests")
TARGETS = set(re.findall(r"^([a-z./]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FASTER = {"[24,48,96]": "[8,24,24]", "[30]": "[5]", "epochs=30": "epochs=5", "seeds: 2": "seeds: 1"}
# Like tests/end_to_end/test_remote.py: make takes the set-up as done.
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
    """The words after `python -m` of each command; `digits gate` is `python -m ops.gate`.

    Commands with the placeholder NAME are left out.
    """
    lines = [re.sub(r'make serve ARGS="([^"]*)"', r"python -m serving \1", x) for x in code(text)]
    lines = [re.sub(r"(^|\s)digits (?=[a-zN])", r"\1python -m ops.", line) for line in lines]
    parts = (part for line in lines for part in re.split(r"&&|;|\|", line))
    matches = (re.search(r"python -m (.*)", part) for part in parts)
    return [match[1].split() for match in matches if match and ".NAME" not in match[1]]


def module(words: list[str]) -> list[str]:
    """The module whose `--help` lists the options, and its subcommand if it has one."""
    if words[0] == "ops.launch":
        words = words[1:]
    return words[:2] if words[0] in ("ops.registry", "ops.ci") else words[:1]


@cache
def options(*words: str) -> set[str]:
    command = [warm_python.python(), "-m", *words, "--help"]
    return set(re.findall(r"--[a-z-]+", subprocess.check_output(command, cwd=ROOT, text=True)))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
def test_options_are_known_to_the_help() -> None:
    """One test for all pages, so that a command is asked for its help once."""
    for words in (words for name in NAMES for words in commands((ROOT / name).read_text())):
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


def test_every_page_of_the_docs_is_linked_from_the_front_page() -> None:
    links = re.findall(r"\]\((docs/[^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert {str(page.relative_to(ROOT)) for page in DOCS} == set(links)


@pytest.mark.parametrize("name", NAMES)
def test_files_that_a_page_names_exist(name: str) -> None:
    for span in SPAN.findall(BLOCK.sub("", (ROOT / name).read_text())):
        path = re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w/.-]*", span)
        if path and "NAME" not in span and not span.endswith(".png"):  # pictures may be outputs
            assert (ROOT / span).exists(), span


def first_cells(page: Path) -> list[str]:
    """The names in the first column of a page's tables."""
    rows = re.findall(r"^\| (`[^|]*) \|", page.read_text(), re.MULTILINE)
    return [name for row in rows for name in SPAN.findall(row)]


def test_every_parameter_is_described_and_no_other() -> None:
    keys = {re.sub(r"^(gate\.limits)\.\w+", r"\1.SOURCE", key) for key in flat(PARAMS)}
    described = first_cells(REFERENCE / "params.md")
    assert sorted(described) == sorted(keys)


def test_every_command_and_no_other_has_its_exit_codes_described() -> None:
    rows = {name for name in first_cells(REFERENCE / "commands.md") if name.startswith("digits ")}
    names = digits.commands().keys() - set(digits.STARTED_BY_OTHERS)
    assert rows == {f"digits {name}" for name in names}


def test_every_benchmark_and_no_other_is_described() -> None:
    modules = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "measure.save(" in path.read_text()
    }
    assert set(first_cells(ROOT / "docs" / "benchmarks.md")) == modules


@pytest.mark.parametrize("page", figures.PAGES, ids=lambda page: page.name)
def test_figures_are_those_of_the_results(page: Path) -> None:
    assert page.read_text() == figures.filled(page), "run: make figures"


def test_every_block_of_figures_has_a_page() -> None:
    marks = {name for page in figures.PAGES for name in figures.MARK.findall(page.read_text())}
    assert marks == figures.BLOCKS.keys()


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
            assert any(f"{parameter}.".startswith(f"{key}.") for parameter in known), key


@pytest.mark.parametrize("name", ["data.json", "train.json", "evaluation.json", "errors.csv"])
def test_every_metric_is_described(name: str) -> None:
    content = (ROOT / "metrics" / name).read_text()
    keys = content.splitlines()[0].split(",") if name == "errors.csv" else flat(json.loads(content))
    per_class = r"^(recall|support)\..*"
    wanted = {re.sub(per_class, r"\1.CLASS", key) for key in keys}
    assert wanted <= set(first_cells(REFERENCE / "metrics.md"))


@pytest.mark.slow(90)
@pytest.mark.parametrize("name", [n for n in NAMES if RUN.search((ROOT / n).read_text())])
def test_blocks_marked_to_run_run(name: str, tmp_path: Path) -> None:
    project = Project.scratch(tmp_path / "project")
    (project.folder / "presets" / "demo.yaml").write_text(f"# Small.\n{yaml.safe_dump(GOOD)}")
    project.commit("small")
    text = (ROOT / name).read_text()
    for value, faster in FASTER.items():
        text = text.replace(value, faster)
    for block in RUN.findall(text):
        project.run(
            "bash", "-eu", "-o", "pipefail", "-c", f"{MAKE}{block}", BIN=str(warm_python.programs())
        )


def test_mistakes_in_a_page_are_found() -> None:
    text = "```\ndigits gate --bas main  # --base\n```\nand `make nothing` or `dvc repro`"
    assert list(parameters("`train.lr: 1`, `dvc exp run -S model.depth=2`")) == [
        "model.depth",
        "train.lr",
    ]
    assert next(code(text)) == "digits gate --bas main"
    assert commands(text) == [["ops.gate", "--bas", "main"]]
    assert "nothing" not in TARGETS
    assert "--bas" not in options("ops.gate")
