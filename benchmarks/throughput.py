"""Images a second in training, as a share of what this machine's matrix products allow.

python -m benchmarks.throughput

Counts the multiplications of convolutions and fully connected layers, forward and backward, and
divides the rate reached in a training by the rate of a large matrix product on the same threads in
the same run. The rest of the time goes where PyTorch's profiler finds it.
"""

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import profile

from benchmarks import measure
from digits import compute, data, errors
from digits.augment import augment
from digits.data import Labelled
from digits.model import Network

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
    workers = compute.workers()
    train, val = (data.load(measure.PREPARED, name) for name in ("train", "val"))
    some = Labelled(train.images[:IMAGES], train.labels[:IMAGES])
    few = Labelled(val.images[:10], val.labels[:10])
    trained, _ = measure.train({"train.epochs": 1}, some, few, workers)  # warm-up
    flops = training_flops(trained.network, train.images.shape[1:])
    rates, peaks = [], []
    for _ in range(RUNS):
        peaks.append(matrix_product_flops(workers))
        _, seconds = measure.train({"train.epochs": 1}, some, few, workers)
        rates.append(IMAGES / seconds)
    shares = [rate * flops / peak for rate, peak in zip(rates, peaks, strict=True)]
    kinds = by_kind(profile_shard(trained.network, some))
    print(f"images/s             {measure.spread(rates)}")
    print(f"share of the limit   {measure.spread(shares)}")
    for kind, share in kinds.items():
        print(f"  {share:.0%}  {kind}")
    results = {
        "images_per_s": [round(rate, 1) for rate in rates],
        "matrix_product_gflops": [round(peak / 1e9, 1) for peak in peaks],
        "flops_per_image": flops,
        "share_of_limit": [round(share, 4) for share in shares],
        "median_share": round(statistics.median(shares), 4),
        "time_by_kind": kinds,
        "workers": workers,
    }
    measure.save("throughput", results)


def training_flops(network: Network, size: tuple[int, int]) -> int:
    """Of one image: forward, and twice that backward, but for the first layer's input."""
    flops = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal flops
        assert isinstance(module, nn.Conv2d | nn.Linear)
        each = 2 * module.weight.numel() * output.numel() // module.weight.shape[0]
        flops += each * (2 if inputs[0].shape[1] == 1 else 3)

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        network(torch.zeros(1, *size))
    for hook in hooks:
        hook.remove()
    return flops


def matrix_product_flops(workers: int, size: int = 1024, repeats: int = 20) -> float:
    """Of float32 products of square matrices, one on each thread.

    Two libraries compute them, one behind `@` and one behind a 1x1 convolution, and which of them
    suits a processor better differs: the faster one counts.
    """
    torch.set_num_threads(1)
    matrices = [torch.randn(size, size) for _ in range(workers)]

    def by_convolution(matrix: Tensor) -> Tensor:
        pixels = matrix.view(1, 1, size, size).permute(0, 3, 1, 2)
        return F.conv2d(pixels, matrix.view(size, size, 1, 1))

    def seconds(product: Callable[[Tensor], Tensor]) -> float:
        def multiply(matrix: Tensor) -> None:
            for _ in range(repeats):
                product(matrix)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(multiply, matrices))
            return measure.seconds(lambda: list(pool.map(multiply, matrices)))

    fastest = min(seconds(lambda matrix: matrix @ matrix), seconds(by_convolution))
    return workers * repeats * 2 * size**3 / fastest


def profile_shard(network: Network, data: Labelled, images: int = 64, repeats: int = 20) -> profile:
    """What a worker does with its part of a batch, on this thread: the profiler sees no other."""
    _, recipe = measure.configuration({})
    batch = torch.from_numpy(data.images[:images]).float()
    labels = torch.from_numpy(data.labels[:images]).long()
    parameters = list(network.train().parameters())
    profiler = profile()
    with profiler:
        for _ in range(repeats):
            moved = augment(batch, recipe.augmentation, torch.Generator())
            torch.autograd.grad(F.cross_entropy(network(moved), labels), parameters)
    return profiler


def by_kind(profiler: profile) -> dict[str, float]:
    times: dict[str, float] = dict.fromkeys([*KINDS, "the rest"], 0.0)
    events: Any = profiler.key_averages()
    for event in events:
        kinds = (kind for kind, parts in KINDS.items() if any(p in event.key for p in parts))
        times[next(kinds, "the rest")] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: round(value / total, 4) for kind, value in times.items()}


if __name__ == "__main__":
    errors.run(main)
