"""The rate of large matrix products on this machine: python -m benchmarks.matrix_products

Prints the operations per second in float32 products of square matrices, one on each thread. It runs
as a process of its own, since benchmarks pin PyTorch's kernels to those that all processors have
(digits/core/kernels.py), and the limit of a machine is what its best kernels reach.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import unpinned
from digits.core import command_line, errors, kernels

REPEATS = 20
# As benchmarks are pinned, but for MKL: what it has for all makes is slow for large matrices.
AVX2 = kernels.PINS | {"MKL_CBWR": "AVX2"}


def main() -> None:
    args = parse_args()
    print(flops(args.device, args.workers))


def flops_with(pins: Mapping[str, str], device: str, workers: int) -> float:
    """Operations per second in a new process, whose kernels are pinned by these variables only."""
    options = ("--device", device, "--workers", workers)
    return float(*unpinned.lines("benchmarks.matrix_products", *options, pins=pins))


def flops(device: str, workers: int) -> float:
    """Operations per second.

    PyTorch uses one library for `@` and another one for a 1x1 convolution. The faster one counts;
    which one it is depends on the processor.
    """
    torch.set_num_threads(1)
    size = 1024 if device == "cpu" else 8192
    matrices = [torch.randn(size, size, device=device) for _ in range(workers)]

    def by_convolution(matrix: Tensor) -> Tensor:
        pixels = matrix.view(1, 1, size, size).permute(0, 3, 1, 2)
        return F.conv2d(pixels, matrix.view(size, size, 1, 1))

    def seconds(product: Callable[[Tensor], Tensor]) -> float:
        def multiply(matrix: Tensor) -> None:
            for _ in range(REPEATS):
                last = product(matrix)
            last.flatten()[0].item()  # waits for a GPU

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(multiply, matrices))  # warm-up
            started = time.perf_counter()
            list(pool.map(multiply, matrices))
            return time.perf_counter() - started

    fastest = min(seconds(lambda matrix: matrix @ matrix), seconds(by_convolution))
    return workers * REPEATS * 2 * size**3 / fastest


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.matrix_products", __doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--workers", type=int, default=1, help="threads, a product on each (1)")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
