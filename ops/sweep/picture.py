"""Draw a sweep as a PNG picture; the same outcomes give the same bytes."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from digits.evaluation.plots import BAD, GOOD, INK, MUTED, grid, sheet
from digits.gate import diff
from ops.sweep.outcomes import Outcome

COLOURS = {"better": GOOD, "worse": BAD}
MOST = 100  # rows: the table has all, and nobody reads a longer picture
CHART, ROW, TOP, BOTTOM, GAP = 4.8, 0.36, 0.6, 0.7, 0.15  # inches
COLUMNS = (58, 130, 138)  # of the text: points to the right of the chart
POINTS = 72  # an inch


def draw(name: str, outcomes: Sequence[Outcome]) -> bytes:
    """Draw the accuracy of each setting: its seeds, their mean, its interval, and the mark.

    Of more than `MOST` settings, the default and the most accurate ones.

    Parameters
    ----------
    name : of the sweep
    outcomes : the default first, if it has runs
    """
    drawn = most_accurate(outcomes)
    labels = [outcome.setting.label for outcome in drawn]
    cells = [texts_of(outcome) for outcome in drawn]
    height = TOP + ROW * len(drawn) + BOTTOM
    # matplotlib's own layout would measure each text several times.
    with sheet(CHART, height) as (figure, png):
        left = GAP + width_of(figure, labels) + GAP
        right = COLUMNS[-1] / POINTS + width_of(figure, (mark for *_, mark in cells)) + GAP
        width = left + CHART + right
        figure.set_size_inches(width, height)
        axis = figure.add_axes(
            (left / width, BOTTOM / height, CHART / width, 1 - (TOP + BOTTOM) / height)
        )
        best = len(drawn) - drawn[0].is_default
        part = "" if len(drawn) == len(outcomes) else f", the {best} best of {len(outcomes):,}"
        figure.text(
            GAP / width,
            1 - GAP / height,
            f"{name}: test accuracy by setting{part}",
            va="top",
            fontsize=15,
            fontweight="bold",
        )
        if drawn[0].is_default:
            axis.axvline(drawn[0].mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _draw_rows(axis, drawn)
        for row, (outcome, texts) in enumerate(zip(drawn, cells, strict=True)):
            _write_row(axis, row, _colour(outcome), texts)
        axis.set_yticks(range(len(drawn)), labels, color=INK)
        axis.set(ylim=(len(drawn) - 0.5, -0.5))
        axis.set_xlabel(
            "Small dots: one seed each. Line: 95 % interval of the mean. Grey: equal models differ "
            "as much by chance.",
            fontsize=8,
            labelpad=8,
        )
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        axis.spines["left"].set_visible(False)
        grid(axis, "x")
    return png.getvalue()


def most_accurate(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The default and the most accurate of the others, `MOST` at most, in their order."""
    order = sorted(
        range(len(outcomes)),
        key=lambda number: (not outcomes[number].is_default, -outcomes[number].mean),
    )
    return [outcomes[number] for number in sorted(order[:MOST])]


def texts_of(outcome: Outcome) -> tuple[str, str, str]:
    """The accuracy, its change from the default, and the mark of the change."""
    accuracy = f"{100 * outcome.mean:.2f} %"
    if outcome.difference is None:
        return accuracy, "", "" if outcome.is_default else "not compared"
    return accuracy, diff.shown_change(outcome.figures["accuracy"]), outcome.mark


def width_of(figure: Figure, texts: Iterable[str]) -> float:
    """The width of the widest text, in inches."""
    lines = figure.text(0, 0, "\n".join(texts))
    width = lines.get_window_extent().width / figure.dpi
    lines.remove()
    return width


def _colour(outcome: Outcome) -> str:
    return INK if outcome.is_default else COLOURS.get(outcome.mark, MUTED)


def _draw_rows(axis: Axes, outcomes: Sequence[Outcome]) -> None:
    """Draw all rows at once: an artist for each would take far longer."""
    rows = list(enumerate(outcomes))
    intervals = [
        (row, max(0, o.mean - margin), min(1, o.mean + margin), _colour(o))
        for row, o in rows
        if (margin := o.margin) is not None
    ]
    if intervals:
        heights, lows, highs, colours = zip(*intervals, strict=True)
        lines = axis.hlines(heights, lows, highs, colors=colours, linewidth=1.5, zorder=2)
        lines.set_capstyle("round")
    seeds = [(accuracy, row, _colour(o)) for row, o in rows for accuracy in o.accuracies]
    x, y, colours = zip(*seeds, strict=True)
    axis.scatter(x, y, s=18, c=colours, alpha=0.4, linewidths=0, zorder=3)
    axis.scatter(
        [o.mean for _, o in rows],
        [row for row, _ in rows],
        s=70,
        c=[_colour(o) for row, o in rows],
        edgecolors="white",
        linewidths=1.2,
        zorder=4,
    )


def _write_row(axis: Axes, row: int, colour: str, texts: Sequence[str]) -> None:
    for offset, text, side in zip(COLUMNS, texts, ("right", "right", "left"), strict=True):
        if text:
            axis.annotate(
                text,
                (1, row),
                xycoords=axis.get_yaxis_transform(),
                xytext=(offset, 0),
                textcoords="offset points",
                va="center",
                ha=side,
                color=colour,
                annotation_clip=False,
            )
