import pytest
import torch

from digits.core import params
from digits.model.network import Architecture, Network
from digits.training.calibration import calibrate, calibration_factor
from tests.helpers.small import ROOT


def test_images_that_are_all_right_do_not_make_for_boundless_confidence() -> None:
    labels = torch.arange(100) % 4
    logits = 3 * torch.eye(4, dtype=torch.float64)[labels]
    probabilities = (calibration_factor(logits, labels) * logits).softmax(1)
    assert probabilities.amax(1).tolist() == pytest.approx([101 / 102] * 100)  # Platt's


def test_the_factor_undoes_a_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    factor = calibration_factor(logits, labels)
    assert factor == pytest.approx(1, abs=0.1)
    assert calibration_factor(logits / 3, labels) == pytest.approx(3 * factor, rel=1e-6)


def test_calibration_multiplies_the_logits_of_a_copy() -> None:
    architecture = Architecture.parse(params.read_yaml(ROOT / "params.yaml")["model"])
    network = Network(architecture, ("a", "b"), (28, 28), 33.0, 79.0).eval()
    image = torch.full((1, 28, 28), 100.0)
    before = network(image)
    torch.testing.assert_close(calibrate(network, 2.5)(image), 2.5 * before)
    assert torch.equal(network(image), before)
