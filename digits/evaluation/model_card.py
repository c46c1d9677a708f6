"""Write a model's card in Markdown: what a user should know before using the model.

After Mitchell et al. 2019, Model Cards for Model Reporting: the model, its data, its accuracy, its
failures and its intended use. All figures come from the model's evaluation.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from digits.core.arrays import Int64Array
from digits.data.dataset import Source
from digits.model.classifier import Classifier

FRAGILE = 0.9  # the card warns of a corruption with a lower accuracy
CONFUSIONS = 5  # the most frequent ones are listed
LICENCES = {
    "mnist": "MNIST is by Y. LeCun, C. Cortes and C. Burges.",
    "uci": "The images are the UCI Optical Recognition of Handwritten Digits by E. Alpaydin and "
    "C. Kaynak (CC BY 4.0).",
}


@dataclass(frozen=True)
class Subject:
    """A model, its evaluation, and the data that it was trained on.

    figures : content of `evaluation.json`
    confusion : int64 (true classes, predicted classes), counts of test images
    model, source : as loaded
    counts : number of images in each split
    """

    figures: Mapping[str, Any]
    confusion: Int64Array
    model: Classifier
    source: Source
    counts: Mapping[str, int]


def write(subject: Subject, pictures: str) -> str:
    """Write the card as Markdown; equal evaluations give equal bytes.

    Parameters
    ----------
    subject : the model, its evaluation and its data
    pictures : path from the card to the folder of overview.png and errors.png
    """
    parts = [
        "# Model card: digit-classifier\n",
        _overview(subject),
        "## How well it does\n",
        _accuracy(subject.figures),
        f"![Confusion matrix, recall, calibration, corruptions]({pictures}/overview.png)\n",
        _by_class(subject),
        "## Where it fails\n",
        _confusions(subject),
        f"![The errors that it was most confident of]({pictures}/errors.png)\n",
        _corruptions(subject.figures),
        "## Use\n",
        _use(subject),
    ]
    return "\n".join(parts)


def _overview(subject: Subject) -> str:
    figures, a, counts = subject.figures, subject.model.architecture, subject.counts
    classes = subject.model.classes
    height, width = subject.model.preprocessing.size
    channels = "-".join(map(str, a["channels"]))
    members = f"{a['members']} of them, averaged; " if a["members"] > 1 else ""
    rows = {
        "Model": f"`{figures['model']}` (the sha256 of its `model.json`)",
        "Answers": f"which of {len(classes)} classes an image shows, and how surely: "
        f"{_list(classes)}",
        "Takes": f"grey images of {height} x {width} pixels, bright ink on a dark ground",
        "Network": f"convolutional, {channels} channels; {members}{figures['parameters']:,} "
        f"weights, {figures['model_bytes']:,} bytes as ONNX",
        "Learnt from": f"{subject.source.name}: {counts['train']:,} images, and "
        f"{counts['val']:,} more to choose the best epoch",
        "Tested on": f"{counts['test']:,} images of {subject.source.name} that it has never seen, "
        f"`{figures['test_set']}` (sha256)",
        "Data files": ", ".join(f"{k} `{v}`" for k, v in sorted(subject.source.digests.items())),
    }
    return _table(("", ""), rows.items())


def _accuracy(figures: Mapping[str, Any]) -> str:
    low, high = wilson_interval(figures["images"] - figures["errors"], figures["images"])
    return (
        f"**{figures['accuracy']:.2%}** of the test images are read correctly "
        f"({figures['errors']} errors in {figures['images']:,}; {low:.2%} to {high:.2%} at 95 % "
        f"confidence). Its confidence is off by {figures['ece']:.2%} on average (expected "
        f"calibration error); negative log-likelihood {figures['nll']:.4f} nats.\n"
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a proportion, as scipy.stats does.

    `scipy.stats` takes longer to import than the whole card to write.

    References
    ----------
    Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    z = NormalDist().inv_cdf(0.975)
    p, shrink = successes / trials, 1 + z**2 / trials
    centre = (p + z**2 / (2 * trials)) / shrink
    half = z * math.sqrt(p * (1 - p) / trials + (z / (2 * trials)) ** 2) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)


def _by_class(subject: Subject) -> str:
    rows = []
    for i, name in enumerate(subject.model.classes):
        counts, hits = subject.confusion[i], int(subject.confusion[i, i])
        read = int(subject.confusion[:, i].sum())
        precision = f"{hits / read:.2%}" if read else "never read"
        rows.append((name, f"{counts.sum():,}", f"{hits / counts.sum():.2%}", precision))
    return _table(("class", "test images", "read correctly", "right when read"), rows)


def _confusions(subject: Subject) -> str:
    classes = subject.model.classes
    wrong = subject.confusion - np.diag(np.diag(subject.confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [tuple(map(int, np.unravel_index(k, wrong.shape))) for k in order if wrong.flat[k]]
    if not pairs:
        return "No test image is misread.\n"
    named = (f"{classes[i]} as {classes[j]} ({wrong[i, j]})" for i, j in pairs)
    return f"Most often it reads {', '.join(named)}. All errors are in `errors.csv`.\n"


def _corruptions(figures: Mapping[str, Any]) -> str:
    ranked = sorted(_robustness(figures).items(), key=lambda item: (item[1], item[0]))
    rows = [(name.replace("_", " "), f"{accuracy:.2%}") for name, accuracy in ranked]
    return _table(("corrupted by", "read correctly"), rows)


def _robustness(figures: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy under each corruption."""
    return {name: a for name, a in figures["robustness"].items() if name != "mean"}


def _use(subject: Subject) -> str:
    robustness = _robustness(subject.figures)
    classes = len(subject.model.classes)
    fragile = sorted(name.replace("_", " ") for name, a in robustness.items() if a < FRAGILE)
    known = f"images like those of {subject.source.name}"
    if subject.source.method == "ink-box":
        use, wrong = "reading single, separate characters, a class each, in", "character"
        others = "writers, pens, scanners or alphabets"
    else:
        use, wrong = "telling one of its classes from the others, one in an image, in", "answer"
        others = "sources of images, cameras or lighting"
    lines = [
        f"- *Meant for* {use} {known}.",
        f"- *Not for* decisions about people, sums of money or anything else that a wrong {wrong} "
        "would spoil unnoticed: have a person look at what it is unsure of, and at a sample of the "
        "rest.",
        f"- *Limits*: whatever an image shows, it answers one of its {classes} classes. How "
        f"it does on other {others} was not measured.",
    ]
    if fragile:
        lines.append(
            f"- *Keep away*: {', '.join(fragile)}, of which it reads less than {FRAGILE:.0%}."
        )
    lines.append(f"- *Licence*: MIT. {LICENCES.get(subject.source.name, '')}".rstrip())
    return "\n".join(lines) + "\n"


def _list(names: Iterable[str]) -> str:
    """Join names with commas, or with semicolons if a name contains a comma."""
    names = list(names)
    return ("; " if any("," in name for name in names) else ", ").join(names)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n" for row in lines
    )
