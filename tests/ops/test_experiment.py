"""A preset is one `dvc exp run`, under its name, in a scratch copy of the checkout."""

import json
import shutil

import pytest
import yaml

from digits.core.errors import InputError
from ops import experiment
from tests.helpers.project import Project
from tests.helpers.small import LENIENT, SMALL

pytestmark = pytest.mark.slow(60)

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
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace("max_class_ratio: 1.5", "max_class_ratio: 1.6"))
    output = project.run(*COMMAND, "small", "-S", "train.seed=1")
    assert "changes, which the preset small leaves: prepare.max_class_ratio is 1.6\n" in output
    assert sorted(names(project)) == ["small", "small-2"]
    assert yaml.safe_load(params.read_text())["train"]["seed"] == 1


def test_a_wrong_value_leaves_a_way_back(project: Project) -> None:
    params = project.folder / "params.yaml"
    before = params.read_bytes()
    output = project.run(*COMMAND, "small", "-S", "train.epochs=0", code=255)
    assert "train.epochs is 0" in output
    way = "git checkout params.yaml && dvc checkout"  # the first commit has no results
    assert f"Back to those of the last commit: {way}\n" in output
    project.run("sh", "-c", way)
    assert project.run("git", "diff", "--name-only") == ""
    params.write_bytes(before)


def test_a_preset_with_an_unknown_key_runs_nothing(project: Project) -> None:
    before = names(project)
    output = project.run(*COMMAND, "wrong", code=1)
    assert "presets/wrong.yaml: train.epoch is unknown; expected one of: seed, device" in output
    assert names(project) == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--seed", "3"), 1, "For several seeds: --seeds N; for another one: -S train.seed=N"),
        (("--sed", "3"), 254, "unrecognized arguments: --sed"),
    ],
)
def test_what_runs_nothing_names_no_way_back(
    project: Project, options: tuple[str, ...], code: int, message: str
) -> None:
    output = project.run(*COMMAND, "small", *options, code=code)
    assert message in output
    assert "Back to" not in output


def test_without_a_name_the_presets_are_listed(project: Project) -> None:
    output = project.run(*COMMAND)
    assert "fast      Above 99 % in the seconds of a single epoch." in output


def seeds(project: Project) -> dict[str, int]:
    """The seed of each further run in metrics/, by its folder."""
    return {
        path.parent.name: json.loads(path.read_text())["seed"]
        for path in sorted((project.folder / "metrics").glob("*/train.json"))
    }


def test_further_seeds_go_where_the_gate_reads_them_and_those_of_earlier_runs_go(
    project: Project,
) -> None:
    project.run("git", "checkout", "--quiet", "--", "params.yaml")
    stale = project.folder / "metrics" / "seed-7"
    stale.mkdir()
    (stale / "train.json").write_text('{"seed": 7}')
    output = project.run(*COMMAND, "small", "--seeds", "3")
    assert "seeds 0, 1, 2, one after another. Training takes about " in output
    assert "seed 2: 3 of 3; about" in output
    assert seeds(project) == {"seed-1": 1, "seed-2": 2}
    assert yaml.safe_load((project.folder / "params.yaml").read_text())["train"]["seed"] == 0
    rules = project.folder / "lenient.yaml"
    document = yaml.safe_load((project.folder / "params.yaml").read_text())
    document["gate"] |= {"seeds": [0, 1, 2], "limits": {"uci": LENIENT}}
    rules.write_text(yaml.safe_dump(document))
    verdict = project.run(
        "python", "-m", "ops.gate", "--first", "--rules", "lenient.yaml", "--json"
    )
    assert {f"errors (metrics{seed})" for seed in ("", "/seed-1", "/seed-2")} <= {
        limit["name"] for limit in json.loads(verdict)["limits"]
    }

    project.commit("a model with three seeds")
    document["train"]["ema"] = 0.25
    (project.folder / "params.yaml").write_text(yaml.safe_dump(document))
    program = "from ops import experiment; experiment.run_further_seed(None, 3)"
    output = project.run("python", "-c", program, code=1)
    assert "for seed 3, train.ema is 0.25 there, and 0.5 here. Run the command again" in output
    assert seeds(project) == {"seed-1": 1, "seed-2": 2}
    project.run("git", "checkout", "--quiet", "--", "params.yaml")
    project.run(*COMMAND, "--seeds", "2")
    assert seeds(project) == {"seed-1": 1}


def test_the_rules_of_a_revision_say_which_seeds(project: Project) -> None:
    shutil.rmtree(project.folder / "metrics" / "seed-1")
    assert "one seed is enough" in project.run(*COMMAND, "--rules", "main")
    document = yaml.safe_load((project.folder / "params.yaml").read_text())
    document["gate"]["seeds"] = [2, 0]
    (project.folder / "params.yaml").write_text(yaml.safe_dump(document))
    project.commit("a rule")
    document["gate"]["seeds"] = []
    (project.folder / "params.yaml").write_text(yaml.safe_dump(document))
    output = project.run(*COMMAND, "--rules", "main")
    assert "seeds 0, 2, one after another" in output
    assert seeds(project) == {"seed-2": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seeds", "0"), "--seeds is '0'; expected how many seeds"),
        (("--seeds",), "--seeds is ''; expected how many seeds"),
        (("--seeds=none", "small"), "--seeds is 'none'; expected how many seeds"),
        (("--seeds", "2", "-S", "train.seed=4"), "train.seed is set by --seeds"),
        (("--seeds", "2", "--temp", "-S", "train.ema=0"), "--temp can't be used with --seeds"),
        (("small", "--seeds", "2", "--queue"), "--queue can't be used with --seeds"),
        (("--rules", "main", "--run"), "--run can't be used with --seeds"),
        (("--rules", "nowhere"), "'nowhere' is not a revision"),
        (("-S", "train.ema=0.5"), "-S is not a preset. Options follow the preset's name"),
    ],
)
def test_what_is_wrong_stops_it_before_anything_runs(
    project: Project, words: tuple[str, ...], message: str
) -> None:
    before = names(project)
    assert message in project.run(*COMMAND, *words, code=1)
    assert names(project) == before


@pytest.mark.parametrize(
    ("first", "count", "required", "further", "expected"),
    [
        (0, 3, [], 0, [0, 1, 2]),
        (1, 3, [], 0, [1, 0, 2]),
        (0, None, [], 0, [0]),
        (0, None, [], 2, [0, 1, 2]),
        (0, None, [4, 0], 0, [0, 4]),
        (0, 5, [4, 0], 0, [0, 4]),
    ],
)
def test_the_rules_come_before_a_count_and_a_count_before_what_is_there(
    first: int, count: int | None, required: list[int], further: int, expected: list[int]
) -> None:
    assert experiment.wanted_seeds(first, count, required, further) == expected


def test_a_first_seed_that_the_rules_do_not_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.seed is 5, but gate\.seeds requires \[0, 1\]"):
        experiment.wanted_seeds(5, 3, [0, 1], 0)
