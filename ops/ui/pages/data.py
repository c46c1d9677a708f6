"""The page of the data: how many images of what, what changed, who corrected it, and drift."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from digits.core.errors import InputError, UserError
from digits.data import corrections
from digits.imaging import decoding
from ops.tools import data_revisions
from ops.tools.drawing import pictures
from ops.tools.revisions import METRICS
from ops.ui.facts import blame, data_summary, drift
from ops.ui.pages import render
from ops.ui.pages.render import Resources
from ops.ui.project import Project

CORRECTIONS = Path("data/corrections.csv")
COUNTS = Path(METRICS, "data.json")  # of the stage prepare
MOST_PICTURES = 60


@dataclass(frozen=True)
class Corrected:
    """A correction, its picture if the image is here, and who added it if it is committed."""

    label: str
    origin: str
    picture: str | None
    by: str | None
    date: str | None


@dataclass(frozen=True)
class Person:
    """Somebody who labelled images; `name` is None for those that are not committed yet."""

    name: str | None
    images: int
    first: str | None
    last: str | None


def resources(project: Project) -> Resources:
    return {"data.html": partial(page, project)}


def page(project: Project) -> bytes:
    corrected, problem = _corrections(project)
    return render.html(
        project,
        "data.html",
        "data.html.jinja",
        "Data",
        **_images(project),
        trained=_counts(),
        corrections=corrected,
        no_corrections=problem,
        people=_people(corrected),
        most_pictures=MOST_PICTURES,
        **_drift(project),
    )


@lru_cache(maxsize=2)
def _images(project: Project) -> dict[str, Any]:
    """What the page says of the images; whatever can't be had is a reason in words."""
    revision = before = summary = changes = no_summary = no_changes = None
    try:
        revision = data_revisions.here()
        summary = data_summary.summary(revision)
    except UserError as error:
        no_summary = str(error)
    try:
        before = data_revisions.find_before(revision) if revision else None
        changes = data_summary.changes(before, revision) if before and revision else None
    except UserError as error:
        no_changes = str(error)
    return {
        "revision": revision,
        "before": before,
        "summary": summary,
        "changes": changes,
        "no_summary": no_summary,
        "no_changes": no_changes,
    }


def _counts() -> dict[str, Any]:
    """What the stage prepare counted; empty if it has not run."""
    try:
        counts = json.loads(COUNTS.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return counts if isinstance(counts, dict) else {}


@lru_cache(maxsize=2)
def _corrections(project: Project) -> tuple[list[Corrected], str | None]:
    """The corrections, those not committed first, then the latest; and why they can't be read."""
    if not CORRECTIONS.exists():
        return [], None
    try:
        known = corrections.read(CORRECTIONS)
    except InputError as error:
        return [], str(error)
    by_digest = {
        cell: line
        for line in _blamed()
        for cell in re.split(r'[,;"\s]+', line.text)
        if cell in known
    }
    ordered = sorted(known.values(), key=lambda c: _date(by_digest.get(c.sha256)), reverse=True)
    corrected = [
        Corrected(
            correction.label,
            correction.origin,
            _picture(correction.sha256) if number < MOST_PICTURES else None,
            line.author if line else None,
            line.date if line else None,
        )
        for number, correction in enumerate(ordered)
        for line in [by_digest.get(correction.sha256)]
    ]
    return corrected, None


def _blamed() -> list[blame.Line]:
    try:
        return blame.lines(str(CORRECTIONS))
    except InputError:
        return []  # not in Git yet


def _date(line: blame.Line | None) -> str:
    return line.date if line and line.date else "9"  # after every date


def _picture(sha256: str) -> str | None:
    path = CORRECTIONS.with_suffix("") / f"{Path(sha256).name}.png"
    try:
        return pictures.data_uri(decoding.grey(decoding.decode(path.read_bytes())))
    except (OSError, InputError):
        return None


def _people(corrected: list[Corrected]) -> list[Person]:
    counts = Counter(c.by for c in corrected)
    days = {name: sorted(c.date or "" for c in corrected if c.by == name) for name in counts}
    return [Person(name, n, days[name][0], days[name][-1]) for name, n in counts.most_common()]


def _drift(project: Project) -> dict[str, Any]:
    """How far a server's answers have drifted, if its metrics are at hand."""
    source = project.elsewhere.metrics
    found = problem = None
    try:
        found = drift.read(source) if source else None
    except InputError as error:
        problem = str(error)
    return {"metrics": source, "drift": found, "no_drift": problem}
