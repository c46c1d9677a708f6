"""A batch in shards, so that the number of workers and processes changes no byte of the result.

Every batch is cut into a fixed number of shards (`Recipe.shards`). One thread computes one shard,
with batch norm statistics and a random generator of its own. The shards' results are added in the
order of their numbers, so workers only decide who computes which shard. (In a plain loop over
several threads the order of the additions depends on the number of threads, and so do the weights.)
Every generator is seeded with (seed, step, shard), so no random state has to be kept. Each of
several processes computes some of the shards, receives the results of the others, and adds all.
"""

import copy
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from digits.model.network import Dropout, Network
from digits.training import cuda_graph, weights
from digits.training.augment import augment
from digits.training.distributed import Group
from digits.training.recipe import Recipe
from digits.training.weights import Weights


class Shards:
    """The shards that this process computes, and the sum of all processes' shards.

    Parameters
    ----------
    network : is copied
    recipe : resolved
    weights : of the network
    images : uint8 (n, height, width), from which batches are taken
    labels : int64 (n,)
    pool : the workers
    group : the processes that train together
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        weights: Weights,
        images: Tensor,
        labels: Tensor,
        pool: Executor,
        group: Group,
    ) -> None:
        self.recipe = recipe
        self.weights = weights
        self.images = images
        self.labels = labels
        self.pool = pool
        self.group = group
        numbers = group.own_shards(recipe.shards)
        first = Shard(network, recipe, weights.current)
        self.own = dict.fromkeys(numbers, first)  # one for all: a GPU computes one at a time
        if recipe.device == "cpu":
            self.own |= {k: Shard(network, recipe, weights.current) for k in numbers[1:]}

    def sum(self, batch: Tensor, step: int) -> Tensor:
        """Gradient, new statistics and mean loss of a batch in one vector; see `Shard.row`.

        Parameters
        ----------
        batch : int64 (k,), indices of images
        step : from 0
        """
        shards = self.recipe.shards
        used = max(1, min(shards, len(batch) // 2))  # batch norm takes two images
        parts = [*batch.tensor_split(used), *[batch[:0]] * (shards - used)]

        def row(number: int) -> Tensor:
            part = parts[number]
            if not len(part):
                return self.weights.current.new_zeros(len(self.weights.current) + 1)
            return self.own[number].row(
                self.images[part],
                self.labels[part],
                len(part) / len(batch),
                self.weights.statistics,
                _derived_seed(self.recipe.seed, step, number),
            )

        rows = self.group.gather(torch.stack(list(self.pool.map(row, self.own))))
        total = rows[0].clone()
        for other in rows[1:]:
            total += other
        return total


class Shard:
    """Computes one shard of every batch.

    Has its own copy of all that a forward pass changes: batch norm's statistics and a random
    generator. The parameters are views of the vector that all shards share.

    Parameters
    ----------
    network : is copied
    recipe : resolved
    vector : the weights, as `weights.join` lays out `weights.tensors`
    """

    def __init__(self, network: Network, recipe: Recipe, vector: Tensor) -> None:
        self.recipe = recipe
        self.recorded: dict[tuple[int, float], Callable[..., Tensor]] = {}
        self.generator = torch.Generator(vector.device)
        self.network = copy.deepcopy(network).train()
        for module in self.network.modules():
            if isinstance(module, Dropout):
                module.generator = self.generator
        self.parameters = weights.parameters(self.network)
        weights.bind(self.parameters, vector)
        running = weights.statistics(self.network)
        self.statistics = vector.new_zeros(weights.length(running))
        weights.bind(running, self.statistics)

    def row(
        self, images: Tensor, labels: Tensor, share: float, statistics: Tensor, seed: int
    ) -> Tensor:
        """Compute what the shard adds to the step.

        Parameters
        ----------
        images : uint8 (n, height, width)
        labels : int64 (n,)
        share : of the batch's images, in (0, 1]
        statistics : float32 (k,), batch norm's, before the step
        seed : of augmentation and dropout

        Returns
        -------
        float32 (m + k + 1,): gradient, new statistics and mean loss, each times the share
        """
        compute: Callable[..., Tensor] = partial(self._compute, share=share)
        if images.is_cuda:
            key = (len(images), share)
            if key not in self.recorded:
                self.recorded[key] = cuda_graph.record(compute, self.generator, images, labels)
            compute = self.recorded[key]
        self.generator.manual_seed(seed)
        self.statistics.copy_(statistics)
        return compute(images, labels)

    def _compute(self, images: Tensor, labels: Tensor, share: float) -> Tensor:
        # Autocast belongs to the thread, so it is entered here.
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        ):
            augmented = augment(images.float(), self.recipe.augmentation, self.generator)
            members = self.network.member_logits(augmented)
        smoothing = self.recipe.label_smoothing
        losses = [F.cross_entropy(logits, labels, label_smoothing=smoothing) for logits in members]
        loss = torch.stack(losses).sum() * share  # the sum: each member learns as it would alone
        gradient = torch.autograd.grad(loss, self.parameters)
        mean = loss.detach().view(1) / len(members)
        return torch.cat([weights.join(gradient), self.statistics * share, mean])


def _derived_seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
