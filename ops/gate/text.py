"""A decision as text for a terminal, and as JSON."""

from dataclasses import asdict
from textwrap import TextWrapper, indent
from typing import Any

from digits.gate.judge import Difference, Judgement
from ops.gate.decision import Decision
from ops.gate.sentences import counts, explain
from ops.tools.tables import aligned

WIDTH = 100


def render(decision: Decision) -> str:
    """Render a decision for a terminal: headline, reasons, explanation, then the figures."""
    d = decision
    lines = [d.headline, *(f"  and {reason}" for reason in d.further_reasons), ""]
    # Paths stay whole, so that they can be copied.
    wrapper = TextWrapper(WIDTH, break_on_hyphens=False, break_long_words=False)
    lines += [wrapper.fill(sentence) for sentence in explain(d)]
    label_width = max(6, *(len(label) for label in d.candidate[0].scores.support))
    for name, judgement in d.judgements.items():
        before, now = (counts(judgement.errors[side]) for side in ("base", "candidate"))
        lines += [
            "",
            f"against {name}",
            f"  errors       {before} -> {now}, of {judgement.overall.images} images per run",
            f"  all          {describe(judgement.overall)}",
            *(
                f"  class {label:<{label_width}} {describe(difference)}"
                for label, difference in judgement.by_class.items()
                if difference.broken or difference.fixed
            ),
            *(f"  note: {note}" for note in judgement.notes),
        ]
    limits = [
        (
            limit.name,
            f"{limit.value:,.7g}",
            f"{'>=' if limit.at_least else '<='} {limit.limit:,.7g}",
            "" if limit.held else "BEYOND",
        )
        for limit in d.limits
    ]
    lines += ["", "limits", indent(aligned(limits, right=[1]), "  ")]
    lines += ["", f"rules: {d.rules_from}"]
    lines += [
        f"  changed here, not applied: gate.{name} {before} -> {after}"
        for name, (before, after) in d.changed_rules.items()
    ]
    if d.looks > 1:
        lines.append(f"looks at this test set: {d.looks}; better means p <= 0.05 / {d.looks}")
    return "\n".join(lines)


def describe(difference: Difference) -> str:
    bound = difference.bound
    change = f"loss at most {bound:.1f}" if bound > 0 else f"gain at least {-bound:.1f}"
    return (
        f"{difference.broken} broken, {difference.fixed} fixed, p = {difference.p:.2g}, "
        f"{change} per 10,000"
    )


def as_json(decision: Decision) -> dict[str, Any]:
    d = decision
    return {
        "verdict": "pass" if d.passes else "blocked",
        "headline": d.headline,
        "explanation": explain(d),
        "same_evaluator": "stated by the caller" if d.stated else "checked",
        "override": d.override,
        "reasons": d.reasons,
        "candidate": [run.name for run in d.candidate],
        "not_compared": dict(d.not_compared),
        "bases": {base.name: base.commit for base in d.bases},
        "against": {name: judgement_as_json(judgement) for name, judgement in d.judgements.items()},
        "best_version": asdict(d.best) if d.best else None,
        "limits": [asdict(limit) | {"held": limit.held} for limit in d.limits],
        "rules": d.rules.model_dump() if d.rules else None,
        "rules_from": d.rules_from,
        "changed_rules": {name: list(pair) for name, pair in d.changed_rules.items()},
        "looks": d.looks,
    }


def judgement_as_json(judgement: Judgement) -> dict[str, Any]:
    texts = [reason.text for reason in judgement.reasons]
    kinds = [reason.kind for reason in judgement.reasons]
    return asdict(judgement) | {"reasons": texts, "kinds": kinds}
