from xml.etree import ElementTree

import pytest

from ops.tools.drawing import charts
from ops.tools.drawing.charts import Dot, Line, Node

EVIL = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.9881, 0.9969, [0.99, 0.992, 0.994, 0.996]),
        (1, 8, [2, 4, 6, 8]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(
    low: float, high: float, expected: list[float]
) -> None:
    assert charts.ticks(low, high) == expected


@pytest.mark.parametrize(
    "chart",
    [
        charts.curves(EVIL, [Line("here", [(1, 0.5)])], EVIL),
        charts.curves("flat", [Line("here", [(1, 2), (2, 2)]), Line("before", [(1, 2)])], "epoch"),
        charts.small_line(EVIL, [3, 1, 2], marked=[1]),
        charts.small_line("one value", [1]),
        charts.calibration(EVIL, [Dot("here", 0.5, 0.5, 3)]),
        charts.dumbbells(EVIL, [(EVIL, None, 1.0), ("b", 0.4, 0.5)]),
        charts.bars(EVIL, [(EVIL, "here", 0, EVIL), ("b", "before", 3, "")]),
        charts.graph(EVIL, [Node(EVIL, EVIL, "calm"), Node("b", "", "calm")], [(0, 1, EVIL)]),
    ],
)
def test_a_chart_is_well_formed_named_and_holds_nothing_but_text_of_names(chart: str) -> None:
    root = ElementTree.fromstring(chart)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "script" not in {element.tag for element in root.iter()}
    assert "nan" not in chart
