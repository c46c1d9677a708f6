"""A classifier with a detector: less sure of what shows no class, and the same decisions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.model import onnx_export
from digits.model.guard import DOUBT, GuardedNetwork, guarded, load_detector
from digits.model.network import Network, save_network
from tests.digits.model.test_network import CLASSES, architecture, network

IMAGES: UInt8Array = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)


def detector(none: float = 0.0) -> Network:
    """One whose logit of none is raised."""
    torch.manual_seed(1)
    made = Network(architecture(), (*CLASSES, "none"), (28, 28), 33.0, 79.0)
    torch.nn.init.normal_(made.members[0][-1].weight)
    made.members[0][-1].bias.data[-1] += none / made.logit_scale
    return made.eval()


def logits(made: Network | GuardedNetwork) -> np.ndarray:
    return onnx_export.torch_logits(made, IMAGES, threads=1)


def sure(made: Network) -> Network:
    made.logit_scale *= 100
    return made.eval()


def test_doubt_lowers_confidence_and_changes_no_decision() -> None:
    classifier = sure(network())
    alone, known, none = (
        logits(guarded(classifier, other)) for other in (None, detector(-1e4), detector(1e4))
    )
    np.testing.assert_allclose(np.exp(none).sum(1), 1, rtol=1e-5)
    assert np.exp(none).max() <= 1 - DOUBT[1] + DOUBT[1] / 10 + 1e-6
    assert (np.exp(none).max(1) < np.exp(known).max(1)).all()
    exact = torch.from_numpy(alone).softmax(1).numpy()
    np.testing.assert_allclose(np.exp(known), exact, atol=2 * DOUBT[0])
    assert (known.argmax(1) == alone.argmax(1)).all()
    assert (none.argmax(1) == alone.argmax(1)).all()


def test_certainty_makes_no_infinite_logit() -> None:
    assert np.isfinite(logits(guarded(sure(sure(sure(network()))), detector(-1e4)))).all()


@pytest.mark.parametrize("none", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize("members", [1, 2])
def test_the_exported_graph_has_the_same_logits(none: float, members: int) -> None:
    made = guarded(network(members=members).eval(), detector(none))
    onnx_export.compare(made, onnx_export.to_onnx(made), IMAGES, workers=1)


def test_an_empty_file_is_no_detector_and_an_absent_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "detector"
    with pytest.raises(InputError, match="detector does not exist"):
        load_detector(path)
    path.write_bytes(b"")
    assert load_detector(path) is None
    save_network(detector(), path)
    loaded = load_detector(path)
    assert loaded is not None
    assert logits(loaded).tobytes() == logits(detector()).tobytes()


def test_a_detector_of_other_classes_is_refused() -> None:
    other = Network(architecture(), ("a", "b", "none"), (28, 28), 33.0, 79.0)
    with pytest.raises(InputError, match=r"is for the classes a, b on .*; the network is for 0, 1"):
        guarded(network(), other)


def test_a_detector_of_images_of_another_size_is_refused() -> None:
    other = Network(architecture(), (*CLASSES, "none"), (32, 32), 33.0, 79.0)
    with pytest.raises(
        InputError, match=r"on images of \(32, 32\); the network is .* on \(28, 28\)"
    ):
        guarded(network(), other)
