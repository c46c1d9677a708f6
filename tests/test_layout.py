"""Where a test is to be found: tests/ mirrors the folders of the code, module by module."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.small import ROOT

TESTS = ROOT / "tests"
HELPERS = sorted((TESTS / "helpers").glob("[!_]*.py"))
# What needs the whole pipeline mirrors no module; helpers are not tests.
ELSEWHERE = ("end_to_end", "helpers")
ABOUT_ALL = ("test_imports.py", "test_layout.py")


def plain(name: str) -> str:
    """A file's name as a test can have it: dvc.yaml is dvc_yaml, __main__.py is main."""
    return re.sub(r"\W", "_", name.removesuffix(".py").lower()).strip("_")


@pytest.mark.parametrize(
    "test", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_each_module_of_tests_is_named_after_what_it_tests(test: Path) -> None:
    folder = test.relative_to(TESTS).parent
    if folder.parts[:1] not in [(name,) for name in ELSEWHERE] and test.name not in ABOUT_ALL:
        subjects = {plain(path.name) for path in (ROOT / folder).iterdir()}
        subjects |= {plain(path.stem) for path in (ROOT / folder).iterdir()} | {folder.name}
        assert test.stem.removeprefix("test_") in subjects


@pytest.mark.parametrize("helper", HELPERS, ids=lambda path: path.stem)
def test_each_helper_says_how_it_is_used(helper: Path) -> None:
    text = ast.get_docstring(ast.parse(helper.read_text()), clean=False) or ""
    assert re.search(r"^    \S", text, re.MULTILINE), "an example, indented"


def test_no_two_helpers_have_one_name() -> None:
    names = Counter(
        node.name
        for helper in HELPERS
        for node in ast.parse(helper.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
