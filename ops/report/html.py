"""A report as one HTML page, without network, script or font."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from digits.gate import diff
from digits.gate.diff import Answer
from ops.report.content import Content
from ops.tools import pipeline
from ops.tools.drawing import charts, pictures, templates
from ops.tools.drawing.charts import SIDES, Dot, Node

MOST_DIGITS = 60  # of the broken digits, and of the fixed ones
MOST_WORST = 32
MOST_CONTESTED = 24
KINDS = {"up to date": "calm", "same as the base": "calm", "other outputs": "other"}


def render(content: Content) -> str:
    """Render the whole page; the template escapes names from files."""
    environment = templates.environment(Path(__file__).parent)
    environment.filters |= {"value": value, "percent": percent}
    return environment.get_template("report.html.jinja").render(
        content=content,
        decision=content.decision,
        shown=diff.shown,
        shown_change=diff.shown_change,
        pictures={index: pictures.data_uri(image) for index, image in content.images.items()},
        most_digits=MOST_DIGITS,
        worst=worst(content),
        pipeline=stages(content),
        training=charts.training(content.tables["training"]),
        confusion=confusion(content),
        calibration=calibration(content),
        robustness=robustness(content),
        contest=contest(content),
    )


def worst(content: Content) -> Sequence[Answer]:
    return diff.worst(content.candidate[0].errors)[:MOST_WORST] if content.candidate else []


def stages(content: Content) -> Markup:
    nodes = [Node(s.name, s.comparison, KINDS.get(s.comparison, "alert")) for s in content.stages]
    return charts.graph(
        "The pipeline; the table has the same in words", nodes, pipeline.edges(content.stages)
    )


def calibration(content: Content) -> Markup | None:
    dots = [
        Dot(side, row["confidence"], row["accuracy"], 2.5 + 2 * math.log10(max(1, row["images"])))
        for side, rows in zip(SIDES, content.tables["reliability"], strict=True)
        for row in rows
        if {"confidence", "accuracy", "images"} <= row.keys()
    ]
    title = "Accuracy by confidence; the closer to the diagonal, the better calibrated"
    return charts.calibration(title, dots) if dots else None


def robustness(content: Content) -> dict[str, Any]:
    """Return the accuracy under each corruption, lowest first, as a chart and as rows."""
    if not content.candidate:
        return {"rows": [], "chart": None}
    here = content.candidate[0].scores.robustness
    before = content.base[0].scores.robustness if content.base else {}
    names = sorted((name for name in here if name != "mean"), key=lambda name: (here[name], name))
    rows = [(name.replace("_", " "), before.get(name), here[name]) for name in names]
    title = "Accuracy under corruptions; the table has the figures"
    return {"rows": rows, "chart": charts.dumbbells(title, rows) if rows else None}


def confusion(content: Content) -> dict[str, Any]:
    """Return the first run's images by true and predicted class, and the change from the base."""
    if not content.candidate:
        return {"here": {}, "change": None, "most": 1}
    here, *before = (
        diff.confusion(run.scores.support, run.errors.values())
        for run in (content.candidate[0], *content.base[:1])
    )
    change = before and {
        label: {name: n - before[0][label][name] for name, n in row.items()}
        for label, row in here.items()
    }
    errors = [n for label, row in here.items() for name, n in row.items() if name != label]
    return {"here": here, "change": change, "most": max(1, *errors)}


def contest(content: Content) -> dict[str, Any]:
    """Return the errors of models side by side, and the images that only some get wrong."""
    models = content.models
    rows = []
    for model in models:
        figure = model.figures["errors"]
        side = "before" if content.against and model is models[0] else "here"
        count, change = diff.shown(figure, figure.after), diff.shown_change(figure)
        note = ", ".join(filter(None, [change, figure.mark]))
        rows.append((model.name, side, figure.after, f"{count} ({note})" if note else count))
    images = diff.contested([model.run for model in models])
    labels = {i: error.label for model in models for i, error in model.run.errors.items()}
    title = "Errors of each model; the table has more"
    return {
        "chart": charts.bars(title, rows) if rows else None,
        "images": [(i, labels[i]) for i in images[:MOST_CONTESTED]],
        "total": len(images),
    }


def value(parameter: object) -> str:
    """Render the value of a parameter, None if it is absent."""
    return "absent" if parameter is None else pipeline.shown(parameter)


def percent(share: float | None, digits: int) -> str:
    return "\N{EN DASH}" if share is None else f"{100 * share:.{digits}f} %"
