"""dvc.yaml says what the code does: its stages, their dependencies and their parameters."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any, TypeGuard

import pytest
import yaml

from digits import params
from ops.pipeline import declared_outputs
from tests.helpers.small import ROOT

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, Any] = DVC["stages"]
HOUSE = ("digits", "stages", "ops", "serving", "benchmarks", "tests")


def module_file(name: str) -> Path | None:
    path = ROOT / Path(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def imported_names(file: Path) -> set[str]:
    """What a file imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            assert node.module is not None
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def direct_imports(file: Path) -> set[Path]:
    """The files of this repository that a file imports."""
    found = {module_file(name) for name in imported_names(file) if name.split(".")[0] in HOUSE}
    return {path for path in found if path is not None and path.name != "__init__.py"}


def all_imports(file: Path) -> set[Path]:
    seen: set[Path] = set()
    queue = [file]
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            queue += direct_imports(path)
    return seen


def stage_module(name: str) -> str:
    """`stages.x` in a stage's command, which may go through ops.launch."""
    return next(word for word in STAGES[name]["cmd"].split() if word.startswith("stages."))


def test_every_stage_script_is_a_stage_and_every_stage_a_script() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    assert scripts == set(STAGES)
    assert all(stage_module(name) == f"stages.{name}" for name in STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_declared_code_is_the_imported_code(name: str) -> None:
    imported = {str(p.relative_to(ROOT)) for p in all_imports(ROOT / "stages" / f"{name}.py")}
    declared = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert declared == imported


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_depends_on_the_pins_of_what_can_change_a_number(name: str) -> None:
    assert "requirements-compute.txt" in STAGES[name]["deps"]


@pytest.mark.parametrize("name", STAGES)
def test_declared_parameters_are_the_ones_read(name: str) -> None:
    section = getattr(import_module(f"stages.{name}"), f"{name.capitalize()}Params", None)
    read = set(section.model_fields) if section else set()
    assert set(STAGES[name].get("params", [])) == read


def test_every_section_of_params_is_read_by_someone() -> None:
    declared = {section for stage in STAGES.values() for section in stage.get("params", [])}
    assert set(params.read_yaml(ROOT / "params.yaml")) == declared | {"compute", "gate"}


def test_the_paths_of_a_command_are_its_declared_files() -> None:
    for name, stage in STAGES.items():
        known = [*declared_outputs(stage), *stage["deps"]]
        for word in stage["cmd"].split():
            if "/" in word:
                assert any(p == word or p.startswith(f"{word}/") for p in known), (name, word)


def test_metrics_stay_in_git_and_everything_large_in_the_cache() -> None:
    for stage in STAGES.values():
        for path, options in declared_outputs(stage).items():
            assert path.startswith("metrics/") == (options.get("cache") is False), path


def test_dvc_may_give_back_what_every_stage_but_the_last_made_before() -> None:
    """Its run cache does for no stage that has a plain out which is not cached."""
    kept = {
        name
        for name, stage in STAGES.items()
        if all(isinstance(o, str) for o in stage.get("outs", []))
    }
    assert set(STAGES) - kept == {"describe"}


def test_imports_point_one_way() -> None:
    allowed = {
        "digits": {"digits"},
        "stages": {"digits"},
        "ops": {"digits", "ops"},
        "serving": {"digits", "serving"},
    }
    for room, targets in allowed.items():
        for file in (ROOT / room).rglob("*.py"):
            rooms = {path.relative_to(ROOT).parts[0] for path in direct_imports(file)}
            assert rooms <= targets, file


@pytest.mark.parametrize("file", sorted((ROOT / "digits").rglob("*.py")), ids=lambda p: p.stem)
def test_the_library_runs_neither_dvc_nor_git_and_is_told_its_parameters(file: Path) -> None:
    packages = {name.split(".")[0] for name in imported_names(file)}
    assert not packages & {"dvc", "gto", "scmrepo", "subprocess"}
    texts = {node.value for node in ast.walk(ast.parse(file.read_text())) if is_text(node)}
    assert not texts & {"params.yaml", "dvc.yaml", "dvc.lock"}


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
