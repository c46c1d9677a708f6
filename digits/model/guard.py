"""A classifier with a detector of images that show none of the classes, as one network.

The detector lowers confidences. It takes no part in the decision between the classes, so the
accuracy is that of the classifier alone.
"""

from pathlib import Path

from torch import Tensor, nn

from digits.core import files
from digits.core.errors import InputError
from digits.model.network import Network, load_network

# The smallest and the largest share that equal probabilities get: so that no probability is 0, and
# rounding cannot change a decision.
DOUBT = 1e-6, 0.5


class GuardedNetwork(nn.Module):
    """A classifier and its detector: a network with one class more, the last one for none.

    The less the detector prefers the classifier's answer to none, the closer the probabilities are
    drawn to equal ones. Returns their logarithms, float32 (n, classes).
    """

    def __init__(self, classifier: Network, detector: Network) -> None:
        super().__init__()
        self.classifier = classifier
        self.detector = detector
        self.architecture = classifier.architecture
        self.classes = classifier.classes
        self.image_size = classifier.image_size

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(images)
        detected: Tensor = self.detector(images)
        excess = detected.gather(1, logits.argmax(1, keepdim=True)) - detected[:, -1:]
        # A sigmoid; ONNX Runtime's own has few right digits where it is small.
        doubt = (1 / (1 + excess.exp())).clamp(*DOUBT)
        return ((1 - doubt) * logits.softmax(1) + doubt / len(self.classes)).log()


def guarded(classifier: Network, detector: Network | None) -> Network | GuardedNetwork:
    """A classifier with its detector, if it has one.

    Raises `InputError` if the detector was trained for other classes or images.
    """
    if detector is None:
        return classifier
    if (detector.classes[:-1], detector.image_size) != (classifier.classes, classifier.image_size):
        raise InputError(
            f"the detector is for the classes {', '.join(detector.classes[:-1])} on images of "
            f"{detector.image_size}; the network is for {', '.join(classifier.classes)} on "
            f"{classifier.image_size}. Run: dvc repro"
        )
    return GuardedNetwork(classifier, detector).eval()


def load_detector(path: Path) -> Network | None:
    """Read the file that the stage detect wrote: empty if there is no detector.

    Raises `InputError` as `load_network` does.
    """
    return load_network(path) if files.existing(path).stat().st_size else None
