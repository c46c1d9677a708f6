"""The picture of a sweep of more settings than anybody reads."""

from types import SimpleNamespace
from typing import Any

import pytest

from ops.sweep import picture


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
