"""Processes that train together; tests/end_to_end/test_training_runs.py starts several."""

import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from digits.training import distributed


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
