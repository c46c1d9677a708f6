"""What NVIDIA's GPUs need: the same sums run after run, and less waiting for Python."""

from collections.abc import Callable

import torch
from torch import Tensor

from digits.training import distributed


def settle() -> None:
    """A GPU for each process of this host, an order of sums that stays, no TF32 for float32."""
    torch.cuda.set_device(distributed.local_rank() % torch.cuda.device_count())
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def record(
    function: Callable[..., Tensor], generator: torch.Generator, *inputs: Tensor
) -> Callable[..., Tensor]:
    """A function's operations as one CUDA graph.

    A GPU computes a shard's some hundred small operations sooner than Python starts them; replayed,
    they are started all at once.

    Parameters
    ----------
    function : does the same operations whatever its inputs hold; called here, for nothing
    generator : where it draws from, on the GPU; its seed may be set anew before each replay
    inputs : on the GPU

    Returns
    -------
    The function, for other inputs of the same shapes.
    """
    held = [each.clone() for each in inputs]
    with torch.cuda.device(held[0].device):
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # what libraries set up at their first calls is no part of a graph
                function(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            result = function(*held)

    def replay(*inputs: Tensor) -> Tensor:
        for mine, given in zip(held, inputs, strict=True):
            mine.copy_(given)
        graph.replay()
        return result.clone()

    return replay
