"""A sweep's file becomes settings with names that last, and its runs become a verdict on each."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from digits.core import params
from digits.core.errors import InputError
from digits.gate import results
from digits.gate.results import Run
from digits.gate.seed_spread import mean_margin
from ops.sweep import outcomes, picture, settings
from ops.sweep.settings import Setting, Sweep
from tests.helpers.metrics_files import metrics_files
from tests.helpers.small import ROOT

DOCUMENT = params.read_yaml(ROOT / "params.yaml")


def load(folder: Path, text: str) -> Sweep:
    path = folder / "my.sweep.yaml"
    path.write_text(text)
    return settings.load(path, DOCUMENT)


def run(*wrong: int, **changes: Any) -> Run:
    return results.parse("run", metrics_files(wrong, **changes))


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_sweeps_that_come_along_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert len(settings.load(path, DOCUMENT).settings) > 1


def test_a_grid_gives_every_combination_and_a_list_its_settings_after_the_default(
    tmp_path: Path,
) -> None:
    sweep = load(
        tmp_path,
        "seeds: 2\ngrid: {train.optimizer.lr: [0.1, 0.2], train: {ema: [0.9, 0.99]}}\n"
        "settings: [{model: {channels: [4, 8, 8]}, train.schedule.name: step}]",
    )
    assert sweep.name == "my_sweep"
    assert sweep.seeds == [0, 1]
    assert {s.name: s.changes for s in sweep.settings} == {
        "default": {},
        "lr=0.1_ema=0.9": {"train.optimizer.lr": 0.1, "train.ema": 0.9},
        "lr=0.1_ema=0.99": {"train.optimizer.lr": 0.1, "train.ema": 0.99},
        "lr=0.2_ema=0.9": {"train.optimizer.lr": 0.2, "train.ema": 0.9},
        "lr=0.2_ema=0.99": {"train.optimizer.lr": 0.2, "train.ema": 0.99},
        "channels=4_8_8_schedule.name=step": {
            "model.channels": [4, 8, 8],
            "train.schedule.name": "step",
        },
    }
    assert sweep.settings[-1].params["model"]["channels"] == [4, 8, 8]


def test_a_value_that_is_the_defaults_is_not_run_twice(tmp_path: Path) -> None:
    always = {"train.optimizer.lr": 0.2}
    text = {"always": always, "grid": {"train.optimizer.lr": [0.1, 0.2]}, "seeds": [3]}
    sweep = load(tmp_path, yaml.safe_dump(text))
    assert [(s.name, s.label) for s in sweep.settings] == [
        ("default", "lr=0.2 (default)"),
        ("lr=0.1", "lr=0.1"),
    ]
    assert sweep.seeds == [3]


def test_a_setting_that_is_there_twice_is_run_once(tmp_path: Path) -> None:
    sweep = load(tmp_path, "settings: [{train.ema: 0.9}, {train: {ema: 0.9}}]")
    assert [(s.name, s.label) for s in sweep.settings] == [
        ("default", "default"),
        ("ema=0.9", "ema=0.9"),
    ]


def test_a_name_has_no_two_dots_in_a_row_which_git_refuses(tmp_path: Path) -> None:
    sweep = load(tmp_path, "settings: [{data.folder: ../scans}]")
    assert sweep.settings[1].name == "folder=__scans"


def test_a_preset_comes_before_what_stands_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    sweep = load(tmp_path, "settings: [{preset: demo, train.epochs: 3}]")
    setting = sweep.settings[1]
    assert setting.name == "demo_epochs=3"
    assert setting.changes["train.epochs"] == 3
    assert setting.changes["data.source"] == "uci"


def test_a_long_setting_has_a_name_of_its_own_that_fits(tmp_path: Path) -> None:
    sweep = load(
        tmp_path, f"settings: [{{gate.seeds: {[*range(90)]}}}, {{gate.seeds: {[*range(91)]}}}]"
    )
    names = {setting.name for setting in sweep.settings}
    assert len(names) == 3
    assert max(map(len, names)) <= settings.LONGEST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {train.lrr: [1]}", "my.sweep.yaml: train.lrr is unknown; expected one of: seed"),
        ("always: {trian: {lr: 1}}", "trian is unknown; expected one of: "),
        ("grids: {train.ema: [1]}", "grids is unknown; expected one of: seeds, always"),
        ("grid: {train.ema: 0.5}", "grid.train.ema is 0.5; expected a list of values"),
        ("grid: {train.seed: [1, 2]}", "train.seed is set by seeds"),
        ("seeds: 0", "seeds is 0; expected"),
        ("seeds: [1, 1]", r"seeds is \[1, 1\]; expected different numbers"),
        ("settings: [{preset: none}]", "there is no preset 'none'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)


def made_of(*names: str) -> list[Setting]:
    return [Setting(name, name, {}, {}) for name in names]


def test_a_setting_is_noise_better_or_worse_by_the_gates_test() -> None:
    default, same, bad, good = made_of("default", "same", "bad", "good")
    found = outcomes.compare(
        [
            (default, [run(*range(60)), run(*range(1, 61))]),
            (same, [run(*range(62)), run(*range(2, 62))]),
            (bad, [run(*range(100)), run(*range(102))]),
            (good, [run(*range(20)), run(*range(22))]),
        ]
    )
    assert [outcome.mark for outcome in found] == ["", "noise", "worse", "better"]
    assert found[2].difference is not None
    assert found[2].difference.loss == 41
    assert picture.draw("x", found) == picture.draw("x", found)


def test_what_has_no_runs_is_left_out_and_other_test_images_are_not_compared() -> None:
    default, none, other = made_of("default", "none", "other")
    runs = [(default, [run(1)]), (none, []), (other, [run(*range(90), test_set="c" * 64)])]
    found = outcomes.compare(runs)
    assert [outcome.setting for outcome in found] == [default, other]
    assert found[1].difference is None
    assert picture.texts_of(found[1])[1:] == ("", "not compared")


def test_without_the_default_no_setting_is_compared_or_drawn_as_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default, one, other = made_of("default", "one", "other")
    found = outcomes.compare([(default, []), (one, [run(1)]), (other, [run(2, 3)])])
    assert [outcome.difference for outcome in found] == [None, None]
    rows: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        picture, "_write_row", lambda _, row, colour, texts: rows.append((colour, *texts[1:]))
    )
    lines: list[float] = []
    monkeypatch.setattr(picture.Axes, "axvline", lambda _, x, **style: lines.append(x))
    picture.draw("x", found)
    assert rows == [(picture.MUTED, "", "not compared")] * 2
    assert lines == []


def test_the_margin_is_that_of_students_t() -> None:
    assert mean_margin([1.0]) is None
    assert mean_margin([0.0, 1.0, 2.0]) == pytest.approx(2.4841, abs=1e-4)
