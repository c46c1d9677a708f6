"""The convolutional network: three blocks, a pooling to a fixed size, a fully connected head.

An ensemble is several of these, trained at once; all other code uses it as one network.

The input is pixels from 0 to 255. The network itself normalises them, so normalisation cannot
differ between training, evaluation and serving.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from digits.core import files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError
from digits.core.params import Params

# The last layer's inputs are many and large: a scale below 1 keeps it stable at learning rates that
# suit the other layers. After training, calibration multiplies it by its factor.
INITIAL_LOGIT_SCALE = 1 / 8
NOT_SAVED = "num_batches_tracked"  # only read by a batch norm without momentum

Width = Annotated[int, Field(ge=1, le=4096)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Padding = Literal["same", "valid"]


class Architecture(Params):
    """The sizes and kinds of the network's layers: the `model` section of params.yaml."""

    channels: tuple[Width, Width, Width]
    convolutions: tuple[
        Annotated[int, Field(ge=1, le=8)],
        Annotated[int, Field(ge=1, le=8)],
        Annotated[int, Field(ge=1, le=8)],
    ]
    kernel_size: Literal[1, 3, 5, 7]
    padding: tuple[Padding, Padding, Padding]  # of each block's maps; valid: none, so they shrink
    batch_norm: bool
    pooling: Literal["max", "avg"]
    pool_size: Annotated[int, Field(ge=1, le=28)]
    hidden: tuple[Width, ...]
    spatial_dropout: Rate
    dense_dropout: Rate
    members: Annotated[int, Field(ge=1, le=64)]  # networks whose logits are averaged


class Description(Params):
    """A network without its weights."""

    architecture: Architecture
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    image_size: tuple[int, int]


class Dropout(nn.Module):
    """Dropout with a random generator of its own; torch's layer uses the process-wide one.

    With `spatial`, it drops whole feature maps (Tompson et al. 2015).
    """

    def __init__(self, rate: float, *, spatial: bool = False) -> None:
        super().__init__()
        self.rate = rate
        self.spatial = spatial
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        shape = (*x.shape[:2], 1, 1) if self.spatial else x.shape
        uniform = torch.rand(shape, generator=self.generator, device=x.device)
        return x * (uniform >= self.rate).to(x.dtype) / (1 - self.rate)


class Network(nn.Module):
    """Logits for a batch of images.

    Parameters
    ----------
    architecture : sizes and kinds of the layers
    classes : the classes' names, in the order of the logits
    image_size : height and width of the images, pixels
    mean, std : of the training images' pixels, 0 to 255

    Shapes: float32 (n, height, width), 0 to 255 -> float32 (n, classes).
    """

    mean: Tensor
    std: Tensor
    logit_scale: Tensor

    def __init__(
        self,
        architecture: Architecture,
        classes: tuple[str, ...],
        image_size: tuple[int, int],
        mean: float,
        std: float,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.classes = classes
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.register_buffer("logit_scale", torch.tensor(INITIAL_LOGIT_SCALE))
        self.members = nn.ModuleList(
            nn.Sequential(*_layers(architecture, len(classes), image_size))
            for _ in range(architecture.members)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.member_logits(images).mean(0)

    def member_logits(self, images: Tensor) -> Tensor:
        """The logits of each member of the ensemble, float32 (members, n, classes)."""
        x = (images - self.mean) / self.std
        # Not unsqueeze(1): its strides read as channels-first, which takes twice the time on a CPU.
        x = x.unsqueeze(-1).permute(0, 3, 1, 2)
        logits = torch.stack([member(x) for member in self.members])
        return logits.float() * self.logit_scale


def initial_network(
    architecture: Architecture, classes: tuple[str, ...], images: UInt8Array, seed: int
) -> Network:
    """Create a network with random weights, to be trained on some images.

    Parameters
    ----------
    architecture, classes : see `Network`
    images : uint8 (n, height, width), the training images: for size and normalisation
    seed : of torch's process-wide generator, which draws the weights
    """
    torch.manual_seed(seed)
    # In whole numbers, which takes no copy of the images as floats and a twentieth of the time.
    mean = int(images.sum(dtype=np.int64)) / images.size
    squares = int(np.einsum("nij,nij->", images, images, dtype=np.int64)) / images.size
    return Network(architecture, classes, images.shape[1:], mean, math.sqrt(squares - mean**2))


def save_network(network: Network, path: str | Path) -> None:
    """Write weights and architecture to a safetensors file; same network, same bytes."""
    tensors = {
        name: tensor.detach().clone().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith(NOT_SAVED)
    }
    description = Description(
        architecture=network.architecture, classes=network.classes, image_size=network.image_size
    )
    # Only one key: safetensors writes several in an order that changes from run to run.
    metadata = {"network": json.dumps(description.model_dump(), sort_keys=True)}
    files.write(path, to_safetensors(tensors, metadata))


def load_network(path: str | Path) -> Network:
    """Read a file that `save_network` wrote.

    Raises
    ------
    InputError
        If the file is absent or damaged, or another program wrote it; says what the file is.
    """
    try:
        with safe_open(files.existing(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} does not hold a network's weights, or is damaged: {error}"
        ) from None
    d = _describe(path, metadata, tensors)
    try:
        with torch.device("meta"):  # allocates nothing: the description may be of a huge network
            expected = _shapes(Network(d.architecture, d.classes, d.image_size, 0, 1).state_dict())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    actual = _shapes(tensors)
    names = sorted(expected.keys() | actual.keys())
    if wrong := [name for name in names if expected.get(name) != actual.get(name)]:
        raise InputError(
            f"{path} does not hold the weights of the network that it describes: {len(wrong)} of "
            f"{len(names)} tensors differ. {wrong[0]} is {actual.get(wrong[0], 'missing')}; "
            f"expected {expected.get(wrong[0], 'no such tensor')}"
        )
    mean, std = (tensors[name].item() for name in ("mean", "std"))
    network = Network(d.architecture, d.classes, d.image_size, mean, std)
    network.load_state_dict(tensors)
    return network.eval()


def _describe(
    path: str | Path, metadata: dict[str, str], tensors: dict[str, Tensor]
) -> Description:
    """The description of a network in a file's metadata; other programs' files have none."""
    try:
        description = json.loads(metadata["network"])
    except (KeyError, ValueError, RecursionError):
        names = ", ".join(sorted(tensors)[:3])
        raise InputError(
            f"{path} is a safetensors file of another program: {len(tensors)} tensors"
            f"{f' ({names}, ...)' if names else ''}, and no description of a network. Expected a "
            f"file that the stage train wrote"
        ) from None
    return Description.parse(description, f"{path}, the description of the network")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Type and shape of each tensor that a file of weights holds."""
    return {
        name: f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if not name.endswith(NOT_SAVED)
    }


def _layers(a: Architecture, classes: int, image_size: tuple[int, int]) -> list[nn.Module]:
    size = image_size  # of the maps
    layers: list[nn.Module] = []
    width = 1
    blocks = zip(a.channels, a.convolutions, a.padding, strict=True)
    for block, (channels, convolutions, padding) in enumerate(blocks):
        if block > 0:
            layers.append(Dropout(a.spatial_dropout, spatial=True))
        for i in range(1, convolutions + 1):
            layers.append(_convolution(width, channels, padding, a))
            if padding == "valid":
                size = (size[0] - a.kernel_size + 1, size[1] - a.kernel_size + 1)
            if i == convolutions and block < 2:
                # Before the others, which then compute a quarter. Misses no pixel of an odd map.
                layers.append(nn.MaxPool2d((2, 2), ceil_mode=True))
                size = (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
            if a.batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU(inplace=True))
            width = channels
    if min(size) < 1:
        raise InputError(
            f"images of {image_size[0]} x {image_size[1]} pixels are too small for convolutions "
            f"without padding: model.padding is [{', '.join(a.padding)}], model.kernel_size "
            f"{a.kernel_size}, and no pixel would be left. Set model.padding to [same, same, "
            f"same], or use larger images"
        )
    layers += [_pool(a, size), nn.Flatten()]
    width *= a.pool_size**2
    for hidden in a.hidden:
        layers += [Dropout(a.dense_dropout), nn.Linear(width, hidden), nn.ReLU(inplace=True)]
        width = hidden
    return [*layers, Dropout(a.dense_dropout), nn.Linear(width, classes)]


def _convolution(width: int, channels: int, padding: Padding, a: Architecture) -> nn.Conv2d:
    margin = a.kernel_size // 2 if padding == "same" else 0
    layer = nn.Conv2d(width, channels, a.kernel_size, padding=margin, bias=not a.batch_norm)
    if layer.bias is not None:  # no batch norm: the weights themselves must keep the signal's size
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return layer


def _pool(a: Architecture, size: tuple[int, int]) -> nn.Module:
    """Pooling to `pool_size` x `pool_size`, whatever the size of the maps.

    All windows are equal, and together they cover the map. Where adaptive pooling has equal windows
    too, these are the same.
    """
    if a.pool_size > min(size):
        raise InputError(
            f"model.pool_size is {a.pool_size}; expected at most {min(size)}, the side of the last "
            f"block's feature maps"
        )
    height, width = size
    stride = (height // a.pool_size, width // a.pool_size)
    kernel = (stride[0] + height % a.pool_size, stride[1] + width % a.pool_size)
    kind = nn.MaxPool2d if a.pooling == "max" else nn.AvgPool2d
    return kind(kernel, stride)
