import torch

from digits.core import params
from digits.model.network import Architecture, Network
from digits.training import weights
from digits.training.weights import Weights
from tests.helpers.small import ROOT


def test_tensors_in_one_vector_start_at_multiples_of_64_bytes() -> None:
    tensors = [torch.full((n,), float(n)) for n in (1, 16, 17)]
    vector = weights.join(tensors)
    weights.bind(tensors, vector)
    assert [4 * tensor.storage_offset() for tensor in tensors] == [0, 64, 128]
    assert [tensor.unique().tolist() for tensor in tensors] == [[1], [16], [17]]
    assert len(vector) == weights.length(tensors) == 64


def test_the_averaged_network_follows_the_average() -> None:
    architecture = Architecture.parse(params.read_yaml(ROOT / "params.yaml")["model"])
    network = Network(architecture, ("a", "b"), (28, 28), 33.0, 79.0).eval()
    vectors = Weights.initial(network)
    averaged, image = vectors.averaged(network), torch.full((1, 28, 28), 100.0)
    assert torch.equal(averaged(image), network(image))
    vectors.average.zero_()
    assert averaged(image).unique().tolist() == [0]
    assert network(image).unique().tolist() != [0]
