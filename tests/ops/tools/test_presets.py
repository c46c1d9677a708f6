"""Presets name parameters that there are, and nothing else."""

from pathlib import Path

import pytest

from digits.core import params
from digits.core.errors import InputError
from digits.core.params import override
from digits.model.network import Architecture
from digits.training.recipe import Recipe
from ops.tools import presets
from tests.helpers.small import ROOT

DOCUMENT = params.read_yaml(ROOT / "params.yaml")
NAMES = sorted(path.stem for path in (ROOT / "presets").iterdir())


@pytest.fixture(autouse=True)
def _in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_gives_valid_parameters_and_says_what_it_is_for(name: str) -> None:
    changed = override(DOCUMENT, presets.load(name))
    assert changed != DOCUMENT
    Architecture.parse(changed["model"])
    Recipe.parse(changed["train"])
    assert len(presets.names()[name]) > 20


def test_an_override_changes_its_key_alone_and_not_the_original() -> None:
    document = {"train": {"lr": 0.1, "epochs": 3}, "seed": 1}
    assert override(document, {"train.lr": 0.2}) == {"train": {"lr": 0.2, "epochs": 3}, "seed": 1}
    assert document["train"] == {"lr": 0.1, "epochs": 3}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("train.lt", "train.lt is unknown; expected one of: lr"),
        ("trian.lr", "trian is unknown; expected one of: train"),
        ("train.lr.x", "train.lr.x is unknown; train.lr is not a section"),
    ],
)
def test_an_unknown_key_is_named(key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        override({"train": {"lr": 0.1}}, {key: 1})


def test_an_unknown_preset_is_told_which_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "presets").mkdir()
    monkeypatch.chdir(tmp_path)
    text = "# For tests.\ntrain: {epochs: 1, sgd: {momentum: 0.5}}\n"
    (tmp_path / "presets" / "small.yaml").write_text(text)
    assert presets.load("small") == {"train.epochs": 1, "train.sgd.momentum": 0.5}
    with pytest.raises(InputError, match="no preset 'tiny'; expected one of: small"):
        presets.load("tiny")


def test_a_preset_is_a_file_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"presets/small.yaml": b"# Gr\xfc\xdfe\n{}\n", "other.yaml": b"{secret: 1}\n"}
    (tmp_path / "presets").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in ("../other", str(tmp_path / "other"), "", "a\0"):
        with pytest.raises(InputError, match="expected one of: small"):
            presets.load(name)
