"""Draw an evaluation as PNG pictures; equal evaluations give equal bytes."""

import math

import numpy as np

from digits.core.arrays import UInt8Array
from digits.evaluation import metrics
from digits.evaluation.canvas import BAD, GOOD, INK, MUTED, Canvas, Chart
from digits.evaluation.evaluate import Evaluation

# In pixels, as everything here: the pictures have 120 to an inch.
WIDTH, HEIGHT = 1320, 984  # of the overview
LEFT, RIGHT, TOP, BOTTOM = 78, 12, 78, 60  # its margins
GAP, BELOW = 138, 108  # between its charts
WORST, COLUMNS = 32, 8
CELL = (150, 192)  # width and height of an error's cell
CAPTION = 60  # at the top of a cell
HEADING = 60  # above the cells
MAX_NAME = 18  # characters of a class's name
PER_LETTER = 7  # height of a letter of an upright name
# ColorBrewer's Reds, from none to all.
REDS = (
    *((255, 245, 240), (254, 224, 210), (252, 187, 161), (252, 146, 114), (251, 106, 74)),
    *((239, 59, 44), (203, 24, 29), (165, 15, 21), (103, 0, 13)),
)


def overview(evaluation: Evaluation) -> bytes:
    """Draw confusion matrix, recall by class, calibration and robustness on one PNG."""
    e = evaluation
    below = BELOW + (PER_LETTER * max(map(len, _names(e))) if _are_upright(e) else 0)
    width = (WIDTH - LEFT - RIGHT - GAP) / 2
    height = (HEIGHT - TOP - BOTTOM - below) / 2
    across, down = LEFT + width + GAP, TOP + height + below
    canvas = Canvas(WIDTH, HEIGHT)
    accuracy = metrics.accuracy(e.predicted, e.labels)
    heading = f"{accuracy:.2%} of {len(e.labels):,} test images right, {len(e.wrong)} wrong"
    canvas.text(13, 10, heading, 15, anchor="la", bold=True)
    _draw_confusion(canvas.chart(LEFT + (width - height) / 2, TOP, height, height), e)
    _draw_recall(canvas.chart(across, TOP, width, height, y=_range_of_recall(e)), e)
    _draw_reliability(canvas.chart(LEFT, down, width, height, (0, 1.04), (0, 1.06)), e)
    _draw_robustness(canvas.chart(across, down, width, height, (0, 1.15)), e)
    return canvas.png()


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
    width, height = CELL
    canvas = Canvas(COLUMNS * width, HEADING + rows * height)
    heading = f"The {len(order)} most confident of {len(e.wrong)} errors"
    canvas.text(12, 12, heading, 13, anchor="la", bold=True)
    names = _names(e)
    for k, i in enumerate(order.tolist()):
        row, column = divmod(k, COLUMNS)
        centre, top = width * (column + 0.5), HEADING + height * row
        label, read = names[e.labels[i]], names[e.predicted[i]]
        title, size, bottom = f"{label} read as {read}", 10, 42
        if len(title) > MAX_NAME:
            title, size, bottom = f"{label}\nas {read}", 6, 44
        canvas.text(centre, top + bottom, title, size, anchor="md")
        note = f"{e.confidence[i]:.0%} sure, #{i}"
        canvas.text(centre, top + CAPTION - 2, note, 7, MUTED, anchor="md")
        canvas.image(centre, top + height, images[i], height - CAPTION)
    return canvas.png()


def _names(e: Evaluation) -> list[str]:
    """The names of the classes, shortened."""
    return [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name in e.classes]


def _are_upright(e: Evaluation) -> bool:
    """Whether the names of the classes would overlap below a chart."""
    return len(e.classes) * max(map(len, e.classes)) > 40


def _name_classes(chart: Chart, e: Evaluation) -> None:
    """Write the names of the classes below the chart, upright if they would overlap."""
    size = min(9, 250 / len(e.classes))
    for k, name in enumerate(_names(e)):
        x = chart.left + chart.width * (k + 0.5) / len(e.classes)
        if _are_upright(e):
            chart.canvas.upright_text(x, chart.bottom + 6, name, size, MUTED, anchor="t")
        else:
            chart.canvas.text(x, chart.bottom + 6, name, size, MUTED, anchor="ma")


def _draw_confusion(chart: Chart, e: Evaluation) -> None:
    counts = e.confusion
    errors = counts - np.diag(np.diag(counts))
    darkest = max(1, 1.4 * errors.max())
    edges = np.linspace(0, chart.width, len(counts) + 1)
    chart.canvas.box(chart.left, chart.top, chart.right, chart.bottom, _red(0))
    for (i, j), n in np.ndenumerate(counts):
        left, right = chart.left + edges[j : j + 2]
        top, bottom = chart.top + edges[i : i + 2]
        if errors[i, j]:
            chart.canvas.box(left, top, right, bottom, _red(errors[i, j] / darkest))
        if n:
            colour, size = MUTED if i == j else INK, min(9, 130 / len(counts))
            chart.canvas.text((left + right) / 2, (top + bottom) / 2, str(n), size, colour)
    size = min(9, 200 / len(counts))
    for i, name in enumerate(_names(e)):
        y = chart.top + (edges[i] + edges[i + 1]) / 2
        chart.canvas.text(chart.left - 6, y, name, size, MUTED, anchor="rm")
    widest = 8 * max(map(len, _names(e)))
    chart.title("Which class was taken for which")
    chart.canvas.upright_text(
        chart.left - 24 - widest, _middle(chart)[1], "actual", 9, MUTED, anchor="m"
    )
    below = PER_LETTER * max(map(len, _names(e))) if _are_upright(e) else 0
    chart.canvas.text(_middle(chart)[0], chart.bottom + 40 + below, "predicted", 9, MUTED)
    _name_classes(chart, e)


def _middle(chart: Chart) -> tuple[float, float]:
    return chart.left + chart.width / 2, chart.top + chart.height / 2


def _red(share: float) -> str:
    """The colour of a share, from 0 to 1."""
    at = np.linspace(0, 1, len(REDS))
    return "#" + "".join(f"{round(np.interp(share, at, c)):02x}" for c in zip(*REDS, strict=True))


def _recall(e: Evaluation) -> list[float]:
    recall: list[float] = (np.diag(e.confusion) / e.confusion.sum(axis=1)).tolist()
    return recall


def _range_of_recall(e: Evaluation) -> tuple[float, float]:
    floor = max(0.0, math.floor(20 * (min(_recall(e)) - 0.002)) / 20)
    return floor, 1 + 0.1 * (1 - floor)


def _draw_recall(chart: Chart, e: Evaluation) -> None:
    recall, floor = _recall(e), chart.y[0]
    step = next(step for step in (1, 2, 5, 10, 20) if 100 * (1 - floor) <= 6 * step)
    percents = range(step * math.ceil(100 * floor / step - 1e-6), 101, step)
    chart.ticks_y({percent / 100: f"{percent}%" for percent in percents})
    wide = chart.width / len(recall)
    size = min(8, 100 / len(recall))
    for k, r in enumerate(recall):
        x, top = chart.left + wide * (k + 0.5), chart.y_of(r)
        chart.canvas.box(x - 0.35 * wide, top, x + 0.35 * wide, chart.bottom, GOOD)
        chart.canvas.text(x, top - 4, f"{100 * r:.1f}", size, MUTED, anchor="ms")
    chart.axes()
    chart.title("Recall by class")
    _name_classes(chart, e)


def _draw_reliability(chart: Chart, e: Evaluation) -> None:
    fifths = {k / 5: f"{k / 5:.1f}" for k in range(6)}
    chart.ticks_x(fifths)
    chart.ticks_y(fifths)
    chart.canvas.dashed_line(chart.x_of(0), chart.y_of(0), chart.x_of(1), chart.y_of(1), MUTED)
    for b in e.reliability:
        diameter = 1.7 * math.sqrt(20 + 60 * math.log10(b.images))
        chart.canvas.dot(chart.x_of(b.confidence), chart.y_of(b.accuracy), diameter, GOOD)
    ece = metrics.expected_calibration_error(e.reliability)
    x, y = _middle(chart)
    chart.title(f"Calibration: expected error {ece:.4f}")
    chart.canvas.text(x, chart.bottom + 40, "confidence (a larger dot: more images)", 9, MUTED)
    chart.canvas.upright_text(chart.left - 50, y, "accuracy", 9, MUTED, anchor="m")


def _draw_robustness(chart: Chart, e: Evaluation) -> None:
    chart.ticks_x({k / 4: f"{k / 4:.0%}" for k in range(5)})
    rows = sorted(e.robustness.items(), key=lambda row: -row[1])
    high = chart.height / len(rows)
    for k, (name, value) in enumerate(rows):
        y, right = chart.top + high * (k + 0.5), chart.x_of(value)
        colour = BAD if value < 0.9 else GOOD
        chart.canvas.box(chart.left, y - 0.35 * high, right, y + 0.35 * high, colour)
        chart.canvas.text(chart.left - 6, y, name.replace("_", " "), 9, MUTED, anchor="rm")
        chart.canvas.text(right + 7, y, f"{value:.1%}", 8, MUTED, anchor="lm")
    chart.axes()
    mean = sum(value for _, value in rows) / len(rows)
    chart.title(f"Accuracy under corruptions: {mean:.1%} on average")
