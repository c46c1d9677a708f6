"""Train a network, with results that do not depend on how many workers computed them.

Every batch is cut into a fixed number of virtual shards (`Recipe.shards`). A shard is computed on
one thread, with its own batch norm statistics and its own random generator, and what the shards
give is added in the order of their numbers. Workers only decide who computes which shard. (In a
plain loop over several threads the order of additions changes with their number, and so do the
weights.) Every generator is derived from (seed, step, shard), so nothing random is state.
Several processes each compute some of the shards, exchange what these gave, and all do the rest.

All weights live in one vector: first matrices, then biases and batch norm's own, then batch norm's
running statistics. The networks' tensors are views of it.
"""

import copy
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from digits.core.errors import InputError
from digits.core.workers import CHUNK
from digits.data.dataset import Labelled, digest
from digits.model.network import Dropout, Network
from digits.training import cuda_graph, distributed
from digits.training.augment import augment
from digits.training.checkpoint import Checkpoint, Key, State, make_key
from digits.training.optimizer import initial_moments, update
from digits.training.recipe import EarlyStopping, Recipe
from digits.training.schedule import learning_rate_factor

ALIGNMENT = 16  # numbers: each tensor starts at a multiple of 64 bytes; a GPU's kernels need 16
LARGEST_CORRECTION = math.log(32)  # of the logits' scale, either way


@dataclass(frozen=True)
class Epoch:
    """A row of the training curve. Rates are fractions, losses are in nats.

    `val_nll` is that of logits times `calibration`, so that label smoothing does not distort it.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    val_accuracy: float
    val_nll: float
    calibration: float


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


def train(
    network: Network,
    recipe: Recipe,
    data: Labelled,
    val: Labelled,
    workers: int,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[list[Epoch]], None] = lambda curve: None,
) -> Trained:
    """Train a copy of a network.

    Under torchrun the processes share the shards, and only the first one returns: the others end.

    Parameters
    ----------
    network : with its initial weights
    recipe : all else that decides the result, resolved
    data, val : what is learnt from, and what decides which epoch is the best
    workers : threads. They change how long it takes, and not one byte of what comes out; more than
        `recipe.shards` are of no use. A GPU computes one shard after the other.
    checkpoint : where the state is kept from epoch to epoch, and found again
    on_epoch : is told the curve so far after each epoch, by the first process alone

    Raises
    ------
    InputError
        If the loss becomes NaN or infinite; names epoch, batch and learning rate. If the shards
        can't be shared evenly by the processes, or one of these ends before its time.
    """
    torch.set_num_threads(1)  # within an operation: shards are what runs in parallel
    if recipe.device == "cuda":
        cuda_graph.settle()
    on_cpu = recipe.device == "cpu"
    with distributed.join() as group, ThreadPoolExecutor(workers if on_cpu else 1) as pool:
        training = _Training(network, recipe, data, val, pool, group)
        if checkpoint:
            training.keep_state(checkpoint)
        trained = training.run(on_epoch)
    if group.rank > 0:
        sys.exit()  # what follows, the first process does for all
    return trained


class _Training:
    """A training under way: what stays the same in it, and what each step changes."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        data: Labelled,
        val: Labelled,
        pool: Executor,
        group: distributed.Group,
    ) -> None:
        if recipe.shards % group.size:
            raise InputError(
                f"train.shards is {recipe.shards}, which {group.size} processes can't share "
                f"evenly; expected a number of processes that divides it"
            )
        device = torch.device(recipe.device)
        network = copy.deepcopy(network).to(device)
        self.recipe = recipe
        self.pool = pool
        self.group = group
        self.checkpoint: Checkpoint | None = None
        self.images, self.labels = _tensors(data, device)
        self.val_images, self.val_labels = _tensors(val, device)
        self.batches = math.ceil(len(data) / recipe.batch_size)
        self.decayed = _room(p for p in network.parameters() if p.dim() > 1)
        self.trainable = _room(network.parameters())

        self.weights = _joined(_state(network)).detach()
        self.key: Key = make_key(
            [network.architecture.model_dump(), recipe.model_dump(), network.classes],
            f"{digest(data)}, {digest(val)}",
            self.weights.cpu().numpy().tobytes(),
        )
        group.check_agreement(self.key)
        own = recipe.shards // group.size
        numbers = range(group.rank * own, (group.rank + 1) * own)
        first = _Shard(network, recipe, self.weights)
        self.shards = dict.fromkeys(numbers, first)  # a GPU computes them one by one
        if device.type == "cpu":
            self.shards |= {k: _Shard(network, recipe, self.weights) for k in numbers[1:]}
        self.moments = initial_moments(self.weights[: self.trainable])
        self.average = self.weights.clone()
        self.averaged = copy.deepcopy(network).eval()
        _bind(_state(self.averaged), self.average)

        self.curve: list[Epoch] = []
        self.best: Epoch | None = None
        self.kept = self.average.clone()  # the best epoch's

    def run(self, on_epoch: Callable[[list[Epoch]], None]) -> Trained:
        epochs = self.recipe.epochs
        with tqdm(
            total=epochs * self.batches,
            initial=len(self.curve) * self.batches,
            unit="batch",
            disable=self.group.rank > 0,
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds; a log wants few lines
        ) as bar:
            while not self.finished():
                bar.set_description(f"epoch {len(self.curve) + 1} of {epochs}", refresh=False)
                loss, lr = self.train_epoch(len(self.curve) + 1, bar)
                row = Epoch(len(self.curve) + 1, lr, loss, *self.validate())
                _check_finite(row.val_nll, row.epoch, self.batches, lr)
                if self.record(row):
                    self.kept.copy_(self.average)
                if self.group.rank == 0:
                    tqdm.write(_line(row, epochs), file=sys.stderr)
                    self.save_state()
                    on_epoch(self.curve)
        assert self.best is not None  # since recipe.epochs >= 1
        self.average.copy_(self.kept)
        self.averaged.logit_scale *= self.best.calibration
        return Trained(self.averaged.cpu(), self.curve, self.best)

    def finished(self) -> bool:
        since_best = len(self.curve) - self.best.epoch if self.best else 0
        return (
            len(self.curve) == self.recipe.epochs
            or since_best >= self.recipe.early_stopping.patience
        )

    def record(self, row: Epoch) -> bool:
        """Add a row to the curve; whether it is the best."""
        self.curve.append(row)
        better = self.best is None or _gain(self.recipe.early_stopping, self.best, row)
        if better:
            self.best = row
        return better

    def keep_state(self, checkpoint: Checkpoint) -> None:
        """Go on from the state that is there, if it is of this training, and keep it from now."""
        self.checkpoint = checkpoint
        state = checkpoint.load(self.key) if self.group.rank == 0 else None
        curve = torch.zeros((self.recipe.epochs, len(fields(Epoch))), dtype=torch.float64)
        if state:
            for name, tensor in self.state().items():
                tensor.copy_(state.tensors[name])
            curve[: len(state.curve)] = torch.tensor(state.curve, dtype=torch.float64)
        for tensor in self.state().values():
            tensor.copy_(self.group.broadcast(tensor))
        for number, *values in self.group.broadcast(curve).tolist():
            if number:
                self.record(Epoch(int(number), *values))
        if self.curve and self.group.rank == 0:
            print(
                f"going on after epoch {len(self.curve)}, from {checkpoint.path}", file=sys.stderr
            )

    def save_state(self) -> None:
        if self.checkpoint:
            tensors = {name: tensor.cpu() for name, tensor in self.state().items()}
            rows = [list(astuple(row)) for row in self.curve]
            self.checkpoint.save(self.key, State(tensors, rows))

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on, beside its number."""
        return {
            "weights": self.weights,
            "moments": self.moments,
            "average": self.average,
            "kept": self.kept,
        }

    def train_epoch(self, epoch: int, bar: tqdm) -> tuple[float, float]:
        """Learn from every image once; the mean loss and the last learning rate."""
        loss = lr = 0.0
        for i, batch in enumerate(_shuffled(len(self.labels), self.recipe, epoch)):
            step = (epoch - 1) * self.batches + i
            total = self.recipe.epochs * self.batches
            factor = learning_rate_factor(self.recipe.schedule, step, total, self.batches)
            lr = self.recipe.optimizer.lr * factor
            batch_loss = self.step(batch, step, lr)
            _check_finite(batch_loss, epoch, i + 1, lr)
            loss += batch_loss * len(batch)
            bar.update()
        return loss / len(self.labels), lr

    def step(self, batch: Tensor, step: int, lr: float) -> float:
        """Learn from one batch; its loss, before the step."""
        trainable = self.trainable
        row = self.ordered_row(batch, step)
        update(
            self.recipe.optimizer,
            self.weights[:trainable],
            row[:trainable],
            self.moments,
            lr=lr,
            step=step,
            decayed=self.decayed,
        )
        self.weights[trainable:] = row[trainable:-1]
        # At first the plain mean of all steps, until the decay alone would forget faster.
        self.average.lerp_(self.weights, 1 - min(self.recipe.ema, step / (step + 1)))
        return row[-1].item()

    def ordered_row(self, batch: Tensor, step: int) -> Tensor:
        """Gradient, statistics and loss of a batch: the shards' rows, added in their order."""
        parts = batch.tensor_split(self.recipe.shards)
        statistics = self.weights[self.trainable :]

        def row(k: int) -> Tensor:
            part, seed = parts[k], _derive(self.recipe.seed, step, k)
            if not len(part):  # fewer images than shards
                return torch.zeros(len(self.weights) + 1, device=self.weights.device)
            share = len(part) / len(batch)
            return self.shards[k].row(self.images[part], self.labels[part], share, statistics, seed)

        rows = self.group.gather(torch.stack(list(self.pool.map(row, self.shards))))
        total = rows[0].clone()
        for other in rows[1:]:
            total += other
        return total

    def validate(self) -> tuple[float, float, float]:
        """Accuracy, nll and calibration of the averaged weights, in float32 on any device."""

        @torch.inference_mode()
        def logits(chunk: Tensor) -> Tensor:
            return self.averaged(chunk.float()).cpu()  # type: ignore[no-any-return]

        chunks = torch.split(self.val_images, CHUNK)
        found = torch.cat(list(self.pool.map(logits, chunks))).double()
        labels = self.val_labels.cpu()
        correct = int((found.argmax(1) == labels).sum())
        return correct / len(labels), *_calibrate(found, labels)


class _Shard:
    """What computes one shard of every batch: its own copy of all that a forward pass changes."""

    def __init__(self, network: Network, recipe: Recipe, weights: Tensor) -> None:
        self.recipe = recipe
        self.recorded: dict[tuple[int, float], Callable[..., Tensor]] = {}
        self.generator = torch.Generator(weights.device)
        self.network = copy.deepcopy(network).train()
        for module in self.network.modules():
            if isinstance(module, Dropout):
                module.generator = self.generator
        self.parameters = _parameters(self.network)
        _bind(self.parameters, weights)
        statistics = _statistics(self.network)
        self.statistics = weights.new_zeros(_room(statistics))
        _bind(statistics, self.statistics)

    def row(
        self, images: Tensor, labels: Tensor, share: float, statistics: Tensor, seed: int
    ) -> Tensor:
        """Gradient, new statistics and loss in one vector, weighted by the shard's share."""
        compute: Callable[..., Tensor] = partial(self.compute, share=share)
        if images.is_cuda:
            key = (len(images), share)
            if key not in self.recorded:
                self.recorded[key] = cuda_graph.record(compute, self.generator, images, labels)
            compute = self.recorded[key]
        self.generator.manual_seed(seed)
        self.statistics.copy_(statistics)
        return compute(images, labels)

    def compute(self, images: Tensor, labels: Tensor, share: float) -> Tensor:
        # Autocast belongs to the thread, so it is entered here.
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        ):
            moved = augment(images.float(), self.recipe.augmentation, self.generator)
            logits = self.network.member_logits(moved)
        smoothing = self.recipe.label_smoothing
        # A sum over the members: each learns as it would alone.
        losses = [F.cross_entropy(each, labels, label_smoothing=smoothing) for each in logits]
        loss = torch.stack(losses).sum() * share
        gradient = torch.autograd.grad(loss, self.parameters)
        loss = loss.detach().view(1) / len(logits)
        return torch.cat([_joined(gradient), self.statistics * share, loss])


def _check_finite(loss: float, epoch: int, batch: int, lr: float) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} in epoch {epoch}, batch {batch}, at a learning rate of {lr:.3g}. "
            f"Try a smaller train.optimizer.lr"
        )


def _gain(stopping: EarlyStopping, best: Epoch, now: Epoch) -> bool:
    if stopping.monitor == "val_accuracy":
        return now.val_accuracy - best.val_accuracy > stopping.min_delta
    return best.val_nll - now.val_nll > stopping.min_delta


def _calibrate(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The negative log-likelihood of calibrated logits, and the factor that calibrates them: one
    over the temperature of Guo et al. 2017, On Calibration of Modern Neural Networks. Targets are
    smoothed as by Platt 1999: images that are all right do not make for boundless confidence."""
    classes = logits.shape[1]
    smoothing = classes / (classes - 1) / (len(labels) + 2)

    scores = logits.cpu().double()
    targets = F.one_hot(labels.cpu(), classes) * (1 - smoothing) + smoothing / classes
    low, high = -LARGEST_CORRECTION, LARGEST_CORRECTION
    for _ in range(40):  # the loss is convex in the factor: where its slope changes sign
        middle = (low + high) / 2
        probabilities = (scores * math.exp(middle)).softmax(1)
        rising = ((probabilities - targets) * scores).sum().item() > 0
        low, high = (low, middle) if rising else (middle, high)
    factor = math.exp(middle)
    return F.cross_entropy(logits * factor, labels).item(), factor


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


def _joined(tensors: Iterable[Tensor]) -> Tensor:
    """One vector of all, each followed by zeros up to where the next may start."""
    padded = (F.pad(t.flatten(), (0, -t.numel() % ALIGNMENT)) for t in tensors)
    return torch.cat(list(padded))


def _room(tensors: Iterable[Tensor]) -> int:
    """How long `_joined` makes it."""
    return sum(t.numel() + -t.numel() % ALIGNMENT for t in tensors)


def _bind(tensors: Iterable[Tensor], vector: Tensor) -> None:
    """Make each tensor a view of its part of `vector`, as `_joined` lays them out; what they held
    is gone."""
    start = 0
    for tensor in tensors:
        tensor.data = vector[start : start + tensor.numel()].view_as(tensor)
        start += _room([tensor])


def _line(row: Epoch, epochs: int) -> str:
    return (
        f"epoch {row.epoch:>{len(str(epochs))}} of {epochs}: training loss {row.train_loss:.4f}, "
        f"validation accuracy {row.val_accuracy:.2%}, nll {row.val_nll:.4f}"
    )
