from pathlib import Path

import pytest

from digits.core import params
from digits.core.errors import InputError
from digits.core.params import Params


class Inner(Params):
    lr: float
    sizes: tuple[int, ...]
    three: tuple[int, int, int] = (1, 2, 3)


class Outer(Params):
    inner: Inner


def load(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return Outer.load(path)


def test_lists_become_tuples_and_other_sections_are_not_looked_at(tmp_path: Path) -> None:
    found = load(tmp_path, "inner: {lr: 0.5, sizes: [1, 2]}\nother: {x: 1}\n")
    assert found.inner == Inner(lr=0.5, sizes=(1, 2))


@pytest.mark.parametrize(
    ("written", "value"), [("1e-05", 1e-5), ("5e-4", 5e-4), ("1E3", 1e3), ("-2.e+2", -200.0)]
)
def test_exponents_as_dvc_writes_them_are_floats(
    tmp_path: Path, written: str, value: float
) -> None:
    assert load(tmp_path, f"inner: {{lr: {written}, sizes: []}}").inner.lr == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner: {lr: 0.5, sizes: [], lrr: 1}", r"inner\.lrr is unknown; expected one of: lr, siz"),
        ("inner: {lr: 0.5}", r"inner\.sizes is missing"),
        ("inner: {lr: abc, sizes: []}", r"inner\.lr is 'abc'; expected a valid number"),
        ("inner: {lr: 0.5, sizes: [1.5]}", r"inner\.sizes\.0 is 1\.5; expected a valid integer"),
        ("inner: {lr: .nan, sizes: []}", r"inner\.lr is nan; expected a finite number"),
        ("inner: {lr: true, sizes: []}", r"inner\.lr is True; expected a valid number"),
        ("inner: 3", r"inner is 3; expected a section of keys and values"),
        ("inner: {lr: 1, sizes: 3}", r"inner\.sizes is 3; expected a list"),
        ("other: 1", r"inner is missing"),
        ("inner: {lr: 0.5, sizes: [], 5: 1}", r"inner\.5 is 5; expected a name"),
        ("inner: {lr: 0.5, sizes: [], three: [1]}", r"three is \[1\]; expected 3 values$"),
        ("[1, 2]", "holds list; expected a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)


def test_a_change_leaves_the_parameters_that_it_was_made_of_as_they_are() -> None:
    document = {"inner": {"lr": 0.5, "sizes": [1]}}
    assert params.override(document, {"inner.lr": 1.5}) == {"inner": {"lr": 1.5, "sizes": [1]}}
    assert document == {"inner": {"lr": 0.5, "sizes": [1]}}


@pytest.mark.parametrize("level", ["[\n", "{a:\n", "[", "{a: ", "- "])
def test_what_is_nested_deeply_is_not_given_to_the_loader_that_would_crash(level: str) -> None:
    assert params._is_shallow(level.encode() * 90)
    assert not params._is_shallow(level.encode() * (params.DEEPEST + 1))


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)inner\.sizes is missing.*inner\.x is unknown"):
        load(tmp_path, "inner: {lr: 0.5, x: 1}")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml does not exist"):
        params.read_yaml(tmp_path / "nowhere.yaml")
