"""A sweep as one PNG picture; the same outcomes give the same bytes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from digits.pictures import BAD, GOOD, INK, MUTED, grid, sheet
from digits.sweeps import Outcome, told

COLOURS = {"better": GOOD, "worse": BAD}
ROW = 0.42  # inches


def draw(name: str, outcomes: Sequence[Outcome]) -> bytes:
    """Accuracy by setting: each seed, the mean and its interval, and what is noise.

    Parameters
    ----------
    name : of the sweep
    outcomes : the default first
    """
    with sheet(9.5, 1.6 + ROW * len(outcomes)) as (figure, png):
        axis = figure.subplots()
        seeds = sorted({len(outcome.runs) for outcome in outcomes})
        figure.suptitle(
            f"{name}: test accuracy by setting", x=0.01, ha="left", fontsize=15, fontweight="bold"
        )
        axis.axvline(outcomes[0].mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row, outcome in enumerate(outcomes):
            _draw_row(axis, row, outcome)
        axis.set_yticks(range(len(outcomes)), [o.setting.label for o in outcomes], color=INK)
        axis.set(
            ylim=(len(outcomes) - 0.4, -0.6),
            xlabel=f"small dots: a seed each ({' or '.join(map(str, seeds))}); line: 95 % interval "
            "of the mean; grey: no more than luck makes of equal models",
        )
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        axis.spines["left"].set_visible(False)
        grid(axis, "x")
    return png.getvalue()


def _draw_row(axis: Axes, row: int, outcome: Outcome) -> None:
    colour = INK if row == 0 else COLOURS.get(outcome.mark, MUTED)
    if outcome.margin is not None:
        ends = [outcome.mean - outcome.margin, outcome.mean + outcome.margin]
        axis.plot(ends, [row, row], color=colour, linewidth=2, solid_capstyle="round", zorder=2)
    seeds = outcome.accuracies
    axis.scatter(seeds, [row] * len(seeds), s=16, color=colour, alpha=0.35, linewidths=0, zorder=3)
    axis.scatter(outcome.mean, row, s=64, color=colour, linewidths=0, zorder=4)
    axis.text(
        1.02,
        row,
        f"{outcome.mean:.2%}   {told(outcome)}",
        transform=axis.get_yaxis_transform(),
        va="center",
        color=colour,
    )
