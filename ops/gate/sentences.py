"""The sentences that explain a verdict, the same in the terminal, the comment and the page.

They say what was compared, by how much it differs, what decided, and what to do next.
"""

from collections.abc import Iterable

from digits.core.errors import first
from digits.gate.judge import Difference, Judgement
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
NARROW = (
    "Improve the model, or show that its loss is smaller: several seeds on each side measure it "
    "more exactly (make experiment SEEDS=3, then docs/how-to/judge.md)."
)
KINDS = {
    "images": ("It broke more images than it fixed, by more than chance explains.", IMPROVE),
    "class": (
        "It broke more images of one class than it fixed, by more than chance explains.",
        IMPROVE,
    ),
    "bound": (
        "A loss as large as the rules forbid is not ruled out.",
        NARROW,
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
NOT_COMPARED = ("Without a comparison, nothing rules out a loss.", "")
EXCUSED = (
    f"{KINDS['small_sample'][0]} These rules excuse that (params.yaml: gate.small_sample), so it "
    f"passes."
)


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
        why = "" if d.not_compared else ": there is no base to compare with"
        return (
            f"{subject(d.candidate)} was held to the limits of {d.rules_from} only{why}. It was "
            f"tested on {first.images:,} images ({first.source})."
        )
    sentence = (
        f"{subject(d.candidate)} was compared with {listed(d.judgements)}, image by image, on "
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
    allowed = ""
    if d.rules and overall.bound > 0:
        few = ", for which there are too few test images" if judgement.excused else ""
        allowed = f" (allowed: less than {d.rules.max_loss}{few})"
    models = {run.scores.model for side in d.pairs[name] for run in side}
    is_one = len(models) == 1 and not (overall.broken or overall.fixed)
    changed = "Both are the same model." if is_one else changed_images(overall)
    return (
        f"Against {name}: {now} errors, {before} before. {changed} With 95 % confidence, "
        f"{bound}{allowed}."
    )


def changed_images(overall: Difference) -> str:
    if not (overall.broken or overall.fixed):
        return "Both err on the same images."
    p = overall.p
    percent = f"{100 * p:.0f}" if p >= 0.01 else f"{100 * p:.1g}"
    share = f"{percent} %" if p >= 0.0001 else "less than 0.01 %"
    return (
        f"Images on which the candidate errs more often (broken): {overall.broken:,}; less often "
        f"(fixed): {overall.fixed:,}. Between equal models, chance makes such a difference in "
        f"{share} of cases (p = {p:.2g})."
    )


def decided(d: Decision) -> str:
    """Say which rules decided."""
    if d.verdict == "pass":
        if not d.judgements:
            return "Every limit is held, so it passes."
        better = [name for name, judgement in d.judgements.items() if judgement.better]
        claim = f", and chance does not explain the gain over {listed(better)}" if better else ""
        held = "Every limit is held and no comparison shows a loss"
        if any(judgement.excused for judgement in d.judgements.values()):
            return f"{held} beyond chance{claim}. {EXCUSED}"
        return f"{held}{claim}, so it passes."
    meaning = " ".join(meaning for meaning, _ in kinds(d))
    if d.verdict == "overridden":
        return f"{meaning} The gate would block it; a reviewer let it pass: {d.override}."
    return f"{meaning} So it is blocked."


def best_version(d: Decision) -> list[str]:
    """Show the sum of many small changes; this decides nothing."""
    if d.best is None:
        return []
    now = counts(run.scores.errors for run in d.candidate)
    return [
        f"For information, against {d.best.name}, the best version of the last year: {now} errors, "
        f"{counts(d.best.errors)} before. {changed_images(d.best.difference)}"
    ]


def next_step(d: Decision) -> str:
    if d.verdict == "pass":
        return "merge or promote it."
    if d.verdict == "overridden":
        return "merge or promote it. The next change is compared with this model, losses included."
    advice = list(dict.fromkeys(advice for _, advice in kinds(d)))
    if IMPROVE in advice and NARROW in advice:
        advice.remove(NARROW)
    return (
        f"{' '.join(advice)} To let it pass anyway, a reviewer must give a reason "
        f"(docs/how-to/judge.md)."
    )


def kinds(d: Decision) -> list[tuple[str, str]]:
    """Return the meaning and the advice of each kind of reason, without repetition."""
    found = [NOT_COMPARED] * bool(d.not_compared)
    found += [KINDS[reason.kind] for j in d.judgements.values() for reason in j.reasons]
    return list(dict.fromkeys([LIMIT] * bool(d.beyond) + found))


def measured(d: Decision) -> list[str]:
    if not d.candidate:
        return ["The candidate's metrics could not be read, so there are no figures."]
    errors = counts(run.scores.errors for run in d.candidate)
    first = d.candidate[0].scores
    sentence = (
        f"{subject(d.candidate)} was measured: {errors} errors in {first.images:,} test images "
        f"({first.source})."
    )
    if d.beyond:
        sentence += f" {len(d.beyond)} of {len(d.limits)} limits are not held."
    elif d.limits:
        sentence += " Every limit is held."
    return [sentence]


def differences(d: Decision) -> list[str]:
    if not d.differing:
        return []
    return [f"Its evaluation differs from that of {d.bases[0].name} in: {first(d.differing, 20)}."]


def after_failure(d: Decision) -> list[str]:
    _, remedy = parts_of(d.failure or "")
    if remedy.startswith("Run: "):
        remedy = f"run {remedy.removeprefix('Run: ')}"
    remedy = remedy or "fix this, then run the same command again."
    return ["Without a verdict, nothing passes.", f"Next: {remedy}"]


def subject(runs: list[Run]) -> str:
    more = len(runs) - 1
    others = f" and {more} more run{'s' * (more > 1)}" if more else ""
    return f"The candidate ({runs[0].name}{others})"


def counts(errors: Iterable[int]) -> str:
    return ", ".join(f"{count:,}" for count in errors)


def listed(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
