"""The form of an experiment is made of the types, so it accepts what the stages accept."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from digits.core import params
from ops.tools import presets
from ops.ui.live import parameters
from tests.helpers.small import ROOT


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def problems(**given: str) -> dict[str, str]:
    named = {key.replace("__", "."): value for key, value in given.items()}
    return dict(parameters.fill_in(named, {}).problems)


def test_there_is_a_field_for_each_parameter_with_its_value_and_its_meaning() -> None:
    document = params.flat(params.read_yaml("params.yaml"))
    found = {parameter.key: parameter for parameter in parameters.parameters()}
    sections = [key.partition(".")[0] for key in found]
    assert list(dict.fromkeys(sections)) == list(params.read_yaml("params.yaml"))
    assert found.keys() == document.keys()
    assert all(parameter.meaning for parameter in found.values())
    values = parameters.fill_in({}, {})
    assert (values.changes, values.problems) == ({}, {})
    assert values.texts == values.base


def test_each_value_survives_the_way_through_a_text() -> None:
    document = params.flat(params.read_yaml("params.yaml"))
    for parameter in parameters.parameters():
        value = document[parameter.key]
        assert parameter.read(parameters.shown(value)) == value, parameter.key


@pytest.mark.parametrize(
    ("key", "allowed", "choices"),
    [
        ("train.seed", "integer, 0 to below 2^63", ()),
        ("train.ema", "0 to below 1", ()),
        ("train.schedule.step.gamma", "above 0 to 1", ()),
        ("train.epochs", "integer, 1 and above", ()),
        ("model.channels", "list of 3: integer, 1 to 4096", ()),
        ("model.hidden", "list: integer, 1 to 4096", ()),
        ("data.size", "list of 2: integer, 8 to 256, or nothing", ()),
        ("compute.workers", "auto, or integer, 1 and above", ()),
        ("model.kernel_size", "1, 3, 5, 7", ("1", "3", "5", "7")),
        ("model.batch_norm", "true, false", ("true", "false")),
        ("gate.limits.uci.ece", "0 to 1", ()),
    ],
)
def test_ranges_are_those_of_the_types(key: str, allowed: str, choices: tuple[str, ...]) -> None:
    (found,) = [p for p in parameters.parameters() if p.key == key]
    assert (found.allowed, found.choices) == (allowed, choices)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.epochs=3", 3),
        ("train.optimizer.lr= 5e-1 ", 0.5),
        ("model.channels=[8, 8,16]", [8, 8, 16]),
        ("model.hidden=64", [64]),
        ("data.size=28, 28", [28, 28]),
        ("compute.workers=2", 2),
        ("train.device=auto", "auto"),
        ("model.batch_norm=false", False),
        ("data.folder=data/other-1", "data/other-1"),
    ],
)
def test_what_is_typed_becomes_a_value(text: str, value: Any) -> None:
    key, _, typed = text.partition("=")
    values = parameters.fill_in({key: typed}, {})
    assert (values.changes, values.problems) == ({key: value}, {})


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("train.epochs", "0", "greater than or equal to 1"),
        ("train.epochs", "1.5", "integer"),
        ("train.epochs", "", "integer"),
        ("train.epochs", "1; touch x", "integer"),
        ("train.ema", "nan", "finite"),
        ("train.ema", "1", "less than 1"),
        ("train.device", "tpu", "'auto', 'cpu', 'cuda' or 'mps'"),
        ("model.channels", "8, 0, 8", "greater than or equal to 1"),
        ("model.channels", "8, 8", "3 values"),
        ("compute.workers", "0", "greater than or equal to 1"),
        ("gate.limits.mnist.ece", "2", "less than or equal to 1"),
    ],
)
def test_an_error_is_that_of_its_parameter(key: str, text: str, problem: str) -> None:
    found = parameters.fill_in({key: text}, {}).problems
    assert found.keys() == {key}
    assert problem in found[key]


def test_values_that_do_not_fit_together_are_an_error_of_their_section() -> None:
    found = problems(train__optimizer__sgd__momentum="0")
    assert found == {"train.optimizer.sgd": "expected a momentum above 0 where nesterov is true"}


@pytest.mark.parametrize("text", ["a b", "a,b", "${HOME}", "$(touch x)", "-x", "a'b", "[a]", "a=b"])
def test_a_text_that_dvc_would_not_take_literally_is_refused(text: str) -> None:
    assert problems(data__folder=text).keys() == {"data.folder"}


def test_a_preset_is_where_the_form_starts_and_what_is_typed_wins() -> None:
    preset = presets.load("tiny")
    values = parameters.fill_in({"train.epochs": "5"}, preset)
    assert values.changes == preset | {"train.epochs": 5}


def test_a_wrong_params_yaml_is_shown_where_it_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "params.yaml").read_text().replace("  epochs: 8", "  epoch: 8")
    path = tmp_path / "params.yaml"
    path.write_text(text)
    monkeypatch.setattr(parameters, "PARAMS", path)
    found = problems()
    assert found.keys() == {"train.epochs", "train.epoch"}
    assert found["train.epochs"] == "is missing"
    assert parameters.fill_in({"train.epochs": "8"}, {}).problems.keys() == {"train.epoch"}


def test_settings_of_sagemaker_are_no_unknown_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = params.read_yaml("params.yaml")
    document["compute"]["sagemaker"] = {"role": "digits"}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    monkeypatch.setattr(parameters, "PARAMS", path)
    assert problems() == {}
