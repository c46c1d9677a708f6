import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as to_safetensors
from torch import nn

from digits.core import params
from digits.core.errors import InputError
from digits.core.params import override
from digits.model.network import (
    Architecture,
    Dropout,
    Network,
    _pool,
    initial_network,
    load_network,
    save_network,
)
from tests.helpers.small import ROOT

CLASSES = tuple("0123456789")


def architecture(**changes: object) -> Architecture:
    section = params.read_yaml(ROOT / "params.yaml")["model"]
    return Architecture.parse(override(section, {"channels": [4, 6, 8], **changes}))


def network(**changes: object) -> Network:
    torch.manual_seed(0)
    return Network(architecture(**changes), CLASSES, (28, 28), 33.0, 79.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"convolutions": [3, 1, 1]},
        {"kernel_size": 5},
        {"padding": ["valid", "valid", "valid"], "convolutions": [1, 2, 1]},
        {"padding": ["same", "same", "same"], "pool_size": 7},
        {"batch_norm": False},
        {"pooling": "avg", "pool_size": 3},
        {"pool_size": 4},
        {"hidden": [32, 16], "dense_dropout": 0.5},
        {"members": 3},
    ],
)
def test_each_shape_of_network_gives_a_logit_a_class(changes: dict[str, object]) -> None:
    assert network(**changes)(torch.zeros(2, 28, 28)).shape == (2, 10)


def test_images_are_normalised_by_the_mean_and_the_deviation_of_those_to_train_on() -> None:
    images = np.random.default_rng(0).integers(100, 256, (5, 28, 28), np.uint8)
    made = initial_network(architecture(), CLASSES, images, seed=0)
    assert made.mean.item() == pytest.approx(images.mean())
    assert made.std.item() == pytest.approx(images.std())


def test_an_ensemble_says_what_its_members_say_on_average() -> None:
    ensemble = network(members=3).eval()
    images = torch.randint(0, 256, (4, 28, 28), generator=torch.Generator().manual_seed(0)).float()
    each = ensemble.member_logits(images)
    assert each.shape == (3, 4, 10)
    assert not torch.equal(each[0], each[1])
    torch.testing.assert_close(ensemble(images), (each[0] + each[1] + each[2]) / 3)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_pooling_is_adaptive_pooling_where_its_windows_are_equal(size: int, pooling: str) -> None:
    reference = nn.AdaptiveMaxPool2d(size) if pooling == "max" else nn.AdaptiveAvgPool2d(size)
    maps = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    found = _pool(architecture(pooling=pooling, pool_size=size), (7, 7))
    torch.testing.assert_close(found(maps), reference(maps))


@pytest.mark.parametrize("size", range(1, 8))
def test_pooling_misses_no_pixel(size: int) -> None:
    pool = _pool(architecture(pool_size=size), (7, 9))
    pooled = pool(torch.eye(63).view(63, 7, 9))  # in each map, another pixel is 1
    assert pooled.shape == (63, size, size)
    assert pooled.amax((1, 2)).tolist() == [1] * 63


def test_a_pool_larger_than_the_maps_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.pool_size is 8; expected at most 5"):
        network(pool_size=8)


def test_images_that_are_too_small_for_valid_convolutions_are_refused() -> None:
    def logits(*size: int, **changes: object) -> torch.Tensor:
        return Network(architecture(**changes), CLASSES, size, 33.0, 79.0)(torch.zeros(2, *size))

    assert logits(11, 11).shape == (2, 10)
    with pytest.raises(InputError, match=r"images of 11 x 10 pixels .*\[valid, valid, same\]"):
        logits(11, 10)
    assert logits(11, 10, padding=["same"] * 3).shape == (2, 10)


@pytest.mark.parametrize("size", [28, 29, 30, 31])
def test_the_network_sees_each_corner(size: int) -> None:
    torch.manual_seed(0)
    made = Network(architecture(), CLASSES, (size, size), 33.0, 79.0).eval()
    corners = torch.zeros(5, size, size)  # the last one is empty
    corners[0, 0, 0] = corners[1, 0, -1] = corners[2, -1, 0] = corners[3, -1, -1] = 1e4
    *logits, empty = made(corners)
    assert all((row != empty).any() for row in logits)


def test_dropout_draws_from_its_own_generator() -> None:
    layer = Dropout(0.5)
    ones = torch.ones(4, 1000)
    layer.generator = torch.Generator().manual_seed(1)
    first = layer(ones)
    torch.manual_seed(7)
    layer.generator.manual_seed(1)
    torch.testing.assert_close(layer(ones), first, rtol=0, atol=0)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert 0.45 < (first == 0).float().mean() < 0.55
    assert layer.eval()(ones) is ones


def test_spatial_dropout_drops_whole_maps() -> None:
    layer = Dropout(0.5, spatial=True)
    dropped = layer(torch.ones(8, 16, 3, 3))
    means = dropped.mean(dim=(2, 3))
    assert set(means.unique().tolist()) == {0.0, 2.0}


def test_what_is_saved_is_loaded_and_same_weights_give_same_bytes(tmp_path: Path) -> None:
    saved = network(hidden=[12]).eval()
    save_network(saved, tmp_path / "a")
    save_network(load_network(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    images = torch.rand(3, 28, 28) * 255
    torch.testing.assert_close(load_network(tmp_path / "b")(images), saved(images), rtol=0, atol=0)


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weights does not exist"):
        load_network(tmp_path / "weights")
    (tmp_path / "weights").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="does not hold a network's weights"):
        load_network(tmp_path / "weights")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="does not hold a network's weights"):
        load_network(tmp_path / "folder")


def describe(**changes: object) -> str:
    description = {"architecture": architecture().model_dump(), "classes": CLASSES}
    return json.dumps({**description, "image_size": (28, 28), **changes})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, r"of another program: 2 tensors \(linear\.weight, mean, \.\.\.\)"),
        ({"format": "pt"}, "of another program"),
        ({"network": "ResNet-18"}, "of another program"),
        ({"network": "[" * 100_000}, "of another program"),
        ({"network": "[]"}, "expected a section of keys and values"),
        ({"network": "{}"}, "architecture is missing\n.*classes is missing"),
        ({"network": describe(classes=10)}, "classes is 10; expected a list"),
        ({"network": describe(classes=[])}, "classes"),
        ({"network": describe(image_size=[28])}, "image_size"),
        ({"network": describe(image_size=[0, -1])}, "images of 0 x -1 pixels are too small"),
        ({"network": describe(architecture={"layers": 18})}, "layers is unknown"),
        ({"network": describe()}, "linear.weight is float32 .*; expected no such tensor"),
        (
            {
                "network": describe(
                    architecture=architecture(channels=[4096] * 3, members=64).model_dump()
                )
            },
            "does not hold the weights of the network that it describes",
        ),
    ],
)
def test_somebody_elses_safetensors_file_is_named_and_described(
    metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    tensors = {"linear.weight": torch.zeros(3, 2), "mean": torch.zeros(3)}
    path.write_bytes(to_safetensors(tensors, metadata))
    with pytest.raises(InputError, match=message) as refusal:
        load_network(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("change", ["missing", "shape", "type"])
def test_weights_that_do_not_fit_their_description_are_named(change: str, tmp_path: Path) -> None:
    tensors = {k: v for k, v in network().state_dict().items() if "num_batches" not in k}
    if change == "missing":
        del tensors["mean"]
    else:
        tensors["mean"] = torch.zeros(2) if change == "shape" else torch.tensor(33)
    (tmp_path / "weights").write_bytes(to_safetensors(tensors, {"network": describe()}))
    with pytest.raises(
        InputError, match=r"1 of \d+ tensors differ\. mean is .*; expected float32 \("
    ):
        load_network(tmp_path / "weights")
