"""The picture of a sweep of more settings than anybody reads."""

from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from ops.sweep import picture
from ops.sweep.settings import Setting


def test_of_many_settings_the_default_and_the_best_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(picture, "MOST", 3)
    outcomes: Any = [
        SimpleNamespace(mean=mean, is_default=number == 0)
        for number, mean in enumerate((0.1, 0.3, 0.2, 0.4, 0.3))
    ]
    assert picture.most_accurate(outcomes) == [outcomes[0], outcomes[1], outcomes[3]]
    assert picture.most_accurate(outcomes[1:]) == [outcomes[1], outcomes[3], outcomes[4]]


def test_the_line_of_an_interval_ends_where_accuracies_do() -> None:
    outcome: Any = SimpleNamespace(
        mean=0.5,
        margin=0.9,
        accuracies=[0.4, 0.6],
        mark="",
        setting=Setting("x", "x", {}, {}),
        is_default=False,
    )
    axis = Figure().add_subplot()
    picture._draw_rows(axis, [outcome])
    lines: Any = axis.collections[0]
    assert lines.get_segments()[0].tolist() == [[0, 0], [1, 0]]
