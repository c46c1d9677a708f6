"""Calibration: one factor for the logits, so that the confidence is as high as the accuracy."""

import copy
import math

import torch.nn.functional as F
from torch import Tensor

from digits.model.network import Network

LARGEST_CORRECTION = math.log(32)  # of the logits' scale, up or down
HALVINGS = 40  # of the interval that holds the factor's logarithm


def calibration_factor(logits: Tensor, labels: Tensor) -> float:
    """The factor for the logits that minimises the negative log-likelihood.

    Targets are smoothed, so that the factor stays finite when all predictions are right.

    Parameters
    ----------
    logits : float (n, classes)
    labels : int64 (n,)

    Returns
    -------
    float in [1/32, 32], one over the temperature

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks (temperature scaling).
    Platt 1999, Probabilistic Outputs for Support Vector Machines (smoothed targets).
    """
    classes = logits.shape[1]
    smoothing = classes / (classes - 1) / (len(labels) + 2)
    scores = logits.double()
    targets = F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    low, high = -LARGEST_CORRECTION, LARGEST_CORRECTION
    for _ in range(HALVINGS):  # the loss is convex in the factor: find where its slope is 0
        middle = (low + high) / 2
        probabilities = (scores * math.exp(middle)).softmax(1)
        rising = ((probabilities - targets) * scores).sum().item() > 0
        low, high = (low, middle) if rising else (middle, high)
    return math.exp(middle)


def calibrate(network: Network, factor: float) -> Network:
    """A copy of a network whose logits are multiplied by a factor."""
    calibrated = copy.deepcopy(network)
    calibrated.logit_scale *= factor
    return calibrated
