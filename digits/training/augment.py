"""Augmentation: random changes of a batch of images in position, brightness and noise."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from digits.core.params import Params


class Augmentation(Params):
    """The largest changes of an image.

    Movements are uniform in [-limit, limit], brightness and noise in [0, limit].
    """

    rotation: Annotated[float, Field(ge=0, le=180)]  # degrees
    translation: Annotated[float, Field(ge=0)]  # pixels
    scale: Annotated[float, Field(ge=0, lt=1)]  # fraction of the size
    shear: Annotated[float, Field(ge=0, lt=90)]  # degrees
    background: Annotated[float, Field(ge=0, lt=1)]  # grey level of black pixels, fraction of white
    noise: Annotated[float, Field(ge=0, le=1)]  # standard deviation, fraction of white


def augment(images: Tensor, limits: Augmentation, generator: torch.Generator) -> Tensor:
    """Move each image by random amounts, then make its background grey and add normal noise.

    Parameters
    ----------
    images : float32 (n, height, width), 0 is background and 255 is ink
    limits : the largest amounts; an amount whose limit is 0 draws no random numbers
    generator : the source of randomness, on the images' device

    Returns
    -------
    float32 (n, height, width), 0 to 255
    """
    images = random_affine(images, limits, generator)

    def amounts(limit: float) -> Tensor:
        uniform = torch.rand((len(images), 1, 1), generator=generator, device=images.device)
        return uniform * limit

    if limits.background:
        images = images.lerp(torch.full_like(images, 255), amounts(limits.background))
    if limits.noise:
        normal = torch.randn(images.shape, generator=generator, device=images.device)
        images = (images + 255 * amounts(limits.noise) * normal).clamp(0, 255)
    return images


def random_affine(images: Tensor, limits: Augmentation, generator: torch.Generator) -> Tensor:
    """Rotate, shear, scale and shift each image by its own random amounts.

    Parameters
    ----------
    images : float32 (n, height, width); pixels from outside the frame are 0
    limits : the largest amounts
    generator : the source of randomness, which draws five numbers per image

    Returns
    -------
    float32 (n, height, width), interpolated bilinearly
    """
    if not any((limits.rotation, limits.translation, limits.scale, limits.shear)):
        return images
    n, height, width = images.shape
    u = torch.rand((5, n), generator=generator, device=images.device) * 2 - 1
    angle, shear = u[0] * math.radians(limits.rotation), u[1] * math.radians(limits.shear)
    zoom = 1 / (1 + u[2] * limits.scale)  # an inverse: the grid maps output to input
    cos, sin, tan = angle.cos() * zoom, angle.sin() * zoom, shear.tan()
    aspect = height / width  # the grid's coordinates are from -1 to 1 on either side
    rows = [
        torch.stack([cos, (cos * tan - sin) * aspect, u[3] * (2 * limits.translation / width)], 1),
        torch.stack([sin / aspect, sin * tan + cos, u[4] * (2 * limits.translation / height)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 1, height, width], align_corners=False)
    return F.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)
