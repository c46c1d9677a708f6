"""Times, counts and messages as a person reads them.

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
