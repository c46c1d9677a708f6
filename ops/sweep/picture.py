"""Draw a sweep as a PNG picture; the same outcomes give the same bytes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from digits.evaluation.plots import BAD, GOOD, INK, MUTED, grid, sheet
from ops.sweep.outcomes import Outcome, describe

COLOURS = {"better": GOOD, "worse": BAD}
ROW = 0.36  # inches
COLUMNS = (58, 130, 138)  # of the text: points to the right of the chart


def draw(name: str, outcomes: Sequence[Outcome]) -> bytes:
    """Draw the accuracy of each setting: its seeds, their mean, its interval, and the mark.

    Parameters
    ----------
    name : of the sweep
    outcomes : the default first
    """
    with sheet(10, 1.5 + ROW * len(outcomes)) as (figure, png):
        axis = figure.subplots()
        figure.suptitle(
            f"{name}: test accuracy by setting", x=0.01, ha="left", fontsize=15, fontweight="bold"
        )
        axis.axvline(outcomes[0].mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row, outcome in enumerate(outcomes):
            _draw_row(axis, row, outcome)
        axis.set_yticks(range(len(outcomes)), [o.setting.label for o in outcomes], color=INK)
        axis.set(ylim=(len(outcomes) - 0.5, -0.5))
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


def _draw_row(axis: Axes, row: int, outcome: Outcome) -> None:
    colour = INK if row == 0 else COLOURS.get(outcome.mark, MUTED)
    if outcome.margin is not None:
        ends = [max(0, outcome.mean - outcome.margin), min(1, outcome.mean + outcome.margin)]
        axis.plot(ends, [row, row], color=colour, linewidth=1.5, solid_capstyle="round", zorder=2)
    seeds = outcome.accuracies
    axis.scatter(seeds, [row] * len(seeds), s=18, color=colour, alpha=0.4, linewidths=0, zorder=3)
    axis.scatter(
        outcome.mean, row, s=70, color=colour, edgecolors="white", linewidths=1.2, zorder=4
    )
    change, mark = describe(outcome)

    cells = (f"{100 * outcome.mean:.2f} %", change, mark)
    for offset, cell, side in zip(COLUMNS, cells, ("right", "right", "left"), strict=True):
        axis.annotate(
            cell,
            (1, row),
            xycoords=axis.get_yaxis_transform(),
            xytext=(offset, 0),
            textcoords="offset points",
            va="center",
            ha=side,
            color=colour,
            annotation_clip=False,
        )
