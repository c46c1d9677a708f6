"""A report as a comment on a pull request; it shows digits as text, so no picture is hosted.

GitHub accepts 65,536 characters. Text from files may have been written by a stranger, so it passes
through `code` or `prose`, in which it can't mention, link or show anything.
"""

import json
import re
from collections.abc import Sequence

from digits.gate.diff import Answer, shown, shown_change
from ops.gate.sentences import listed
from ops.report import text_images
from ops.report.content import Content

LARGEST = 60_000  # characters of a report
LONGEST = 200  # characters of a name or a value
LONGEST_PROSE = 1000
MOST_ROWS = 40
MOST_DIGITS = 24  # of the broken digits, and of the fixed ones
COLUMNS = 4  # digits side by side; a comment is no wider
ZERO_WIDTH_SPACE = "\u200b"


def render(content: Content) -> str:
    """Render the whole report, verdict first; blocks that would make it too large are left out."""
    blocks = {
        "the verdict": verdict(content),
        "figures": figures(content),
        "side by side": side_by_side(content),
        "parameters": parameters(content),
        "data": data(content),
        "rules": rules(content),
        "classes": classes(content),
        "broken digits": digits(content, "broken", content.changed[0]),
        "fixed digits": digits(content, "fixed", content.changed[1]),
        "limits": limits(content),
    }
    text, left_out = "", []
    for name, block in blocks.items():
        if len(text) + len(block) > LARGEST:
            left_out.append(name)
        elif block:
            text += f"{block}\n\n"
    if left_out:
        text += f"Left out, to stay within a comment's size: {', '.join(left_out)}.\n\n"
    return text.rstrip() + "\n"


def verdict(content: Content) -> str:
    d = content.decision
    lines = [f"### {prose(d.headline)}", ""]
    lines += [f"- and {prose(reason)}" for reason in d.further_reasons[:MOST_ROWS]]
    lines += [f"- {prose(sentence)}" for sentence in content.explanation]
    lines += [f"- note: {prose(note)}" for j in d.judgements.values() for note in j.notes]
    lines += [f"- not shown: {prose(fault)}" for fault in content.unread]
    stale = [s.name for s in content.stages if s.state not in ("never run", "up to date")]
    if stale:
        lines.append(
            f"- note: code or parameters have changed since {listed(map(code, stale))} ran: `dvc "
            "repro`"
        )
    return "\n".join(lines)


def figures(content: Content) -> str:
    if not content.candidate:
        return ""
    if content.against is None:
        rows = [[f.name, shown(f, f.after)] for f in content.figures]
        return table(["", "here"], rows, "lr")
    rows = [
        [f.name, shown(f, f.before), shown(f, f.after), shown_change(f), f.mark or ""]
        for f in content.figures
    ]
    return table(["", code(content.against), "here", "change", ""], rows, "lrrrl")


def side_by_side(content: Content) -> str:
    """Render the figures of several models, a column each."""
    models = content.models
    if not models:
        return ""
    rows = []
    for name in models[0].figures:
        by_model = [model.figures[name] for model in models]
        cells = (" ".join(filter(None, [shown(f, f.after), f.mark])) for f in by_model)
        rows.append([name, *cells])
    return table(["", *(code(model.name) for model in models)], rows, "l" + "r" * len(models))


def parameters(content: Content) -> str:
    if content.params is None:
        return ""
    if not content.params:
        return "No parameter differs."
    rows = [[code(name), value(one), value(two)] for name, (one, two) in content.params.items()]
    return table(["parameter", "before", "here"], rows, "lll")


def data(content: Content) -> str:
    """Render what changed in the data, if they changed."""
    changes = content.data
    if changes is None:
        return ""
    since = f"from {code(changes.before.digest[:9])} to {code(changes.after.digest[:9])}"
    if changes.images is None:
        return f"The data changed ({since}); which images is unknown: {prose(str(changes.unknown))}"
    text = f"The data changed ({since}): {changes.images.sentence}."
    rows = [
        [kind, code(split), code(label), f"{count:,}"]
        for kind, split, label, count in changes.images.groups
    ]
    if not rows:
        return text
    more = details(
        "By split and class", table(["change", "split", "class", "images"], rows, "lllr")
    )
    return f"{text}\n\n{more}"


def rules(content: Content) -> str:
    d = content.decision
    if not d.rules_from:
        return ""
    text = f"Rules: {code(d.rules_from)}. {content.looks_note}".rstrip()
    if not d.changed_rules:
        return text
    rows = [[code(name), value(one), value(two)] for name, (one, two) in d.changed_rules.items()]
    changed = table(["rule", "applied", "here"], rows, "lll")
    return f"{text} Changed here, not applied:\n\n{changed}"


def classes(content: Content) -> str:
    """Render the classes in which an image broke or was fixed."""
    if content.against is None:
        return ""
    rows = [
        [code(label), f"{d.images:,}", str(d.broken), str(d.fixed), f"{d.p:.2g}"]
        for label, d in content.decision.judgements[content.against].by_class.items()
        if d.broken or d.fixed
    ]
    if not rows:
        return "Both make the same errors."
    return table(["class", "images", "broken", "fixed", "p"], rows, "lrrrr")


def digits(content: Content, what: str, answers: Sequence[Answer]) -> str:
    """Render pictures in a folded block, the most confident answers first."""
    if not answers:
        return ""
    summary = f"{len(answers)} {what}"
    if content.no_images:
        lines = [
            f"- {code(a.label)} read as {code(a.predicted)}, {a.confidence:.0%} sure, image "
            f"{a.index}"
            for a in answers[:MOST_DIGITS]
        ]
        body = "\n".join([f"No pictures: {prose(content.no_images)}.", "", *lines])
    else:
        sheet = text_images.contact_sheet(
            [content.images[a.index] for a in answers[:MOST_DIGITS]],
            [_caption(a) for a in answers[:MOST_DIGITS]],
            COLUMNS,
        )
        body = f"```text\n{sheet}\n```"
    if len(answers) > MOST_DIGITS:
        summary += f"; shown are the {MOST_DIGITS} with the highest confidence"
    return details(summary, body)


def _caption(answer: Answer) -> tuple[str, str]:
    label, predicted = printable(answer.label, LONGEST), printable(answer.predicted, LONGEST)
    return f"{label} read as {predicted}", f"{answer.confidence:.0%} sure, #{answer.index}"


def limits(content: Content) -> str:
    limits = content.decision.limits
    if not limits:
        return ""
    beyond = sum(not limit.held for limit in limits)
    rows = [
        [
            code(limit.name),
            f"{limit.value:,.6g}",
            f"{'≥' if limit.at_least else '≤'} {limit.limit:,.7g}",
            "" if limit.held else "**beyond**",
        ]
        for limit in sorted(limits, key=lambda limit: limit.held)
    ]
    summary = f"Limits: {beyond} of {len(limits)} not held" if beyond else "Limits: all held"
    return details(summary, table(["figure", "here", "limit", ""], rows, "lrrl"))


def details(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Render a table of cells that are Markdown; `align` has an l or r for each column."""
    lines = [header, ["---" if side == "l" else "--:" for side in align], *rows[:MOST_ROWS]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    more = len(rows) - MOST_ROWS
    return f"{text}\n\n… and {more} more." if more > 0 else text


def value(parameter: object) -> str:
    """Render the value of a parameter."""
    if parameter is None:
        return "absent"
    text = parameter if isinstance(parameter, str) else json.dumps(parameter, ensure_ascii=False)
    return code(text)


def code(text: str) -> str:
    """Render text as a code span, in which GitHub neither links nor mentions anything.

    Characters that would end the span, or a table's cell, are replaced by similar ones.
    """
    return f"`{printable(text, LONGEST).replace('|', '¦') or ' '}`"


def prose(text: str) -> str:
    """Escape text, so that GitHub sees no Markdown, HTML, mention, reference, link or emoji."""
    plain = printable(text, LONGEST_PROSE)
    plain = re.sub(r"([\\*_\[\]<>&|~$!#])", r"\\\1", plain)
    return re.sub(r"([@#:](?=\S)|\bwww(?=\.)|\bGH(?=-))", rf"\1{ZERO_WIDTH_SPACE}", plain)


def printable(text: str, longest: int) -> str:
    """Return one line without control or direction characters and backticks, cut to a length."""
    line = "".join(c if c.isprintable() else " " for c in text.replace("`", "'")).strip()
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
