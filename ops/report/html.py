"""A report as one page that needs nothing else: no network, no script, no font."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image as Pillow

from digits.core.arrays import UInt8Array
from digits.gate import diff
from digits.gate.diff import Answer
from ops.report import charts
from ops.report.charts import Dot, Line, Node
from ops.report.content import Content

MOST_DIGITS = 60  # broken, and fixed
MOST_WORST = 32
MOST_CONTESTED = 24
SIDES = ("before", "here")
CURVES = {
    "train_loss": "Training loss",
    "val_accuracy": "Validation accuracy",
    "val_nll": "Validation nll",
}
KINDS = {"up to date": "calm", "same as the base": "calm", "other outputs": "other"}


def render(content: Content) -> str:
    """The whole page; names from files are escaped by the template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"value": value, "percent": percent}
    word, _, rest = content.decision.headline.partition(" ")
    return environment.get_template("report.html.jinja").render(
        f=content,
        d=content.decision,
        word=word.removesuffix(":").capitalize(),
        rest=rest,
        shown=diff.shown,
        shown_change=diff.shown_change,
        pictures={index: picture(image) for index, image in content.images.items()},
        most_digits=MOST_DIGITS,
        worst=worst(content),
        pipeline=pipeline(content),
        training=training(content),
        confusion=confusion(content),
        calibration=calibration(content),
        robustness=robustness(content),
        contest=contest(content),
    )


def picture(image: UInt8Array) -> str:
    """A data URI: ink on nothing, so that a page may choose both colours."""
    png = io.BytesIO()
    Pillow.fromarray(np.stack([np.zeros_like(image), image], axis=-1), "LA").save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def worst(content: Content) -> Sequence[Answer]:
    return diff.worst(content.candidate)[:MOST_WORST]


def pipeline(content: Content) -> Markup:
    stages = content.stages
    position = {stage.name: i for i, stage in enumerate(stages)}
    nodes = [Node(s.name, s.standing, KINDS.get(s.standing, "alert")) for s in stages]
    edges = [
        (position[maker], position[stage.name], paths[0] if len(paths) == 1 else _common(paths))
        for stage in stages
        for maker, paths in stage.takes.items()
    ]
    return charts.graph("The pipeline; the table has the same in words", nodes, edges)


def _common(paths: Sequence[str]) -> str:
    return str(Path(paths[0]).parent)


def training(content: Content) -> list[tuple[str, Markup]]:
    """A chart for each column that a side has, both sides in it."""
    sides = content.tables["training"]
    found = []
    for column, title in CURVES.items():
        lines = [
            Line(side, [(row["epoch"], row[column]) for row in rows])
            for side, rows in zip(SIDES, sides, strict=True)
            if rows and {"epoch", column} <= rows[0].keys()
        ]
        if lines:
            ends = ", ".join(f"{line.points[-1][1]:.4g} {line.side}" for line in lines)
            found.append((title, charts.curves(f"{title} by epoch; last: {ends}", lines, "epoch")))
    return found


def calibration(content: Content) -> Markup | None:
    dots = [
        Dot(side, row["confidence"], row["accuracy"], 2.5 + 2 * math.log10(max(1, row["images"])))
        for side, rows in zip(SIDES, content.tables["reliability"], strict=True)
        for row in rows
        if {"confidence", "accuracy", "images"} <= row.keys()
    ]
    title = "Accuracy by confidence; the closer to the diagonal, the better calibrated"
    return charts.calibration(title, dots, "confidence") if dots else None


def robustness(content: Content) -> dict[str, Any]:
    """Accuracy under each corruption, least first, as a chart and as rows."""
    here = content.candidate[0].scores.robustness
    before = content.base[0].scores.robustness if content.base else {}
    names = sorted((name for name in here if name != "mean"), key=lambda name: (here[name], name))
    rows = [(name.replace("_", " "), before.get(name), here[name]) for name in names]
    title = "Accuracy under corruptions; the table has the figures"
    return {"rows": rows, "chart": charts.dumbbells(title, rows) if rows else None}


def confusion(content: Content) -> dict[str, Any]:
    """Images by true and predicted class of the first run, and their change."""
    here = diff.confusion(content.candidate[0])
    before = diff.confusion(content.base[0]) if content.base else None
    change = before and {
        label: {name: n - before[label][name] for name, n in row.items()}
        for label, row in here.items()
    }
    errors = [n for label, row in here.items() for name, n in row.items() if name != label]
    return {"here": here, "change": change, "most": max(1, *errors)}


def contest(content: Content) -> dict[str, Any]:
    """Errors of the models that stand side by side, and the images that they do not agree on."""
    models = content.models
    rows = []
    for model in models:
        figure = model.figures["errors"]
        side = "before" if content.against and model is models[0] else "here"
        count, change = diff.shown(figure, figure.after), diff.shown_change(figure)
        told = ", ".join(filter(None, [change, figure.mark]))
        rows.append((model.name, side, figure.after, f"{count} ({told})" if told else count))
    images = diff.contested([model.run for model in models])
    labels = {i: error.label for model in models for i, error in model.run.errors.items()}
    title = "Errors of each model; the table has more"
    return {
        "chart": charts.bars(title, rows) if rows else None,
        "images": [(i, labels[i]) for i in images[:MOST_CONTESTED]],
        "total": len(images),
    }


def value(found: object) -> str:
    """A parameter's value."""
    if found is None:
        return "absent"
    return ", ".join(map(str, found)) if isinstance(found, list | tuple) else str(found)


def percent(share: float | None, digits: int = 1) -> str:
    return "\N{EN DASH}" if share is None else f"{100 * share:.{digits}f} %"
