"""Times, counts and messages as a person reads them.

Times are in UTC, so that everybody's pages say the same.
"""

import re
import time

from markupsafe import Markup, escape

from ops.tools.tables import count


def day(seconds: float) -> str:
    """As in 3 Nov 2026."""
    moment = time.gmtime(seconds)
    return f"{moment.tm_mday} {time.strftime('%b %Y', moment)}"


def moment(seconds: float) -> str:
    """As in 3 Nov 2026, 14:05 UTC."""
    return f"{day(seconds)}, {time.strftime('%H:%M', time.gmtime(seconds))} UTC"


def iso(seconds: float) -> str:
    """For the attribute `datetime`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


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
