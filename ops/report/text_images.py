"""Small images as text, for places that show no pictures: two pixels per character.

Every monospaced font that GitHub uses has half blocks, and they read well on dark and on light.
"""

from collections.abc import Sequence
from textwrap import shorten

import numpy as np

from digits.core.arrays import UInt8Array

INK = 96  # of 255; a pixel that is brighter is drawn
GAP = "  "
LONGEST = 24  # characters of a caption's line


def half_blocks(image: UInt8Array) -> list[str]:
    """Render an image, cropped to its ink: uint8 (height, width), bright on dark -> lines."""
    ink = image >= INK
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return []
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink = np.pad(ink, ((0, len(ink) % 2), (0, 0)))
    symbols = np.array(list(" ▀▄█"))[ink[::2] + 2 * ink[1::2]]
    return ["".join(line).rstrip() for line in symbols]


def contact_sheet(
    images: Sequence[UInt8Array], captions: Sequence[Sequence[str]], columns: int
) -> str:
    """Render images side by side, each below the lines of its caption.

    Parameters
    ----------
    images : uint8 (height, width) each
    captions : lines for each image, equally many; long ones are cut
    columns : images in a row
    """
    cells = [
        [*(shorten(line, LONGEST, placeholder="…") for line in lines), "", *half_blocks(image)]
        for image, lines in zip(images, captions, strict=True)
    ]
    width = max((len(line) for cell in cells for line in cell), default=0)
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return "\n\n".join("\n".join(_beside(row, width)) for row in rows)


def _beside(cells: Sequence[Sequence[str]], width: int) -> list[str]:
    height = max(map(len, cells))
    padded = [[*cell, *[""] * (height - len(cell))] for cell in cells]
    return [
        GAP.join(part.ljust(width) for part in line).rstrip() for line in zip(*padded, strict=True)
    ]
