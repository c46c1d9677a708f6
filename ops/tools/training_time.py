"""Estimate how long a training takes on this computer, from its first batches."""

import io
import time
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import replace
from typing import Any

from digits.core import kernels
from digits.core.errors import InputError
from ops.tools import compute
from ops.tools.dvc import DATA

BATCHES = (2, 10)  # the second training's time minus the first's leaves out what happens once


def estimate_s(params: Mapping[str, Any]) -> float | None:
    """Seconds that training takes with these parameters, without the other stages.

    None if this is unknown: the data are not prepared, or other computers train.
    """
    where = compute.load_params()
    if where.backend != "local" or where.processes > 1:
        return None
    kernels.pin()
    from digits.data import dataset
    from digits.model.network import Architecture, initial_network
    from digits.training import loop
    from digits.training.recipe import Recipe, resolve

    try:
        source, images = dataset.load_source(DATA), dataset.load(DATA, "train")
    except InputError:
        return None
    if source.name != params["data"]["source"]:
        return None
    recipe = resolve(Recipe.parse(params["train"], "params.yaml: train"))
    network = initial_network(
        Architecture.parse(params["model"], "params.yaml: model"),
        source.classes,
        images.images,
        recipe.seed,
    )
    once = recipe.model_copy(update={"epochs": 1})
    seconds = []
    for batches in BATCHES:
        count = batches * recipe.batch_size
        part = replace(images, images=images.images[:count], labels=images.labels[:count])
        few = replace(images, images=images.images[:32], labels=images.labels[:32])
        started = time.perf_counter()
        with redirect_stderr(io.StringIO()):  # the progress of these batches
            loop.train(network, once, part, few, where.threads())
        seconds.append(time.perf_counter() - started)
    per_batch = max(0.0, seconds[1] - seconds[0]) / (BATCHES[1] - BATCHES[0])
    return recipe.epochs * per_batch * len(images.images) / recipe.batch_size
