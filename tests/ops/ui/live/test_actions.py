"""A form becomes a list of words, or says what is wrong; what is typed is only ever a value."""

import argparse
from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.registry.__main__ import parse_args
from ops.ui.live import actions
from ops.ui.live.actions import ACTIONS, Form
from tests.helpers.run_history import RunHistory
from tests.helpers.small import ROOT
from tests.ops.tools.test_tags import tag

HOSTILE = "--force; $(touch pwned) `id` 'x' \"y\" <b>\n--stage=staging"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def fill_in(action: str, **given: str) -> Form:
    return ACTIONS[action].fill_in({k.replace("__", "."): v for k, v in given.items()})


@pytest.mark.parametrize(
    ("action", "given", "command"),
    [
        ("reproduce", {}, "dvc repro"),
        ("reproduce", {"target": "train"}, "dvc repro train"),
        ("experiment", {}, "dvc exp run --temp"),
        (
            "experiment",
            {"here": "on", "name": "a-1", "train.epochs": "3", "model.hidden": "8, 9"},
            "dvc exp run --name=a-1 '--set-param=model.hidden=[8, 9]' --set-param=train.epochs=3",
        ),
        (
            "experiment",
            {"preset": "short"},
            "dvc exp run --temp --set-param=train.epochs=3 --set-param=train.ema=0.99",
        ),
        ("sweep", {"file": "sweeps/lr.yaml"}, "digits sweep sweeps/lr.yaml"),
        (
            "keep",
            {"experiment": "", "message": "a wider\nnetwork"},
            "digits keep '--message=a wider network'",
        ),
        ("push", {"what": "data"}, "digits push"),
        ("promote", {}, "digits registry promote --stage=production"),
        (
            "promote",
            {"stage": "staging", "version": "v1.2.0", "force": "on", "reason": " it  is\nbetter "},
            "digits registry promote --stage=staging --version=1.2.0 --force "
            "'--reason=it is better'",
        ),
        (
            "rollback",
            {"reason": "slow"},
            "digits registry rollback --stage=production --reason=slow",
        ),
    ],
)
def test_a_form_is_the_command_that_a_person_would_type(
    action: str, given: dict[str, str], command: str
) -> None:
    form = fill_in(action, **given)
    assert form.problems == {}
    assert form.command == command
    assert fill_in(action, **form.given).command == command  # the form can be opened again


@pytest.mark.parametrize(
    ("action", "given", "wrong"),
    [
        ("reproduce", {"target": "train; id"}, {"target"}),
        ("reproduce", {"target": "--force"}, {"target"}),
        ("experiment", {"name": "--temp"}, {"name"}),
        ("experiment", {"name": "a b"}, {"name"}),
        (
            "experiment",
            {"train.epochs": "0", "model.channels": "x"},
            {"train.epochs", "model.channels"},
        ),
        ("experiment", {"train.optimizer.sgd.momentum": "0"}, {"train.optimizer.sgd"}),
        ("sweep", {"file": "../other.yaml"}, {"file"}),
        ("sweep", {"file": "/etc/passwd"}, {"file"}),
        ("keep", {"experiment": "", "message": " "}, {"message"}),
        ("keep", {"experiment": "--help", "message": "x"}, {"experiment"}),
        ("promote", {"stage": "else"}, {"stage"}),
        ("promote", {"version": "1.2"}, {"version"}),
        ("promote", {"version": "--force"}, {"version"}),
        ("promote", {"force": "on"}, {"reason"}),
        ("promote", {"reason": "a\0b"}, {"reason"}),
        ("promote", {"reason": "x" * 501}, {"reason"}),
        ("rollback", {"to": "9.9.9", "reason": "x"}, {"to"}),
        ("rollback", {"reason": " "}, {"reason"}),
    ],
)
def test_a_wrong_value_is_an_error_of_its_field(
    action: str, given: dict[str, str], wrong: set[str]
) -> None:
    form = fill_in(action, **given)
    assert form.problems.keys() == wrong
    assert not form.is_complete


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_a_reason_is_one_value_whatever_is_in_it(
    action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = fill_in(action, reason=HOSTILE)
    program, command, *words = form.words
    assert (program, command) == ("digits", "registry")
    monkeypatch.setattr("sys.argv", ["digits registry", *words])
    args: argparse.Namespace = parse_args()
    assert (args.stage, args.force) == ("production", False)
    assert args.reason == " ".join(HOSTILE.split())


def test_versions_to_roll_back_to_are_offered_the_latest_first_whatever_their_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = [
        each
        for i, version in enumerate(("1.9.0", "1.10.0", "2.0.0-rc.1"))  # the last one is GTO's
        for each in (
            tag(f"digit-classifier@v{version}", version, i),
            tag(f"digit-classifier#production#{i}", version, i),
        )
    ]
    monkeypatch.setattr(actions.tags, "read", lambda: known)
    problem = fill_in("rollback", to="3.0.0", reason="x").problems["to"]
    assert problem == "3.0.0 never held production; these did: 2.0.0-rc.1, 1.10.0, 1.9.0"


def test_the_results_here_are_kept_by_default_or_else_those_of_the_last_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = RunHistory.create(tmp_path / "project")
    monkeypatch.chdir(made.folder)
    made.commit("base", [1])
    commit = made.experiment("-rf", [2])  # its name would be read as an option
    assert fill_in("keep", message="x").command == f"digits keep {commit[:12]} --message=x"
    made.write_run([3])
    assert fill_in("keep", message="x").command == "digits keep --message=x"


def test_only_data_can_be_pushed_without_a_git_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = RunHistory.create(tmp_path / "project")
    monkeypatch.chdir(made.folder)
    assert fill_in("push", what="commits").errors == ["there is no Git server to push to"]
    assert fill_in("push", what="data").is_complete
    made.run("git", "remote", "add", "origin", "../server")
    assert fill_in("push", what="commits").is_complete


def test_a_name_that_an_experiment_has_already_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions.git, "experiments", lambda: {"taken": "0" * 40})
    assert "has this name already" in fill_in("experiment", name="taken").problems["name"]
    assert fill_in("experiment", name="free").problems == {}


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="tiny"):
        fill_in("experiment", preset="../x")


def test_each_field_has_a_label_and_a_name_of_its_own() -> None:
    for action in ACTIONS.values():
        fields = [f for group in action.fill_in({}).groups for f in group.fields]
        assert len({field.name for field in fields}) == len(fields)
        assert all(field.label for field in fields)


def test_what_is_not_chosen_is_only_for_another_choice() -> None:
    groups = {group.name: group.only_for for group in fill_in("experiment").groups}
    assert groups["train.optimizer.adam"] == ("train.optimizer.name", "adam")
    assert groups["train.schedule.step"] == ("train.schedule.name", "step")
    assert groups["train.augmentation"] is None


def test_every_action_is_one_that_the_links_name() -> None:
    documented = actions.__doc__ or ""
    assert all(f"action={name}" in documented for name in ACTIONS)
