"""A preset is one `dvc exp run`, under its name, in a scratch copy of the checkout."""

import pytest
import yaml

from tests.helpers.project import Project
from tests.helpers.small import SMALL

pytestmark = pytest.mark.slow(12)

COMMAND = ("python", "-m", "ops.experiment")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project.scratch(tmp_path_factory.mktemp("scratch") / "project")
    (made.folder / "presets" / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (made.folder / "presets" / "wrong.yaml").write_text("# Wrong.\ntrain: {epoch: 1}\n")
    made.commit("presets")
    return made


def names(project: Project) -> list[str]:
    return project.run("dvc", "exp", "list", "--name-only").split()


def test_a_preset_is_an_experiment_by_its_name_and_a_second_one_is_numbered(
    project: Project,
) -> None:
    project.run(*COMMAND, "small")
    assert names(project) == ["small"]
    shown = project.run("dvc", "exp", "show", "--csv")
    assert "uci" in shown
    project.run(*COMMAND, "small", "-S", "train.seed=1")
    assert sorted(names(project)) == ["small", "small-2"]
    assert yaml.safe_load((project.folder / "params.yaml").read_text())["train"]["seed"] == 1


def test_a_preset_with_an_unknown_key_runs_nothing(project: Project) -> None:
    before = names(project)
    output = project.run(*COMMAND, "wrong", code=1)
    assert "presets/wrong.yaml: train.epoch is unknown; expected one of: seed, device" in output
    assert names(project) == before


def test_without_a_name_the_presets_are_listed(project: Project) -> None:
    output = project.run(*COMMAND)
    assert "fast      Above 99 % in the seconds of a single epoch." in output
