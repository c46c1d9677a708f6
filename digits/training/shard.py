"""One shard of a batch: its images forward and backward, on one thread."""

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from digits.model.network import Dropout, Network
from digits.training import cuda_graph, weights
from digits.training.augment import augment
from digits.training.recipe import Recipe


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
