"""The images that differ between two data sets, as a contact sheet for a page."""

from dataclasses import dataclass

from markupsafe import Markup

from digits.data.difference import Difference, Image, Prepared
from ops.tools.drawing import pictures, templates

MOST = 60  # pictures of a kind of change


@dataclass(frozen=True)
class _Sheet:
    """A kind of change: how many images; of the first ones, the picture, the old and new place."""

    title: str
    total: int
    images: list[tuple[str, Image | None, Image]]


def html(difference: Difference, before: Prepared, after: Prepared) -> Markup:
    """Tables of the counts, and pictures of the images, in the style of page.css."""
    template = templates.environment().get_template("data_sheet.html.jinja")
    sheets = _sheets(difference, before, after)
    return Markup(template.render(groups=difference.groups, sheets=sheets))


def _sheets(difference: Difference, before: Prepared, after: Prepared) -> list[_Sheet]:
    d = difference
    kinds: dict[str, tuple[Prepared, list[tuple[Image | None, Image]]]] = {
        "relabelled": (after, [*d.relabelled]),
        "added": (after, [(None, image) for image in d.added]),
        "removed": (before, [(None, image) for image in d.removed]),
        "moved to another split": (after, [*d.moved]),
    }
    return [
        _Sheet(
            title,
            len(pairs),
            [(pictures.data_uri(data.pixels(new)), old, new) for old, new in pairs[:MOST]],
        )
        for title, (data, pairs) in kinds.items()
        if pairs
    ]
