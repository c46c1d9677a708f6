"""Draw an evaluation as PNG pictures; equal evaluations give equal bytes."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from digits.core.arrays import UInt8Array
from digits.evaluation import metrics
from digits.evaluation.evaluate import Evaluation

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
GOOD, BAD = "#2563eb", "#dc2626"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # part of matplotlib, so the same on every machine
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a class may be named $
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # to find the place itself, matplotlib would lay all ticks out once more
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.dpi": 120,
}
LOW = 0.9  # accuracy
WORST, COLUMNS = 32, 8
CELL = (1.25, 1.6)  # inches: width and height of an error's cell
CAPTION = 0.5  # inches, at the top of a cell
MAX_NAME = 18  # characters of a class's name


def overview(evaluation: Evaluation) -> bytes:
    """Draw confusion matrix, recall by class, calibration and robustness on one PNG."""
    e = evaluation
    longest = max(len(_short(name)) for name in e.classes)
    # In inches. matplotlib's own layout would draw each text three times.
    left, right, top, bottom, gap = 0.65, 0.1, 0.65, 0.5, 1.15
    below = 0.9 + (0.06 * longest if _are_upright(e) else 0)
    width, height = (11 - left - right - gap) / 2, (8.2 - top - bottom - below) / 2
    with sheet(11, 8.2) as (figure, png):
        axes = figure.subplots(2, 2)
        figure.subplots_adjust(
            left=left / 11,
            right=1 - right / 11,
            top=1 - top / 8.2,
            bottom=bottom / 8.2,
            wspace=gap / width,
            hspace=below / height,
        )
        accuracy = metrics.accuracy(e.predicted, e.labels)
        figure.suptitle(
            f"{accuracy:.2%} of {len(e.labels):,} test images right, {len(e.wrong)} wrong",
            x=0.01,
            y=0.99,
            ha="left",
            fontsize=15,
            fontweight="bold",
        )
        _draw_confusion(axes[0, 0], e)
        _draw_recall(axes[0, 1], e)
        _draw_reliability(axes[1, 0], e)
        _draw_robustness(axes[1, 1], e)
    return png.getvalue()


def worst_errors(evaluation: Evaluation, images: UInt8Array) -> bytes:
    """Draw the errors with the highest confidence, with label and prediction, as PNG.

    Parameters
    ----------
    evaluation : the evaluation of these images
    images : uint8 (n, height, width)
    """
    e = evaluation
    order = e.wrong[np.argsort(-e.confidence[e.wrong], kind="stable")][:WORST]
    rows = max(1, math.ceil(len(order) / COLUMNS))
    width, top = COLUMNS * CELL[0], 0.5  # inches; the heading is above `top`
    height = top + rows * CELL[1]
    with sheet(width, height) as (figure, png):
        axis = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axis.set_axis_off()
        shown = "All" if len(order) == len(e.wrong) else f"The {len(order)} most confident of"
        heading = f"{shown} {len(e.wrong)} errors"
        axis.text(0.1, 0.1, heading, va="top", fontsize=13, fontweight="bold")
        # All digits are one image, since one axis for each digit takes five times as long.
        axis.imshow(
            _montage(images[order], rows),
            cmap="gray_r",
            vmin=0,
            vmax=255,
            interpolation="nearest",
            extent=(0, width, height, top),
            aspect="auto",
        )
        for k, i in enumerate(order.tolist()):
            row, column = divmod(k, COLUMNS)
            x, y = CELL[0] * (column + 0.5), top + CELL[1] * row + CAPTION
            label, read = (_short(e.classes[c]) for c in (e.labels[i], e.predicted[i]))
            title, size = f"{label} read as {read}", 10
            if len(title) > MAX_NAME:
                title, size = f"{label}\nas {read}", 6
            axis.text(x, y - 0.15, title, ha="center", va="bottom", fontsize=size)
            note = f"{e.confidence[i]:.0%} sure, #{i}"
            axis.text(x, y - 0.02, note, ha="center", va="bottom", fontsize=7, color=MUTED)
    return png.getvalue()


def _montage(images: UInt8Array, rows: int) -> UInt8Array:
    """Arrange images in a grid of cells, each centred in its cell, below the caption."""
    height, width = images.shape[1:]
    inch = max(height, width) / (CELL[1] - CAPTION)  # in pixels of an image
    cell_width, cell_height = round(CELL[0] * inch), round(CELL[1] * inch)
    grid = np.zeros((rows * cell_height, COLUMNS * cell_width), np.uint8)
    for k, image in enumerate(images):
        row, column = divmod(k, COLUMNS)
        y = (row + 1) * cell_height - max(height, width)
        x = column * cell_width + (cell_width - width) // 2
        grid[y : y + height, x : x + width] = image
    return grid


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _are_upright(e: Evaluation) -> bool:
    """Whether the names of the classes would overlap below an axis."""
    return len(e.classes) * max(map(len, e.classes)) > 40


def _name_classes(axis: Axes, e: Evaluation) -> None:
    """Write the names of the classes below the axis, upright if they would overlap."""
    names = [_short(name) for name in e.classes]
    axis.set_xticks(range(len(names)), names, rotation=90 if _are_upright(e) else 0)


@contextmanager
def sheet(width: float, height: float) -> Iterator[tuple[Figure, io.BytesIO]]:
    """Make a figure in this module's style; its PNG is in the buffer when the block has ended."""
    png = io.BytesIO()
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, png
        figure.savefig(png, format="png", metadata={"Software": None})  # no version in the bytes


def _draw_confusion(axis: Axes, e: Evaluation) -> None:
    counts = e.confusion
    errors = counts - np.diag(np.diag(counts))
    axis.imshow(errors, cmap="Reds", vmin=0, vmax=max(1, 1.4 * errors.max()))
    for (i, j), n in np.ndenumerate(counts):
        if n:
            colour, size = MUTED if i == j else INK, min(9, 130 / len(counts))
            axis.text(j, i, str(n), ha="center", va="center", color=colour, fontsize=size)
    axis.set(title="Which class was taken for which", xlabel="predicted", ylabel="actual")
    _name_classes(axis, e)
    axis.set_yticks(range(len(e.classes)), [_short(name) for name in e.classes])
    axis.tick_params(length=0)


def _draw_recall(axis: Axes, e: Evaluation) -> None:
    recall = np.diag(e.confusion) / e.confusion.sum(axis=1)
    floor = max(0.0, math.floor(20 * (recall.min() - 0.002)) / 20)
    bars = axis.bar(range(len(recall)), recall, color=GOOD, width=0.7)
    size = min(8, 100 / len(recall))
    axis.bar_label(bars, [f"{100 * r:.1f}" for r in recall], padding=2, fontsize=size, color=MUTED)
    _name_classes(axis, e)
    axis.set(title="Recall by class", ylim=(floor, 1 + 0.1 * (1 - floor)))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    grid(axis, "y")


def _draw_reliability(axis: Axes, e: Evaluation) -> None:
    ece = metrics.expected_calibration_error(e.reliability)
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for b in e.reliability:
        size = 20 + 60 * math.log10(b.images)
        axis.scatter(b.confidence, b.accuracy, s=size, color=GOOD, alpha=0.85, linewidths=0)
    axis.set(
        title=f"Calibration: expected error {ece:.4f}",
        xlabel="confidence (a larger dot: more images)",
        ylabel="accuracy",
        xlim=(0, 1.04),
        ylim=(0, 1.06),
    )
    grid(axis, "both")


def _draw_robustness(axis: Axes, e: Evaluation) -> None:
    rows = sorted(e.robustness.items(), key=lambda row: row[1])
    names = [name.replace("_", " ") for name, _ in rows]
    values = [value for _, value in rows]
    bars = axis.barh(names, values, color=[BAD if v < LOW else GOOD for v in values], height=0.7)
    axis.bar_label(bars, [f"{v:.1%}" for v in values], padding=4, fontsize=8, color=MUTED)
    mean = sum(values) / len(values)
    title = f"Accuracy under corruptions: {mean:.1%} on average"
    axis.set(title=title, xlabel=f"accuracy (red: below {LOW:.0%})", xlim=(0, 1.15))
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    grid(axis, "x")


def grid(axis: Axes, which: Literal["x", "y", "both"]) -> None:
    axis.grid(axis=which, color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
