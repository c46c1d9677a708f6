import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from digits.core import params
from digits.core.errors import InputError
from digits.core.params import override
from digits.data import dataset
from digits.data.dataset import Labelled
from digits.evaluation import metrics
from digits.model.network import Architecture, Network
from digits.training import loop, weights
from digits.training.calibration import calibrate
from digits.training.checkpoint import Checkpoint
from digits.training.curve import Epoch
from digits.training.distributed import Group
from digits.training.loop import Trained
from digits.training.optimizer import Optimizer, update
from digits.training.recipe import Recipe
from digits.training.shard import Shard, Shards
from digits.training.weights import Weights
from tests.helpers.small import ROOT, SMALL

# Of two shards, the sum would be the same in any order.
DOCUMENT = override(params.read_yaml(ROOT / "params.yaml"), SMALL | {"train.shards": 4})
EVERYTHING_ON = {
    "model.hidden": [16],
    "model.spatial_dropout": 0.1,
    "model.dense_dropout": 0.2,
    "train.label_smoothing": 0.1,
    "train.early_stopping.patience": 1,
}


def parts(
    prepared: Path, changes: Mapping[str, Any] | None = None, size: tuple[int, int] = (28, 28)
) -> tuple[Network, Recipe, Labelled, Labelled]:
    document = override(DOCUMENT, changes or {})
    torch.manual_seed(0)
    network = Network(
        Architecture.parse(document["model"]),
        dataset.load_source(prepared).classes,
        size,
        mean=33.0,
        std=79.0,
    )
    recipe = Recipe.parse(document["train"])
    return network, recipe, dataset.load(prepared, "train"), dataset.load(prepared, "val")


def train(prepared: Path, changes: Mapping[str, Any] | None = None, workers: int = 2) -> Trained:
    return loop.train(*parts(prepared, changes), workers)


def digest(trained: Trained) -> str:
    found = hashlib.sha256()
    for tensor in trained.network.state_dict().values():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_same_seed_gives_same_bytes_for_any_worker_count(prepared: Path, name: str) -> None:
    changes = {**EVERYTHING_ON, "train.optimizer.name": name, "train.optimizer.lr": 0.01}
    runs = [train(prepared, changes, workers) for workers in (1, 2, 3, 8)]
    assert len({digest(run) for run in runs}) == 1
    assert len({tuple(run.curve) for run in runs}) == 1


def test_another_seed_gives_other_weights(prepared: Path) -> None:
    assert digest(train(prepared)) != digest(train(prepared, {"train.seed": 1}))


def test_the_process_wide_generator_is_not_drawn_from(prepared: Path) -> None:
    first = train(prepared, EVERYTHING_ON)
    torch.rand(100)
    assert digest(train(prepared, EVERYTHING_ON)) == digest(first)


@pytest.mark.slow(5)
def test_one_shard_is_a_plain_training_step(prepared: Path) -> None:
    """One batch, one shard, no averaging: what torch's own loop does."""
    changes = {
        "train.shards": 1,
        "train.epochs": 1,
        "train.batch_size": 256,
        "train.ema": 0.0,
        "train.schedule.name": "constant",
        **{f"train.augmentation.{k}": 0.0 for k in ("rotation", "translation", "scale", "shear")},
    }
    found = train(prepared, changes).network
    torch.manual_seed(0)
    architecture = Architecture.parse(override(DOCUMENT, changes)["model"])
    network = Network(architecture, tuple("0123456789"), (28, 28), mean=33.0, std=79.0).train()
    batch = dataset.load(prepared, "train")
    matrices = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    optimizer = torch.optim.SGD(
        [{"params": matrices, "weight_decay": 5e-4}, {"params": others}],
        lr=0.2,
        momentum=0.9,
        nesterov=True,
    )
    logits = network(torch.from_numpy(batch.images).float())
    labels = torch.from_numpy(batch.labels).long()
    torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1).backward()
    optimizer.step()
    for name, expected in network.state_dict().items():
        if name != "logit_scale" and "num_batches" not in name:
            torch.testing.assert_close(found.state_dict()[name], expected, rtol=1e-4, atol=1e-5)


def test_shards_add_up_to_the_batch_without_batch_norm(prepared: Path) -> None:
    """A short last batch included: 256 images in batches of 100 over 1 and over 3 shards."""
    changes = {
        "model.batch_norm": False,
        "train.batch_size": 100,
        "train.optimizer.lr": 0.01,
        **{f"train.augmentation.{k}": 0.0 for k in ("rotation", "translation", "scale", "shear")},
    }
    one = train(prepared, {**changes, "train.shards": 1})
    three = train(prepared, {**changes, "train.shards": 3})
    for a, b in zip(
        one.network.state_dict().values(), three.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_more_shards_than_images_in_a_batch(prepared: Path) -> None:
    assert len(train(prepared, {"train.batch_size": 17, "train.shards": 8}).curve) == 2


def test_shards_without_an_image_have_no_share_in_a_step(prepared: Path) -> None:
    rows = []
    for count in (1, 4):  # of three images, all are in the first one
        network, recipe, data, _ = parts(prepared, {"train.shards": count})
        tensors = loop._tensors(data, torch.device("cpu"))
        with ThreadPoolExecutor(1) as pool:
            shards = Shards(
                network, recipe, Weights.initial(network), *tensors, pool, Group(rank=0, size=1)
            )
            rows.append(shards.sum(torch.arange(3), step=0))
    assert torch.equal(*rows)


@pytest.mark.parametrize("size", [85, 83])  # of 256 images, 1 and 7 are in the last batch
def test_batch_norm_gets_two_images_where_its_maps_are_single_pixels(
    prepared: Path, size: int
) -> None:
    network, recipe, *data = parts(prepared, {"train.batch_size": size}, size=(12, 12))
    small = [Labelled(part.images[:, 8:20, 8:20].copy(), part.labels) for part in data]
    assert len(loop.train(network, recipe, *small, 1).curve) == 2


def test_each_member_of_an_ensemble_learns_as_it_would_alone(prepared: Path) -> None:
    """Without dropout, and with the second member's first weights, the second is the network."""
    ensemble = train(prepared, {"model.members": 2}).network
    assert isinstance(ensemble, Network)
    torch.manual_seed(0)
    document = override(DOCUMENT, {"model.members": 2})
    fresh = Network(Architecture.parse(document["model"]), ensemble.classes, (28, 28), 33.0, 79.0)
    single = Network(Architecture.parse(DOCUMENT["model"]), ensemble.classes, (28, 28), 33.0, 79.0)
    single.members[0].load_state_dict(fresh.members[1].state_dict())
    sets = [dataset.load(prepared, name) for name in ("train", "val")]
    alone = loop.train(single, Recipe.parse(DOCUMENT["train"]), *sets, workers=2)
    for name, expected in alone.network.members[0].state_dict().items():
        found = ensemble.members[1].state_dict()[name]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_the_loss_of_an_ensemble_is_the_mean_of_its_members(prepared: Path) -> None:
    both, *others = parts(prepared, {"model.members": 2, "train.epochs": 1})
    single = parts(prepared)[0]
    for member in (both.members[0], single.members[0]):
        member.load_state_dict(both.members[1].state_dict())
    found, alone = (loop.train(each, *others, 2).curve[0].train_loss for each in (both, single))
    assert found == pytest.approx(alone, rel=1e-4)


def test_it_learns(prepared: Path) -> None:
    changes = {"model.channels": [8, 16, 32], "train.epochs": 12, "train.batch_size": 16}
    trained = train(prepared, changes)
    assert trained.best.val_accuracy > 0.85


def test_early_stopping_restores_the_best_epoch(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the learning rate far too high the first epochs are the best ones."""
    changes = {
        "train.epochs": 12,
        "train.optimizer.lr": 3.0,
        "train.schedule.name": "constant",
        "train.early_stopping.patience": 2,
    }
    trained = train(prepared, changes)
    early = len(trained.curve) < 12
    assert early == ("stopped early: no gain in the last 2 epochs" in capsys.readouterr().err)
    nll = [row.val_nll for row in trained.curve]
    assert trained.best.epoch == 1 + int(np.argmin(nll))
    assert len(trained.curve) in (trained.best.epoch + 2, 12)
    val = dataset.load(prepared, "val")
    network = calibrate(trained.network, trained.best.calibration)
    with torch.inference_mode():
        probabilities = metrics.softmax(network(torch.from_numpy(val.images).float()).numpy())
    assert metrics.nll(probabilities, val.labels) == pytest.approx(trained.best.val_nll, rel=1e-5)


def test_the_logits_are_calibrated_on_the_validation_images(prepared: Path) -> None:
    """Label smoothing makes a network doubt itself: calibration takes that back."""
    changes = {"model.channels": [8, 16, 32], "train.epochs": 12, "train.batch_size": 16}
    trained = train(prepared, {**changes, "train.label_smoothing": 0.3})
    val = dataset.load(prepared, "val")
    network = calibrate(trained.network, trained.best.calibration)
    with torch.inference_mode():
        logits = network(torch.from_numpy(val.images).float())
    labels = torch.from_numpy(val.labels).long()

    def nll(factor: float) -> float:
        return torch.nn.functional.cross_entropy(logits * factor, labels).item()

    assert nll(1.0) == pytest.approx(trained.best.val_nll, rel=1e-3)
    assert nll(1.0) < nll(1 / trained.best.calibration)


def test_a_loss_that_is_not_finite_stops_with_epoch_batch_and_rate(prepared: Path) -> None:
    changes = {"train.optimizer.lr": 1e30, "train.schedule.name": "constant"}
    with pytest.raises(
        InputError, match=r"the loss is (nan|inf) in epoch 1, batch \d+, at a learning rate of 1e\+"
    ):
        train(prepared, changes)


def test_a_last_step_that_diverges_is_noticed_too(prepared: Path) -> None:
    """The loss is computed before a step: only validation sees what the last one did."""
    changes = {"train.epochs": 1, "train.batch_size": 256, "train.optimizer.lr": 1e30}
    with pytest.raises(InputError, match=r"the loss is (nan|inf) in epoch 1, batch 1, "):
        train(prepared, changes)


def test_a_network_without_batch_norm_learns(prepared: Path) -> None:
    changes = {"model.channels": [8, 16, 32], "model.batch_norm": False, "train.epochs": 12}
    trained = train(prepared, {**changes, "train.batch_size": 16, "train.optimizer.lr": 0.02})
    assert trained.best.val_accuracy > 0.8


@pytest.mark.parametrize(("ema", "last"), [(0.999, 4), (0.0, 1)])
def test_the_average_is_even_until_its_decay_is_reached(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, ema: float, last: int
) -> None:
    after = []

    def recorded(optimizer: Optimizer, current: Tensor, *others: Tensor, **named: Any) -> None:
        update(optimizer, current, *others, **named)
        after.append(current.clone())

    monkeypatch.setattr(loop, "update", recorded)
    network = train(prepared, {"train.epochs": 1, "train.ema": ema}).network
    assert len(after) == 4
    averaged = weights.join(weights.parameters(network))
    torch.testing.assert_close(averaged, torch.stack(after[-last:]).mean(0))


@pytest.mark.parametrize("size", [100, 85])  # of 256 images, 85 leave one, which makes no batch
def test_an_epoch_takes_each_image_once_in_an_order_of_its_own(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    steps: list[tuple[Tensor, float]] = []
    seeds: list[int] = []
    compute, compute_shard = Shards.sum, Shard.row

    def recorded(self: Shards, batch: Tensor, step: int) -> Tensor:
        row = compute(self, batch, step)
        assert step == len(steps)
        steps.append((batch, row[-1].item()))
        return row

    def recorded_shard(self: Shard, *inputs: Any) -> Tensor:
        seeds.append(inputs[-1])
        return compute_shard(self, *inputs)

    monkeypatch.setattr(Shards, "sum", recorded)
    monkeypatch.setattr(Shard, "row", recorded_shard)
    curve = train(prepared, {"train.batch_size": size}).curve
    n, per_epoch = len(dataset.load(prepared, "train")), 3
    assert [row.epoch for row in curve] == [1, 2]
    orders = []
    for row, epoch in zip(curve, (steps[:per_epoch], steps[per_epoch:]), strict=True):
        orders.append(torch.cat([batch for batch, _ in epoch]).tolist())
        assert sorted(orders[-1]) == list(range(n))
        loss = sum(len(batch) * loss for batch, loss in epoch) / n
        assert row.train_loss == pytest.approx(loss)
    assert orders[0] != orders[1]
    assert len(set(seeds)) == len(seeds) == 4 * len(steps)  # each shard is augmented differently


@pytest.mark.parametrize(
    ("what", "different"),
    [
        ("nothing", None),
        ("training images", "data"),
        ("validation images", "data"),
        ("classes", "parameters"),
        ("recipe", "parameters"),
    ],
)
def test_a_training_continues_only_from_a_checkpoint_of_its_own(
    prepared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    what: str,
    different: str | None,
) -> None:
    class Killed(Exception):
        pass

    def kill(curve: list[Epoch]) -> None:
        raise Killed

    network, recipe, data, val = parts(prepared)
    kept = Checkpoint(tmp_path / "state")
    with pytest.raises(Killed):
        loop.train(network, recipe, data, val, 1, kept, kill)
    match what:
        case "training images":
            data = Labelled(255 - data.images, data.labels)
        case "validation images":
            val = Labelled(255 - val.images, val.labels)
        case "classes":
            network.classes = network.classes[::-1]
        case "recipe":
            recipe = recipe.model_copy(update={"seed": 1})
    capsys.readouterr()
    trained = loop.train(network, recipe, data, val, 1, kept)
    told = "continuing after epoch 1" if different is None else f"had different {different}\n"
    assert told in capsys.readouterr().err
    assert digest(trained) == digest(loop.train(network, recipe, data, val, 1))
