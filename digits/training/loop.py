"""Train a network: the loop over epochs and steps, validation, early stopping.

The number of workers and processes changes no byte of the result: see `digits.training.shard`.
"""

import copy
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from digits.core.errors import InputError
from digits.core.workers import CHUNK
from digits.data.dataset import Labelled, digest
from digits.model.network import Network
from digits.training import cuda_graph, distributed, memory, progress
from digits.training.calibration import calibration_factor
from digits.training.checkpoint import Checkpoint, State, make_key, restore
from digits.training.curve import Epoch
from digits.training.early_stopping import best_epoch, is_out_of_patience
from digits.training.optimizer import update
from digits.training.recipe import Recipe
from digits.training.schedule import learning_rate_factor
from digits.training.shard import Shards
from digits.training.weights import Weights


@dataclass(frozen=True)
class Trained:
    """The result of a training, the same in every process.

    Parameters
    ----------
    network : has the best epoch's weights, not calibrated; on the CPU
    curve : all epochs
    best : the best one
    """

    network: Network
    curve: list[Epoch]
    best: Epoch


def train(
    network: Network,
    recipe: Recipe,
    data: Labelled,
    val: Labelled,
    workers: int,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[list[Epoch]], None] = lambda curve: None,
) -> Trained:
    """Train a copy of a network. Under torchrun, the processes share the work.

    Parameters
    ----------
    network : with its initial weights
    recipe : all else that decides the result, resolved
    data, val : training images; validation images, which decide which epoch is the best
    workers : threads. They change the time that training takes, and no byte of the result; more
        than `recipe.shards` are of no use. A GPU computes one shard after the other.
    checkpoint : the file that training continues from, and that it replaces after each epoch
    on_epoch : is called with the curve after each epoch, in the first process only

    Raises
    ------
    InputError
        If the loss becomes NaN or infinite; names epoch, batch and learning rate. If the number of
        shards is no multiple of the number of processes, or another process fails.
    """
    torch.set_num_threads(1)  # within an operation: the shards are what runs in parallel
    memory.keep_freed()
    device = torch.device(recipe.device)
    if device.type == "cuda":
        cuda_graph.settle()
    threads = workers if device.type == "cpu" else 1
    network = copy.deepcopy(network).to(device)
    weights = Weights.initial(network)
    averaged = weights.averaged(network)
    with distributed.join() as group, ThreadPoolExecutor(threads) as pool:
        shards = Shards(network, recipe, weights, *_tensors(data, device), pool, group)
        key = make_key(
            [network.architecture.model_dump(), recipe.model_dump(), network.classes],
            f"{digest(data)}, {digest(val)}",
            weights.current.cpu().numpy().tobytes(),
        )
        group.check_agreement(key)
        steps = _Steps(recipe, weights, shards, len(data))
        validation = _tensors(val, device)
        curve: list[Epoch] = []
        if checkpoint:
            curve += restore(checkpoint, key, weights.vectors(), recipe.epochs, group)
        is_first = group.rank == 0
        with progress.bar(recipe.epochs, steps.per_epoch, len(curve), hidden=not is_first) as bar:
            while not _is_finished(curve, recipe):
                epoch = len(curve) + 1
                bar.set_description(f"epoch {epoch} of {recipe.epochs}", refresh=False)
                loss, lr = steps.train_epoch(epoch, bar.update)
                row = Epoch(epoch, lr, loss, *_validate(averaged, *validation, pool))
                _check_finite(row.val_nll, epoch, steps.per_epoch, lr)
                curve.append(row)
                if best_epoch(curve, recipe.early_stopping) is row:
                    weights.best.copy_(weights.average)
                if is_first:
                    progress.write_line(row, recipe.epochs)
                    progress.publish(curve, recipe.epochs)
                    if checkpoint:
                        checkpoint.save(key, State(weights.vectors(), curve))
                    on_epoch(curve)
            best = best_epoch(curve, recipe.early_stopping)
            if is_first and len(curve) < recipe.epochs:
                progress.write_early_stop(best, recipe.early_stopping.patience)
    weights.average.copy_(weights.best)
    return Trained(averaged.cpu(), curve, best)


@dataclass(frozen=True)
class _Steps:
    """The steps of a training, and what stays the same in all of them."""

    recipe: Recipe
    weights: Weights
    shards: Shards
    images: int  # in an epoch

    @property
    def per_epoch(self) -> int:
        return math.ceil((self.images - 1) / self.recipe.batch_size)  # see `_shuffled`

    def train_epoch(self, epoch: int, on_step: Callable[[], object]) -> tuple[float, float]:
        """Train on every image once; return the mean loss and the last learning rate."""
        loss = lr = 0.0
        first = (epoch - 1) * self.per_epoch
        for step, batch in enumerate(_shuffled(self.images, self.recipe, epoch), start=first):
            total = self.recipe.epochs * self.per_epoch
            factor = learning_rate_factor(self.recipe.schedule, step, total, self.per_epoch)
            lr = self.recipe.optimizer.lr * factor
            batch_loss = self.train_step(batch, step, lr)
            _check_finite(batch_loss, epoch, step - first + 1, lr)
            loss += batch_loss * len(batch)
            on_step()
        return loss / self.images, lr

    def train_step(self, batch: Tensor, step: int, lr: float) -> float:
        """Train on one batch of indices; return its loss before the step."""
        weights, trainable = self.weights, self.weights.trainable
        row = self.shards.sum(batch, step)
        update(
            self.recipe.optimizer,
            weights.current[:trainable],
            row[:trainable],
            weights.moments,
            lr=lr,
            step=step,
            decayed=weights.decayed,
        )
        weights.statistics.copy_(row[trainable:-1])
        # The mean of all steps so far, until `ema` gives more weight to the last one.
        weights.average.lerp_(weights.current, 1 - min(self.recipe.ema, step / (step + 1)))
        return row[-1].item()


def _validate(
    network: Network, images: Tensor, labels: Tensor, pool: Executor
) -> tuple[float, float, float]:
    """Accuracy, nll of the calibrated logits, and the factor that calibrates them; in float32."""

    @torch.inference_mode()
    def classify(chunk: Tensor) -> Tensor:
        return network(chunk.float()).cpu()  # type: ignore[no-any-return]

    logits = torch.cat(list(pool.map(classify, torch.split(images, CHUNK)))).double()
    labels = labels.cpu()
    factor = calibration_factor(logits, labels)
    correct = int((logits.argmax(1) == labels).sum())
    return correct / len(labels), F.cross_entropy(logits * factor, labels).item(), factor


def _is_finished(curve: list[Epoch], recipe: Recipe) -> bool:
    return len(curve) == recipe.epochs or is_out_of_patience(curve, recipe.early_stopping)


def _check_finite(loss: float, epoch: int, batch: int, lr: float) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} in epoch {epoch}, batch {batch}, at a learning rate of {lr:.3g}. "
            f"Try a smaller train.optimizer.lr"
        )


def _shuffled(n: int, recipe: Recipe, epoch: int) -> Sequence[Tensor]:
    """The indices 0 to n - 1 in batches, in an order that only seed and epoch decide."""
    order = np.random.default_rng((recipe.seed, epoch)).permutation(n)
    # Batch norm takes two images, so a last one alone joins the batch before.
    starts = tuple(range(recipe.batch_size, n - 1, recipe.batch_size))
    return torch.from_numpy(order).to(recipe.device).tensor_split(starts)


def _tensors(labelled: Labelled, device: torch.device) -> tuple[Tensor, Tensor]:
    images, labels = torch.from_numpy(labelled.images), torch.from_numpy(labelled.labels)
    return images.to(device), labels.long().to(device)
