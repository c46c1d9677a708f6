"""What changed in the data, for a report: only if dvc.lock names other data than the base's."""

from dataclasses import dataclass

from markupsafe import Markup

from digits.core.errors import InputError, UserError
from digits.data import difference
from digits.data.difference import Difference
from ops.tools import data_revisions
from ops.tools.data_revisions import DataRevision
from ops.tools.drawing import data_sheet
from ops.tools.tree import Tree


@dataclass(frozen=True)
class DataChanges:
    """The data of the base and of the candidate, which differ.

    images : the images that differ; None if one side's can't be had, and `unknown` says why
    sheet : the same as HTML
    """

    before: DataRevision
    after: DataRevision
    images: Difference | None
    sheet: Markup
    unknown: str | None


def read(here: Tree, there: Tree | None) -> DataChanges | None:
    """Compare the data; None if they are the same, or a side has none.

    Parameters
    ----------
    here, there : the trees of the candidate and of the base
    """
    if there is None:
        return None
    try:
        before, after = data_revisions.of(there), data_revisions.of(here)
    except InputError:
        return None  # the report says of the stages what is wrong with dvc.lock
    if before.digest == after.digest:
        return None
    try:
        old, new = data_revisions.load(before), data_revisions.load(after)
    except UserError as error:
        return DataChanges(before, after, None, Markup(), str(error))
    images = difference.compare(difference.images(old), difference.images(new))
    return DataChanges(before, after, images, data_sheet.html(images, old, new), None)
