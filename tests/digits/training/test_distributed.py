"""Processes that train together; tests/end_to_end/test_training_runs.py starts several."""

import hashlib
import socket
import subprocess
import sys
from itertools import count
from operator import eq

import pytest
import torch
import torch.distributed as dist

from digits.core.errors import InputError
from digits.training import distributed
from digits.training.distributed import Group


def test_a_process_that_hangs_is_not_waited_for_as_long_as_gloo_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, value in {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }.items():
        monkeypatch.setenv(name, value)
    with distributed.join() as group:
        backend = dist.group.WORLD._get_backend(torch.device("cpu"))
        assert backend.options._timeout == distributed.TIMEOUT
        assert (group.rank, group.size) == (0, 1)
    assert not dist.is_initialized()


def test_values_that_differ_are_named_though_their_digests_have_a_byte_in_common() -> None:
    def digest(value: str) -> bytes:
        return hashlib.sha256(value.encode()).digest()

    near = next(t for t in map(str, count()) if any(map(eq, digest(t), digest("theirs"))))

    class Second(Group):
        def broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
            return torch.tensor([list(digest(value)) for value in ("same", "theirs")])

    Second(1, 2).check_agreement({"parameters": "same", "data": "theirs"})
    with pytest.raises(InputError, match="process 1 and the first process have different data;"):
        Second(1, 2).check_agreement({"parameters": "same", "data": near})


def test_a_process_that_fails_says_why_before_the_others_lose_it() -> None:
    program = """if True:
        import os, time, torch
        from digits.training import distributed
        try:
            with distributed.join() as group:
                if group.rank == 1:
                    raise ValueError
                group.gather(torch.zeros(1, 1))
        except Exception as error:
            time.sleep(group.rank)  # a second in which the other would notice
            print("error:", repr(error), flush=True)
            raise SystemExit(1)
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    words = [*torchrun, "--nproc-per-node=2", sys.executable, "-c", program]
    output = subprocess.run(words, capture_output=True, text=True).stdout
    assert next(x for x in output.splitlines() if "error:" in x) == "error: ValueError()"
