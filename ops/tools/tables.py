"""Tables and times as text."""

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows of text with aligned columns.

    Parameters
    ----------
    rows : cells; every row has the same number
    right : positions of the columns to align to the right; the others are aligned to the left
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )


def about(seconds: float) -> str:
    """A length of time, rounded."""
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"about {hours} h {minutes} min"
    return f"about {minutes} min" if minutes else f"about {max(1, round(seconds))} s"


def count(number: int, noun: str) -> str:
    """As in 1 day, 2,000 days."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
