"""Processes that train together; tests/end_to_end/test_training_runs.py starts several."""

import socket

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
