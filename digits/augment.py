"""Random changes of the shapes in a batch of images: affine, and elastic."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from digits.params import Params


class Augmentation(Params):
    """How far an image may be moved; each amount is drawn evenly from [-limit, limit]."""

    rotation: Annotated[float, Field(ge=0, le=180)]  # degrees
    translation: Annotated[float, Field(ge=0)]  # pixels
    scale: Annotated[float, Field(ge=0, lt=1)]  # fraction of the size
    shear: Annotated[float, Field(ge=0, lt=90)]  # degrees
    elastic: Annotated[float, Field(ge=0)]  # pixels, that each of a coarse grid's points moves


GRID = 5  # points of the elastic grid, each way


def random_warp(images: Tensor, limits: Augmentation, generator: torch.Generator) -> Tensor:
    """Rotate, shear, scale, shift and bend each image by its own random amounts.

    Parameters
    ----------
    images : float32 (n, height, width); what comes in from outside the frame is 0
    limits : the largest amounts
    generator : where the randomness comes from

    Returns
    -------
    float32 (n, height, width), bilinear
    """
    if not any(limits.model_dump().values()):
        return images
    n, height, width = images.shape
    u = torch.rand((5, n), generator=generator, device=images.device) * 2 - 1
    angle, shear = u[0] * math.radians(limits.rotation), u[1] * math.radians(limits.shear)
    zoom = 1 / (1 + u[2] * limits.scale)  # the grid maps output to input: its inverse
    cos, sin, tan = angle.cos() * zoom, angle.sin() * zoom, shear.tan()
    rows = [
        torch.stack([cos, cos * tan - sin, u[3] * (2 * limits.translation / width)], 1),
        torch.stack([sin, sin * tan + cos, u[4] * (2 * limits.translation / height)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 1, height, width], align_corners=False)
    if limits.elastic:
        points = torch.rand((n, 2, GRID, GRID), generator=generator, device=images.device) * 2 - 1
        bend = F.interpolate(points, (height, width), mode="bicubic", align_corners=True)
        size = torch.tensor([width, height], device=images.device)
        grid = grid + bend.permute(0, 2, 3, 1) * (2 * limits.elastic / size)
    return F.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)
