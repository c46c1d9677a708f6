"""The sentences that explain a verdict, the same in the terminal, the comment and the page.

They say what was compared, by how much it differs, what decided, and what to do next.
"""

from collections.abc import Iterable

from digits.gate.judge import Judgement
from digits.gate.results import Run
from ops.gate.decision import Decision, parts_of

# For each kind of reason to block: what it means, and what to do next.
LIMIT = (
    "A limit holds for every model, whatever its base is.",
    "Improve the figures that are beyond their limits. To move a limit (params.yaml: gate.limits), "
    "merge that change first: a change cannot loosen its own rules.",
)
IMPROVE = (
    "Look at the broken images in the report (make report). If their labels are wrong, correct "
    "them (docs/how-to/corrections.md); if not, improve the model or its data."
)
KINDS = {
    "images": ("It broke more images than it fixed, by more than chance explains.", IMPROVE),
    "class": (
        "It broke more images of one class than it fixed, by more than chance explains.",
        IMPROVE,
    ),
    "bound": (
        "Chance may explain the difference, but a loss that the rules forbid is not ruled out.",
        "Improve the model, or show that its loss is smaller: several seeds on each side measure "
        "it more exactly (docs/how-to/judge.md).",
    ),
    "small_sample": (
        "The test set is too small to rule out a loss that the rules forbid.",
        "Use more test images. To accept a small test set (params.yaml: gate.small_sample), merge "
        "that change first.",
    ),
    "duplicates": (
        "A model knows the images that it was trained on, so its errors on them say little.",
        "Remove these images from the training images, then run: dvc repro",
    ),
}


def explain(decision: Decision) -> list[str]:
    """Return the sentences for a verdict of any kind."""
    d = decision
    if d.verdict == "none":
        return [*measured(d), *differences(d), *after_failure(d)]
    return [
        compared(d),
        *(difference(name, judgement, d) for name, judgement in d.judgements.items()),
        decided(d),
        *best_version(d),
        f"Next: {next_step(d)}",
    ]


def compared(d: Decision) -> str:
    first = d.candidate[0].scores
    if not d.judgements:
        return (
            f"{names(d.candidate)} was held to the limits of {d.rules_from} only: there is no base "
            f"to compare with. It was tested on {first.images:,} images ({first.source})."
        )
    sentence = (
        f"{names(d.candidate)} was compared with {listed(d.judgements)}, image by image, on "
        f"{first.images:,} test images ({first.source}), by the rules of {d.rules_from}."
    )
    if d.stated:
        sentence += (
            " The caller states that the same code, libraries and test images made both; the gate "
            "could not check it."
        )
    return sentence


def difference(name: str, judgement: Judgement, d: Decision) -> str:
    """Say by how much the candidate differs from a base."""
    overall = judgement.overall
    before, now = (counts(judgement.errors[side]) for side in ("base", "candidate"))
    bound = (
        f"it loses at most {overall.bound:.1f} images per 10,000"
        if overall.bound > 0
        else f"it gains at least {-overall.bound:.1f} images per 10,000"
    )
    allowed = f" (allowed: less than {d.rules.max_loss})" if d.rules and overall.bound > 0 else ""
    return (
        f"Against {name}: {now} errors, {before} before. {overall.broken:,} images are broken (the "
        f"candidate errs more often), {overall.fixed:,} are fixed. {chance(overall.p)} With 95 % "
        f"confidence, {bound}{allowed}."
    )


def chance(p: float) -> str:
    return f"Between equal models, chance makes such a difference with probability {p:.2g}."


def decided(d: Decision) -> str:
    """Say which rules decided."""
    if d.verdict == "pass":
        if not d.judgements:
            return "Every limit is held, so it passes."
        better = [name for name, judgement in d.judgements.items() if judgement.better]
        claim = f", and chance does not explain the gain over {listed(better)}" if better else ""
        return f"Every limit is held and no comparison shows a loss{claim}, so it passes."
    meaning = " ".join(meaning for meaning, _ in kinds(d))
    if d.verdict == "overridden":
        return f"{meaning} The gate would block it; a reviewer let it pass: {d.override}."
    return f"{meaning} So it is blocked."


def best_version(d: Decision) -> list[str]:
    """Show the sum of many small changes; this decides nothing."""
    if d.best is None:
        return []
    overall = d.best.difference
    return [
        f"For information: {d.best.name}, with {counts(d.best.errors)} errors, is the best version "
        f"of the last year. Against it, {overall.broken:,} images are broken and "
        f"{overall.fixed:,} fixed. {chance(overall.p)}"
    ]


def next_step(d: Decision) -> str:
    if d.verdict == "pass":
        return "nothing is left to do here; merge or promote it."
    if d.verdict == "overridden":
        return "merge or promote it. The next change is compared with this model, losses included."
    advice = " ".join(dict.fromkeys(advice for _, advice in kinds(d)))
    return f"{advice} To let it pass nevertheless, a reviewer must give a reason."


def kinds(d: Decision) -> list[tuple[str, str]]:
    """Return the meaning and the advice of each kind of reason, without repetition."""
    found = [KINDS[reason.kind] for j in d.judgements.values() for reason in j.reasons]
    return list(dict.fromkeys([LIMIT] * bool(d.beyond) + found))


def measured(d: Decision) -> list[str]:
    if not d.candidate:
        return ["The candidate's metrics could not be read, so there are no figures."]
    errors = counts([run.scores.errors for run in d.candidate])
    first = d.candidate[0].scores
    beyond = len(d.beyond)
    held = f" {beyond} of {len(d.limits)} limits are not held." if beyond else ""
    held = " Every limit is held." if d.limits and not beyond else held
    return [
        f"{names(d.candidate)} was measured: {errors} errors in {first.images:,} test images "
        f"({first.source}). It was compared with nothing.{held}"
    ]


def differences(d: Decision) -> list[str]:
    if not d.differing:
        return []
    return [f"The evaluation differs from that of {d.bases[0].name} in: {listed(d.differing)}."]


def after_failure(d: Decision) -> list[str]:
    happened, remedy = parts_of(d.failure or "")
    return [
        f"There is no verdict, since {happened}, and without a comparison nothing passes.",
        f"Next: {remedy or 'mend this, then run the same command again.'}",
    ]


def names(runs: list[Run]) -> str:
    more = len(runs) - 1
    return f"{runs[0].name} (and {more} more run{'s' * (more > 1)})" if more else runs[0].name


def counts(errors: Iterable[int]) -> str:
    return ", ".join(f"{count:,}" for count in errors)


def listed(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
