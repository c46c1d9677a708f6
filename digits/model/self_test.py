"""Does a model folder answer here as it did when it was exported?"""

from pathlib import Path

import numpy as np

from digits.core.errors import InputError
from digits.model.classifier import TOLERANCE, Classifier, compare


def check(folder: str | Path) -> int:
    """Run the golden images; how many there are.

    Raises
    ------
    InputError
        If the folder is damaged, a prediction differs from the one expected, or a logit by more
        than `TOLERANCE` of the largest one.
    """
    model = Classifier.load(folder)
    with np.load(Path(folder) / "golden.npz") as golden:
        images, expected = golden["images"], golden["logits"]
    found = model.logits(images)
    differing, gap, agree = compare(found, expected)
    if not agree:
        raise InputError(
            f"model {model.id} answers {differing} of {len(images)} golden images with another "
            f"class than when it was exported; its logits differ by {gap:.1e} of the largest, "
            f"expected at most {TOLERANCE:.0e}. Is ONNX Runtime here the one of requirements.txt?"
        )
    return len(images)
