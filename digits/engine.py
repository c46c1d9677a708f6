"""Train a network, with results that do not depend on how many workers computed them.

Every batch is cut into a fixed number of virtual shards (`Recipe.shards`). A shard is computed on
one thread, with its own batch norm statistics and its own random generator, and what the shards
give is added in the order of their numbers. Workers only decide who computes which shard. (In a
plain loop over several threads the order of additions changes with their number, and so do the
weights.) Every generator is derived from (seed, epoch, batch, shard), so nothing random is state.

All weights live in one vector: first matrices, then biases and batch norm's own, then batch norm's
running statistics. The networks' tensors are views of it.
"""

import copy
import math
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from digits.augment import random_affine
from digits.data import Labelled
from digits.errors import InputError
from digits.model import Dropout, Network
from digits.optimizer import initial_moments, update
from digits.recipe import EarlyStopping, Recipe
from digits.schedule import learning_rate_factor

SCORING_CHUNK = 500  # images; fixed, since a matrix product's rounding may change with its rows


@dataclass(frozen=True)
class Epoch:
    """A row of the training curve. Rates are fractions, losses are in nats."""

    epoch: int
    learning_rate: float
    train_loss: float
    val_accuracy: float
    val_nll: float


@dataclass(frozen=True)
class Trained:
    """The network with the best epoch's weights, on the CPU, and the curve that led there."""

    network: Network
    curve: list[Epoch]
    best: Epoch


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with `auto` replaced by what this machine has.

    Raises
    ------
    InputError
        If the device that the recipe names is not there.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    device = recipe.device
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        found = ", ".join(name for name in there if there[name])
        raise InputError(
            f"train.device is {device!r}, which torch does not find here; has: {found}"
        )
    precision = recipe.precision
    if precision == "auto":
        fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast else "float32"
    return recipe.model_copy(update={"device": device, "precision": precision})


def train(network: Network, recipe: Recipe, data: Labelled, val: Labelled, workers: int) -> Trained:
    """Train a copy of a network.

    Parameters
    ----------
    network : with its initial weights
    recipe : all else that decides the result, resolved
    data, val : what is learnt from, and what decides which epoch is the best
    workers : threads. They change how long it takes, and not one byte of what comes out; more than
        `recipe.shards` are of no use. A GPU computes one shard after the other.

    Raises
    ------
    InputError
        If the loss becomes NaN or infinite; names epoch, batch and learning rate.
    """
    torch.set_num_threads(1)  # within an operation: shards are what runs in parallel
    device = torch.device(recipe.device)
    images, labels = _tensors(data, device)
    val_images, val_labels = _tensors(val, device)
    network = copy.deepcopy(network).to(device)
    weights = torch.cat([t.detach().flatten() for t in _state(network)])
    averaged = copy.deepcopy(network).eval()
    average = weights.clone()
    _bind(_state(averaged), average)
    shards = [_Shard(network, recipe, weights) for _ in range(recipe.shards)]
    trainable = sum(p.numel() for p in network.parameters())
    decayed = sum(p.numel() for p in network.parameters() if p.dim() > 1)
    moments = initial_moments(weights[:trainable])

    batches = math.ceil(len(data) / recipe.batch_size)
    steps = recipe.epochs * batches
    curve: list[Epoch] = []
    best, kept = None, average
    with (
        ThreadPoolExecutor(workers if device.type == "cpu" else 1) as pool,
        tqdm(total=steps, unit="batch", disable=None, dynamic_ncols=True) as bar,
    ):
        for epoch in range(1, recipe.epochs + 1):
            bar.set_description(f"epoch {epoch} of {recipe.epochs}")
            loss = 0.0
            for i, batch in enumerate(_shuffled(len(data), recipe, epoch)):
                step = (epoch - 1) * batches + i
                factor = learning_rate_factor(recipe.schedule, step, steps, batches)
                lr = recipe.optimizer.lr * factor
                row = _ordered_row(
                    shards, images, labels, batch, weights[trainable:], (epoch, i), pool
                )
                batch_loss = row[-1].item()
                if not math.isfinite(batch_loss):
                    raise InputError(
                        f"the loss is {batch_loss} in epoch {epoch}, batch {i + 1}, at a learning "
                        f"rate of {lr:.3g}. Try a smaller train.optimizer.lr"
                    )
                loss += batch_loss * len(batch)
                update(
                    recipe.optimizer,
                    weights[:trainable],
                    row[:trainable],
                    moments,
                    lr=lr,
                    step=step,
                    decayed=decayed,
                )
                weights[trainable:] = row[trainable:-1]
                # As in TensorFlow: the first steps, far from the goal, are soon forgotten.
                average.lerp_(weights, 1 - min(recipe.ema, (1 + step) / (10 + step)))
                bar.update()
            accuracy, nll = _score(averaged, val_images, val_labels, pool)
            curve.append(Epoch(epoch, lr, loss / len(data), accuracy, nll))
            tqdm.write(_line(curve[-1], recipe.epochs), file=sys.stderr)
            if best is None or _gain(recipe.early_stopping, best, curve[-1]):
                best, kept = curve[-1], average.clone()
            elif epoch - best.epoch >= recipe.early_stopping.patience:
                break
    assert best is not None  # since recipe.epochs >= 1
    average.copy_(kept)
    return Trained(averaged.cpu(), curve, best)


class _Shard:
    """What computes one shard of every batch: its own copy of all that a forward pass changes."""

    def __init__(self, network: Network, recipe: Recipe, weights: Tensor) -> None:
        self.recipe = recipe
        self.generator = torch.Generator(weights.device)
        self.network = copy.deepcopy(network).train()
        for module in self.network.modules():
            if isinstance(module, Dropout):
                module.generator = self.generator
        self.parameters = _parameters(self.network)
        _bind(self.parameters, weights)
        statistics = _statistics(self.network)
        self.statistics = weights[: sum(t.numel() for t in statistics)].clone()
        _bind(statistics, self.statistics)

    def row(
        self, images: Tensor, labels: Tensor, share: float, statistics: Tensor, seed: int
    ) -> Tensor:
        """Gradient, new statistics and loss in one vector, weighted by the shard's share."""
        self.generator.manual_seed(seed)
        self.statistics.copy_(statistics)
        # Autocast belongs to the thread, so it is entered here.
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        ):
            moved = random_affine(images.float(), self.recipe.augmentation, self.generator)
            logits = self.network(moved)
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing) * share
        gradient = torch.autograd.grad(loss, self.parameters)
        return torch.cat(
            [*(g.flatten() for g in gradient), self.statistics * share, loss.detach().view(1)]
        )


def _ordered_row(
    shards: Sequence[_Shard],
    images: Tensor,
    labels: Tensor,
    batch: Tensor,
    statistics: Tensor,
    place: tuple[int, int],
    pool: Executor,
) -> Tensor:
    """Gradient, statistics and loss of a batch: the shards' rows, added in their order."""
    parts = [part for part in batch.tensor_split(len(shards)) if len(part)]

    def row(k: int) -> Tensor:
        part, seed = parts[k], _derive(shards[k].recipe.seed, *place, k)
        return shards[k].row(images[part], labels[part], len(part) / len(batch), statistics, seed)

    rows = pool.map(row, range(len(parts)))
    total = next(rows)
    for other in rows:
        total += other
    return total


def _gain(stopping: EarlyStopping, best: Epoch, now: Epoch) -> bool:
    if stopping.monitor == "val_accuracy":
        return now.val_accuracy - best.val_accuracy > stopping.min_delta
    return best.val_nll - now.val_nll > stopping.min_delta


def _score(network: Network, images: Tensor, labels: Tensor, pool: Executor) -> tuple[float, float]:
    """Accuracy and negative log-likelihood, in float32 whatever training's precision."""

    @torch.inference_mode()
    def logits(chunk: Tensor) -> Tensor:
        return network(chunk.float()).cpu()  # type: ignore[no-any-return]

    found = torch.cat(list(pool.map(logits, torch.split(images, SCORING_CHUNK)))).double()
    labels = labels.cpu()
    correct = (found.argmax(1) == labels).sum().item()
    return correct / len(labels), F.cross_entropy(found, labels).item()


def _shuffled(n: int, recipe: Recipe, epoch: int) -> Sequence[Tensor]:
    order = np.random.default_rng((recipe.seed, epoch)).permutation(n)
    return torch.split(torch.from_numpy(order).to(recipe.device), recipe.batch_size)


def _derive(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _tensors(labelled: Labelled, device: torch.device) -> tuple[Tensor, Tensor]:
    images, labels = torch.from_numpy(labelled.images), torch.from_numpy(labelled.labels)
    return images.to(device), labels.long().to(device)


def _parameters(network: Network) -> list[Tensor]:
    return sorted(network.parameters(), key=lambda p: p.dim() <= 1)  # stable: matrices first


def _statistics(network: Network) -> list[Tensor]:
    named = network.named_buffers()
    return [b for name, b in named if name.endswith(("running_mean", "running_var"))]


def _state(network: Network) -> list[Tensor]:
    return [*_parameters(network), *_statistics(network)]


def _bind(tensors: Iterable[Tensor], vector: Tensor) -> None:
    """Make each tensor a view of its slice of `vector`; what they held is gone."""
    start = 0
    for tensor in tensors:
        tensor.data = vector[start : start + tensor.numel()].view_as(tensor)
        start += tensor.numel()


def _line(row: Epoch, epochs: int) -> str:
    return (
        f"epoch {row.epoch:>{len(str(epochs))}} of {epochs}: training loss {row.train_loss:.4f}, "
        f"validation accuracy {row.val_accuracy:.2%}, nll {row.val_nll:.4f}"
    )
