"""CSV files with six significant digits, which read well in a diff."""

import io
from collections.abc import Mapping, Sequence
from csv import DictWriter
from typing import Any


def csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """A CSV table with a header.

    Parameters
    ----------
    rows : mappings with the same keys; floats are cut to six significant digits
    columns : the header, needed where there may be no rows
    """
    text = io.StringIO()
    writer = DictWriter(text, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()
