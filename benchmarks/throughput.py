"""Images per second in training, as a share of the limit that matrix products set.

python -m benchmarks.throughput [--device cpu|cuda]

The share is the rate of multiplications in training divided by their rate in large float32 matrix
products, on as many threads or the same GPU, in the same run: with the machine's best kernels, and
with those for AVX2, as training has them (digits/core/kernels.py). The multiplications are those of
convolutions and fully connected layers, forward and backward. PyTorch's profiler shows where the
time goes; on a GPU, some of it is spent waiting for the next operation.
"""

import argparse
import statistics
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import profile

from benchmarks import matrix_products, measure
from benchmarks.matrix_products import AVX2
from benchmarks.unpinned import FREE
from digits.core import command_line, errors
from digits.core.workers import count_workers
from digits.data import dataset
from digits.data.dataset import Labelled
from digits.model.network import Network
from digits.training.augment import augment

RUNS = 5
IMAGES = 12_800
KINDS = {
    "convolutions and matrix products": ("convolution", "addmm", "::mm", "bmm"),
    "batch norm": ("batch_norm",),
    "pooling": ("max_pool", "fill_"),
    "activations": ("threshold", "clamp", "relu"),
    "augmentation": ("grid_sampler", "affine"),
}


def main() -> None:
    device = parse_args().device
    workers = count_workers() if device == "cpu" else 1
    changes = {"train.epochs": 1, "train.device": device}
    train, val = (dataset.load(measure.PREPARED, name) for name in ("train", "val"))
    some = Labelled(train.images[:IMAGES], train.labels[:IMAGES])
    few = Labelled(val.images[:10], val.labels[:10])
    trained, _ = measure.train(changes, some, few, workers)  # warm-up
    flops = training_flops(trained.network, train.images.shape[1:])
    limits = {"free": FREE, "avx2": AVX2} if device == "cpu" else {"free": FREE}
    rates: list[float] = []
    peaks: dict[str, list[float]] = {name: [] for name in limits}
    for _ in range(RUNS):
        for name, pins in limits.items():
            peaks[name].append(matrix_products.flops_with(pins, device, workers))
        _, seconds = measure.train(changes, some, few, workers)
        rates.append(IMAGES / seconds)
    shares = {
        name: [rate * flops / peak for rate, peak in zip(rates, values, strict=True)]
        for name, values in peaks.items()
    }
    kinds = time_by_kind(trained.network, some, device, statistics.median(rates))
    print(f"images/s             {measure.spread(rates)}")
    for name, values in shares.items():
        print(f"share of the limit   {measure.spread(values)}, kernels: {name}")
    for kind, share in kinds.items():
        print(f"  {share:.0%}  {kind}")
    results = {
        "images_per_s": measure.rounded(rates),
        "matrix_product_gflops": {
            name: measure.rounded(peak / 1e9 for peak in values) for name, values in peaks.items()
        },
        "flops_per_image": flops,
        "share_of_limit": {name: measure.rounded(values, 4) for name, values in shares.items()},
        "time_by_kind": kinds,
        "workers": workers,
    }
    measure.save("throughput" if device == "cpu" else f"throughput-{device}", results)


def training_flops(network: Network, size: tuple[int, int]) -> int:
    """Operations for one image: forward, and twice as many backward (once in the first layer)."""
    flops = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal flops
        assert isinstance(module, nn.Conv2d | nn.Linear)
        forward = 2 * module.weight.numel() * output.numel() // module.weight.shape[0]
        flops += forward * (2 if inputs[0].shape[1] == 1 else 3)

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        network(torch.zeros(1, *size))
    for hook in hooks:
        hook.remove()
    return flops


def time_by_kind(
    network: Network, data: Labelled, device: str, rate: float, images: int = 64, repeats: int = 20
) -> dict[str, float]:
    """Shares of the time in which a worker computes its part of a batch, by kind of operation.

    It runs on this thread, since the profiler sees no other. A GPU computes the images faster than
    `rate` images per second; it spends the rest of the time waiting.
    """
    _, recipe = measure.configuration({})
    network = network.to(device).train()
    batch = torch.from_numpy(data.images[:images]).to(device).float()
    labels = torch.from_numpy(data.labels[:images]).to(device).long()
    parameters = list(network.parameters())

    def learn() -> None:
        for _ in range(repeats):
            moved = augment(batch, recipe.augmentation, torch.Generator(device))
            gradient = torch.autograd.grad(F.cross_entropy(network(moved), labels), parameters)
        gradient[0].flatten()[0].item()  # waits for a GPU

    learn()  # warm-up
    with profile() as profiler:
        learn()
    times: dict[str, float] = dict.fromkeys([*KINDS, "the rest"], 0.0)
    events: Any = profiler.key_averages()
    for event in events:
        if event.device_type.name == "CPU":  # the call, not also each kernel that it started
            kinds = (kind for kind, parts in KINDS.items() if any(p in event.key for p in parts))
            spent = event.self_cpu_time_total if device == "cpu" else event.self_device_time_total
            times[next(kinds, "the rest")] += spent
    if device != "cpu":
        times["waiting"] = 1e6 * repeats * images / rate - sum(times.values())
    total = sum(times.values())
    return {kind: round(value / total, 4) for kind, value in times.items()}


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.throughput", __doc__)
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="device that trains (cpu)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
