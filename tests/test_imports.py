"""Imports point one way, as CONTRIBUTING.md draws it; no lazy import hides a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from digits.core.errors import ROOMS
from ops.tools.imports import imported
from tests.helpers.small import ROOT

# What the files of a room may import, besides their own room.
ALLOWED = {
    "digits.core": set(),
    "digits.imaging": {"digits.core"},
    "digits.data": {"digits.core", "digits.imaging"},
    "digits.model": {"digits.core", "digits.imaging", "digits.data"},
    "digits.training": {"digits.core", "digits.data", "digits.model"},
    "digits.drawing": {"digits.core", "digits.data"},
    "digits.outliers": {
        "digits.core",
        "digits.data",
        "digits.drawing",
        "digits.model",
        "digits.training",
    },
    "digits.evaluation": {"digits.core", "digits.data", "digits.model"},
    "digits.gate": {"digits.core"},
    "digits.storage": {"digits.core"},
}
# The same for the pages: the rooms of ops/ui, without the files beside them.
ALLOWED_IN_UI = {
    "ops.ui.facts": set(),
    "ops.ui.pages": {"ops.ui.facts"},
    "ops.ui.live": {"ops.ui.facts", "ops.ui.pages"},
}
# Commands that ask the gate for its decision. Otherwise no command imports another one.
ASK_THE_GATE = {"ops.report", "ops.registry", "ops.evaluators", "ops.ui"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in ROOMS
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__init__.py"
}


def room(module: str) -> str:
    """digits.core for digits.core.errors; ops.gate for a file or a folder of that name."""
    return ".".join(module.split(".")[:2])


def imports_of(module: str) -> set[str]:
    return imported(MODULES[module].read_bytes()) & MODULES.keys()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("digits.")])
def test_a_room_of_the_library_imports_only_what_is_below_it(module: str) -> None:
    rooms = {room(name) for name in imports_of(module)} - {room(module)}
    assert rooms <= ALLOWED[room(module)]


def test_the_library_has_the_rooms_that_are_allowed_for() -> None:
    assert {room(name) for name in MODULES if name.startswith("digits.")} == ALLOWED.keys()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("stages.")])
def test_stages_import_the_library_alone_and_store_nothing_elsewhere(module: str) -> None:
    found = imports_of(module)
    assert {name.split(".")[0] for name in found} <= {"digits"}
    assert "digits.storage" not in {room(name) for name in found}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("ops.")])
def test_no_command_imports_another_one(module: str) -> None:
    rooms = {room(name) for name in imports_of(module) if name.startswith("ops.")}
    allowed = {"ops.tools", room(module)} | (
        {"ops.gate"} if room(module) in ASK_THE_GATE else set()
    )
    assert rooms <= (allowed if room(module) != "ops.tools" else {"ops.tools"})
    assert {name.split(".")[0] for name in imports_of(module)} <= {"digits", "ops"}


@pytest.mark.parametrize("room_of_ui", ALLOWED_IN_UI)
def test_a_room_of_the_pages_imports_only_what_is_below_it(room_of_ui: str) -> None:
    modules = [name for name in MODULES if name.startswith(f"{room_of_ui}.")]
    found = {name for module in modules for name in imports_of(module)}
    beside = {"ops.ui.contents", "ops.ui.server", "ops.ui.site"}
    rooms = {".".join(name.split(".")[:3]) for name in found} & (ALLOWED_IN_UI.keys() | beside)
    assert modules
    assert rooms - {room_of_ui} <= ALLOWED_IN_UI[room_of_ui]


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("serving.")])
def test_the_server_shares_with_the_commands_through_the_library_alone(module: str) -> None:
    assert {name.split(".")[0] for name in imports_of(module)} <= {"digits", "serving"}


def test_there_is_no_circle_even_where_an_import_is_lazy() -> None:
    TopologicalSorter({name: imports_of(name) for name in MODULES}).prepare()


@pytest.mark.parametrize(
    "path", sorted(p for n in ROOMS for p in (ROOT / n).rglob("__init__.py")), ids=str
)
def test_a_packages_own_file_only_says_what_it_is_for(path: Path) -> None:
    """So that to import a module imports that one, and `imports.reached` may pass these by."""
    body = ast.parse(path.read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("digits.")])
def test_the_library_runs_neither_dvc_nor_git_and_is_told_its_parameters(module: str) -> None:
    tree = ast.parse(MODULES[module].read_bytes())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"dvc", "gto", "scmrepo", "subprocess"}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not texts & {"params.yaml", "dvc.yaml", "dvc.lock"}
