"""dvc.yaml says what the code does: its stages, their dependencies and their parameters."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from digits.core import params
from ops.tools import dvc_files, imports
from tests.helpers.small import ROOT

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, Any] = DVC["stages"]
DECLARED = dvc_files.parse_pipeline((ROOT / "dvc.yaml").read_bytes())


def stage_module(name: str) -> str:
    """`stages.x` in a stage's command."""
    return next(word for word in STAGES[name]["cmd"].split() if word.startswith("stages."))


def test_every_stage_script_is_a_stage_and_every_stage_a_script() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    assert scripts == set(STAGES)
    assert all(stage_module(name) == f"stages.{name}" for name in STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_starts_through_the_launcher_which_records_its_runs(name: str) -> None:
    assert STAGES[name]["cmd"].startswith("python -m ops.launch ")


@pytest.mark.parametrize("name", STAGES)
def test_declared_code_is_the_imported_code(name: str) -> None:
    """A room of digits/, or the one file of it that the stage imports."""
    script = f"stages/{name}.py"
    rooms: dict[str, list[str]] = {}
    for path in imports.reached(script).keys() - {script}:
        rooms.setdefault(str(Path(path).parent), []).append(path)
    whole = {room for room, files in rooms.items() if len(files) > 1}
    code = {
        room if room in whole else files[0]
        for room, files in rooms.items()
        if not any(str(parent) in whole for parent in Path(room).parents)
    }
    declared = {dep for dep in STAGES[name]["deps"] if dep.startswith(("digits/", "stages/"))}
    assert declared == code | {script}


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
        known = [*DECLARED[name].outputs, *stage["deps"]]
        for word in stage["cmd"].split():
            if "/" in word:
                assert any(p == word or p.startswith(f"{word}/") for p in known), (name, word)


def test_metrics_stay_in_git_and_everything_large_in_the_cache() -> None:
    for stage in DECLARED.values():
        for path, options in stage.outputs.items():
            assert path.startswith("metrics/") != options.cache, path


def test_dvc_may_give_back_what_every_stage_but_the_last_made_before() -> None:
    """Its run cache does for no stage that has a plain out which is not cached."""
    kept = {
        name
        for name, stage in STAGES.items()
        if all(isinstance(o, str) for o in stage.get("outs", []))
    }
    assert set(STAGES) - kept == {"describe"}
