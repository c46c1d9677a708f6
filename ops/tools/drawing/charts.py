"""Small charts as SVG, coloured by the page's style sheet, so they follow its light or dark scheme.

All are 360 units wide, so that text keeps its size on a phone. `STYLE` sets stroke and fill for the
classes: `before` and `here` for the two sides, `axis`, `tick`, `label`. Names are escaped.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

STYLE = Path(__file__).with_name("page.css")
WIDTH = 360
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 34
SMALL = (200, 48)  # width and height of a small line
STAGE = 72  # height of a stage in the graph, including the gap below it

SIDES = ("before", "here")
TRAINING = {
    "train_loss": "Training loss",
    "val_accuracy": "Validation accuracy",
    "val_nll": "Validation nll",
}

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line through points; `side` is `before` or `here`."""

    side: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Dot:
    side: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Node:
    """A box of the graph: a name, the words below it, the class that colours it, and its link."""

    name: str
    words: str
    kind: str
    link: str = ""


@dataclass(frozen=True)
class Frame:
    """A plotting area and its scales; `low` and `high` are two corners in the data's units."""

    low: Point
    high: Point
    height: float

    def x(self, value: float) -> float:
        share = (value - self.low[0]) / (self.high[0] - self.low[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low[1]) / (self.high[1] - self.low[1])
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)


def curves(title: str, lines: Sequence[Line], x_label: str) -> Markup:
    """Draw lines over a common x axis, with ticks at round numbers."""
    frame = _frame([point for line in lines for point in line.points])
    marks = [
        Markup('<polyline class="line {}" points="{}"/>').format(
            line.side, " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line.points)
        )
        for line in lines
    ]
    ends = [
        _circle(line.side, frame.x(x), frame.y(y), 3) for line in lines for x, y in line.points[-1:]
    ]
    return _svg(title, frame.height, [*_axes(frame, x_label), *marks, *ends])


def small_line(title: str, values: Sequence[float], marked: Iterable[int] = ()) -> Markup:
    """Draw a value per step as a line without axes; steps that are `marked` get a ring."""
    width, height = SMALL
    low, high = min(values), max(values)

    def x(step: int) -> float:
        return 4 + step / max(1, len(values) - 1) * (width - 8)

    def y(value: float) -> float:
        return (
            height / 2 if low == high else height - 6 - (value - low) / (high - low) * (height - 12)
        )

    points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values))
    last = len(values) - 1
    parts = [
        Markup('<polyline class="line here" points="{}"/>').format(points),
        *(_circle("before", x(i), y(values[i]), 3.5) for i in marked),
        _circle("here", x(last), y(values[last]), 3.5),
    ]
    return _svg(title, height, parts, width=width)


def training(sides: Sequence[Sequence[Mapping[str, float]]]) -> list[tuple[str, Markup]]:
    """Draw a titled chart by epoch for each column that a side has: rows before, rows here."""
    titled = []
    for column, title in TRAINING.items():
        lines = [
            Line(side, [(row["epoch"], row[column]) for row in rows])
            for side, rows in zip(SIDES, sides, strict=True)
            if rows and {"epoch", column} <= rows[0].keys()
        ]
        if lines:
            ends = ", ".join(f"{line.points[-1][1]:.4g} {line.side}" for line in lines)
            titled.append((title, curves(f"{title} by epoch; last: {ends}", lines, "epoch")))
    return titled


def calibration(title: str, dots: Sequence[Dot]) -> Markup:
    """Draw dots, accuracy by confidence, and the diagonal of perfect calibration."""
    frame = Frame((0, 0), (1, 1), 300)
    diagonal = Markup('<path class="diagonal" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(
        frame.x(0), frame.y(0), frame.x(1), frame.y(1)
    )
    marks = [_circle(d.side, frame.x(d.x), frame.y(d.y), d.radius) for d in dots]
    return _svg(title, frame.height, [*_axes(frame, "confidence"), diagonal, *marks])


def dumbbells(title: str, rows: Sequence[tuple[str, float | None, float]]) -> Markup:
    """Draw two shares per row, joined by a line; a row is (name, before, here)."""
    left, row, top = 118, 24, 6
    height = top + row * len(rows) + 26
    low = math.floor(10 * min(v for _, *values in rows for v in values if v is not None)) / 10

    def x(value: float) -> float:
        return left + (value - low) / (1 - low or 1) * (WIDTH - left - 16)

    parts = [
        Markup(
            '<path class="grid" d="M{0:.1f} {1}V{2}"/>'
            '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4:.0%}</text>'
        ).format(x(tick), top, height - 24, height - 8, tick)
        for tick in ticks(low, 1)
    ]
    for i, (name, before, here) in enumerate(rows):
        y = top + row * (i + 0.5)
        parts.append(_text("label", left - 12, y + 4, name, "end"))
        if before is not None:
            parts.append(
                Markup('<path class="join" d="M{:.1f} {}H{:.1f}"/>').format(x(before), y, x(here))
            )
            parts.append(_circle("before", x(before), y, 5))
        parts.append(_circle("here", x(here), y, 4))
    return _svg(title, height, parts)


def bars(title: str, rows: Sequence[tuple[str, str, float, str]]) -> Markup:
    """Draw a bar per row, below its name; a row is (name, side, count, text after the bar)."""
    row, bar, after = 42, 14, 120
    most = max(1, *(count for _, _, count, _ in rows))
    parts = []
    for i, (name, side, count, note) in enumerate(rows):
        y, width = row * i, count / most * (WIDTH - after)
        parts.append(_text("label", 0, y + 14, name))
        parts.append(
            Markup('<rect class="bar {}" x="0" y="{}" width="{:.1f}" height="{}" rx="2"/>').format(
                side, y + 20, max(width, 1), bar
            )
        )
        parts.append(_text("label", max(width, 1) + 8, y + 31, note))
    return _svg(title, row * len(rows), parts)


def graph(title: str, nodes: Sequence[Node], edges: Iterable[tuple[int, int, str]]) -> Markup:
    """Draw boxes from top to bottom; edges (from, to, label) that skip a box go round it."""
    left, width, box = 2, 250, 44
    down, right = left + 34, left + width
    parts = []
    for start, end, label in edges:
        top, bottom = start * STAGE + 2 + box, end * STAGE + 2
        if end - start == 1:
            parts.append(_edge(f"M{down} {top}V{bottom - 2}"))
            parts.append(_text("tick", down + 12, (top + bottom) / 2 + 4, label))
        else:
            one, two, out = top - box / 2, bottom + box / 2, right + 30 * (end - start)
            parts.append(_edge(f"M{right} {one:g}C{out} {one:g} {out} {two:g} {right + 2} {two:g}"))
    for i, node in enumerate(nodes):
        y = i * STAGE + 2
        drawn = [
            Markup('<rect class="node {}" x="{}" y="{}" width="{}" height="{}" rx="6"/>').format(
                node.kind, left, y, width, box
            ),
            _text("name", left + 14, y + 19, node.name),
            _text("tick", left + 14, y + 35, node.words),
        ]
        link = Markup('<a href="{}">{}</a>') if node.link else Markup("{1}")
        parts.append(link.format(node.link, Markup("").join(drawn)))
    arrow = Markup(
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    role = "group" if any(node.link for node in nodes) else "img"  # an image has no links
    return _svg(title, STAGE * len(nodes) - (STAGE - box) + 4, [arrow, *parts], role)


def ticks(low: float, high: float) -> list[float]:
    """Return six round numbers or fewer: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _frame(points: Sequence[Point]) -> Frame:
    (left, right), (low, high) = ((min(v), max(v)) for v in zip(*points, strict=True))
    margin = 0.06 * (high - low) or 0.5
    return Frame((left, low - margin), (max(right, left + 1), high + margin), 220)


def _axes(frame: Frame, x_label: str) -> list[Markup]:
    right, bottom = WIDTH - RIGHT, frame.height - BOTTOM
    parts = []
    for tick in ticks(frame.low[1], frame.high[1]):
        y = frame.y(tick)
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, right))
        parts.append(_text("tick", LEFT - 8, y + 4, f"{tick:g}", "end"))
    parts += [
        _text("tick", frame.x(tick), bottom + 16, f"{tick:g}", "middle")
        for tick in ticks(frame.low[0], frame.high[0])
    ]
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(LEFT, bottom, right))
    parts.append(_text("tick", (LEFT + right) / 2, frame.height - 3, x_label, "middle"))
    return parts


def _circle(side: str, x: float, y: float, radius: float) -> Markup:
    return Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(
        side, x, y, radius
    )


def _edge(path: str) -> Markup:
    return Markup('<path class="edge" marker-end="url(#arrow)" d="{}"/>').format(path)


def _text(kind: str, x: float, y: float, text: str, anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )


def _svg(
    title: str,
    height: float,
    parts: Iterable[Markup],
    role: str = "img",
    width: float = WIDTH,
) -> Markup:
    return Markup('<svg viewBox="0 0 {:g} {:g}" role="{}" aria-label="{}">{}</svg>').format(
        width, height, role, title, Markup("").join(parts)
    )
