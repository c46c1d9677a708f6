"""The images that differ between two data sets, as a contact sheet for a page."""

from dataclasses import dataclass

from markupsafe import Markup

from digits.data.difference import Difference, Image, Prepared
from ops.tools.drawing import pictures, templates

MOST = 60  # pictures of a kind of change


@dataclass(frozen=True)
class _Sheet:
    """A kind of change: the number of images; of the first, picture, older place, newer place."""

    title: str
    total: int
    images: list[tuple[str, Image | None, Image]]


def html(difference: Difference, before: Prepared, after: Prepared) -> Markup:
    """Tables of the counts, and pictures of the images, in the style of page.css."""
    template = templates.environment().get_template("data_sheet.html.jinja")
    sheets = _sheets(difference, before, after)
    return Markup(template.render(groups=difference.groups, sheets=sheets))


def _sheets(difference: Difference, before: Prepared, after: Prepared) -> list[_Sheet]:
    def picture(image: Image, data: Prepared = after) -> str:
        return pictures.data_uri(data.pixels(image))

    d = difference
    sheets = [
        _Sheet(
            "relabelled", len(d.relabelled), [(picture(b), a, b) for a, b in d.relabelled[:MOST]]
        ),
        _Sheet("added", len(d.added), [(picture(b), None, b) for b in d.added[:MOST]]),
        _Sheet(
            "removed", len(d.removed), [(picture(a, before), None, a) for a in d.removed[:MOST]]
        ),
        _Sheet(
            "moved to another split", len(d.moved), [(picture(b), a, b) for a, b in d.moved[:MOST]]
        ),
    ]
    return [sheet for sheet in sheets if sheet.images]
