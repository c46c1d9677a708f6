"""NVIDIA's GPUs: the same sums in every run, and less waiting for Python."""

from collections.abc import Callable

import torch
from torch import Tensor

from digits.training import distributed

WARM_UP_CALLS = 3  # in which libraries set up what must not be part of a graph


def settle() -> None:
    """Choose a GPU for this process, a fixed order of sums, and no TF32 for float32."""
    torch.cuda.set_device(distributed.local_rank() % torch.cuda.device_count())
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def record(
    function: Callable[..., Tensor], generator: torch.Generator, *inputs: Tensor
) -> Callable[..., Tensor]:
    """Record a function's operations as one CUDA graph.

    A GPU computes the hundreds of small operations of a shard faster than Python starts them. A
    graph starts all of them at once.

    Parameters
    ----------
    function : does the same operations for all inputs of one shape; is called a few times here
    generator : the function's source of randomness, on the GPU; may be seeded before each replay
    inputs : on the GPU

    Returns
    -------
    The function, for other inputs of the same shapes.
    """
    recorded = [tensor.clone() for tensor in inputs]
    with torch.cuda.device(recorded[0].device):
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                function(*recorded)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            result = function(*recorded)

    def replay(*inputs: Tensor) -> Tensor:
        for target, source in zip(recorded, inputs, strict=True):
            target.copy_(source)
        graph.replay()
        return result.clone()

    return replay
