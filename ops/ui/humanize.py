"""Times, sizes, digests and messages as a person reads them.

Times are in UTC, so that everybody's pages say the same.
"""

import re
import time

from markupsafe import Markup, escape

from ops.tools.tables import count


def on_day(seconds: float) -> Markup:
    """As in 3 Nov 2026, as HTML; seconds since 1970."""
    return _time(seconds, "%b %Y")


def when(seconds: float) -> Markup:
    """As in 3 Nov 2026, 14:05 UTC, as HTML; seconds since 1970."""
    return _time(seconds, "%b %Y, %H:%M UTC")


def _time(seconds: float, form: str) -> Markup:
    moment = time.gmtime(seconds)
    exact, shown = (time.strftime(f, moment) for f in ("%Y-%m-%dT%H:%M:%SZ", form))
    return Markup('<time datetime="{}">{} {}</time>').format(exact, moment.tm_mday, shown)


def span(seconds: float) -> str:
    """A length of time in its largest unit, as in 3 days."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return count(int(seconds // size), unit)
    return count(int(max(seconds, 0)), "second")


def duration(seconds: float) -> str:
    """A length of time with its seconds, as in 2 min 5 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(number: int | None) -> str:
    """Bytes in the unit that suits them."""
    if number is None:
        return "\N{EN DASH}"
    if number < 1000:
        return f"{number} B"
    return f"{number / 1e3:.1f} kB" if number < 1e6 else f"{number / 1e6:.1f} MB"


def short(digest: str | None) -> str:
    """The beginning of a digest, which is enough to tell two of them apart."""
    return digest[:8] if digest else "\N{EN DASH}"


def sentence(message: str) -> Markup:
    """The message of an error with a capital letter, and with the command at its end as code."""
    text, _, command = message.rpartition(": ")
    if not re.match(r"(digits|dvc|git|make|python) ", command):
        text, command = message, ""
    first = text.partition(" ")[0]
    if first.isalpha():  # dvc.lock and data/prepared are names
        text = text[0].upper() + text[1:]
    shown = escape(text)
    return shown + Markup(": <code>{}</code>").format(command) if command else shown
