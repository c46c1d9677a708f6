"""Train a detector of images that show none of the classes.

It is a small network with one class more than the classifier: the last one is "none of these". It
is trained as the classifier is, by `digits.training`, so its bytes depend neither on the number of
workers nor on the make of the processor. It does not depend on the classifier.
"""

import copy
import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from digits.core.errors import InputError
from digits.core.params import Params
from digits.core.workers import CHUNK
from digits.data.dataset import Labelled, Source
from digits.model.network import Architecture, Network, initial_network
from digits.outliers import making
from digits.training.augment import Augmentation
from digits.training.early_stopping import EarlyStopping
from digits.training.loop import train
from digits.training.optimizer import Adam, Optimizer, Sgd
from digits.training.recipe import Recipe
from digits.training.schedule import Cosine, OneCycle, Schedule, StepDecay

NONE = "none of these"
EPOCHS = 5
SURE = 0.9  # the confidence below which an answer counts as doubtful
SURER = 0.999  # half of the images get at least this


class DetectorParams(Params):
    """The `detector` section of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    outliers: Annotated[int, Field(ge=0)]  # at most as many as there are images; 0: no detector
    cost: Annotated[float, Field(gt=0, lt=1)]


def train_detector(
    params: DetectorParams, data: Labelled, val: Labelled, source: Source, workers: int
) -> Network | None:
    """Train a detector, and set its threshold by the validation images.

    Parameters
    ----------
    params : all that decides the result, except the data
    data, val : training images; validation images, of which the share `cost` becomes doubtful
    source : the data set's
    workers : threads or processes, which change no byte of the result
    """
    if not params.outliers:
        return None
    if len(source.classes) == 256:
        raise InputError("256 classes leave no label for none of them. Set detector.outliers=0")
    for_training, for_validation = (
        making.make(part, min(n, len(part)), source, params.seed, workers)
        for part, n in ((data, params.outliers), (val, params.outliers // 10 + 1))
    )
    size = data.images.shape[1:]
    classes = (*source.classes, NONE)
    network = initial_network(architecture(size), classes, data.images, params.seed)
    trained = train(network, recipe(params.seed), for_training, for_validation, workers)
    return with_threshold(trained.network, val, params.cost)


def architecture(size: tuple[int, ...]) -> Architecture:
    return Architecture(
        channels=(16, 32, 64),
        convolutions=(1, 1, 1),
        kernel_size=3,
        padding=("valid", "valid", "same"),
        batch_norm=True,
        pooling="max",
        pool_size=max(1, min(3, (min(size) - 6) // 4)),  # no larger than the last maps
        hidden=(128,),
        spatial_dropout=0.0,
        dense_dropout=0.0,
        members=1,
    )


def recipe(seed: int) -> Recipe:
    adam = Adam(betas=(0.9, 0.999), eps=1e-8)
    return Recipe(
        seed=seed,
        device="cpu",
        precision="float32",
        epochs=EPOCHS,
        batch_size=128,
        shards=2,
        label_smoothing=0.0,
        ema=0.99,
        optimizer=Optimizer(
            name="adamw",
            lr=0.03,
            weight_decay=0.05,
            sgd=Sgd(momentum=0.9, nesterov=True),
            adam=adam,
            adamw=adam,
        ),
        schedule=Schedule(
            name="onecycle",
            step=StepDecay(every=1, gamma=0.5),
            cosine=Cosine(final=0.0),
            onecycle=OneCycle(warmup=0.15, final=0.0),
        ),
        augmentation=Augmentation(
            rotation=8.0, translation=1.0, scale=0.08, shear=6.0, background=0.0, noise=0.05
        ),
        early_stopping=EarlyStopping(monitor="val_nll", patience=EPOCHS, min_delta=0.0),
    )


@torch.inference_mode()
def with_threshold(detector: Network, val: Labelled, cost: float) -> Network:
    """A copy that leaves the share `cost` of the validation images below a confidence of `SURE`.

    An image counts by how much the logit of its class exceeds the one of none. A detector that has
    learnt little is made steeper, so that it does not doubt all images a little.
    """
    copied = copy.deepcopy(detector).eval()
    chunks = torch.split(torch.from_numpy(val.images), CHUNK)
    logits = torch.cat([copied(chunk.float()) for chunk in chunks]).double()
    own = logits[torch.arange(len(val)), torch.from_numpy(val.labels).long()]
    threshold, middle = np.quantile((own - logits[:, -1]).numpy(), [cost, 0.5]).tolist()
    *_, last = copied.modules()
    assert isinstance(last, nn.Linear)
    last.bias[-1] += threshold / copied.logit_scale
    copied.logit_scale *= max(
        1.0, (log_odds(SURER) - log_odds(SURE)) / max(middle - threshold, 1e-6)
    )
    last.bias[-1] -= log_odds(SURE) / copied.logit_scale
    return copied


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))
