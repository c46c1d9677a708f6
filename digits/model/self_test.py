"""The self-test: does a model answer its golden images here as it did when it was exported?"""

from pathlib import Path

import numpy as np

from digits.core.errors import InputError
from digits.model.classifier import TOLERANCE, Classifier, compare


def check(folder: str | Path) -> int:
    """Classify the golden images of a model folder; return how many there are.

    Raises
    ------
    InputError
        If the folder is damaged, a prediction differs from the expected one, or a logit differs by
        more than `TOLERANCE` of the largest one.
    """
    model = Classifier.load(folder)
    with np.load(Path(folder) / "golden.npz") as golden:
        images, expected = golden["images"], golden["logits"]
    comparison = compare(model.logits(images), expected)
    if not comparison.agrees:
        raise InputError(
            f"model {model.id} answers {comparison.differing} of {len(images)} golden images with "
            f"another class than when it was exported; its logits differ by {comparison.gap:.1e} "
            f"of the largest, expected at most {TOLERANCE:.0e}. Is ONNX Runtime's version the one "
            f"in requirements.txt?"
        )
    return len(images)
