"""Connect to a Ray cluster."""

import logging
import os
import re
import socket
from pathlib import Path

from digits.core.errors import InputError
from digits.core.workers import count_workers
from digits.storage.location import CONNECT_S

CODE = [str(Path(__file__).parents[2] / name) for name in ("digits", "ops")]  # copied to the nodes


def connect(address: str | None = None) -> None:
    """Connect to the cluster at an address, by default RAY_ADDRESS, or start one on this machine.

    Raises `InputError` if Ray is not installed, or no cluster answers at the address.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError(
            "Ray is not installed. On this machine: make .venv/scale. On every node: pip install "
            "-r requirements-scale.txt"
        ) from None
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        _check_reachable(address)
    ray.init(
        address or "local",
        num_cpus=None if address else count_workers(),
        runtime_env={"py_modules": CODE},
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _check_reachable(address: str) -> None:
    """Raises `InputError` if nothing listens at the address, or it has another form than Ray's.

    Ray itself would wait for minutes.
    """
    if address in ("auto", "local"):
        return
    match = re.fullmatch(r"(?:ray://)?([^:/\s]+|\[[0-9a-f:]+\]):([0-9]{1,5})", address)
    if match is None or int(match[2]) > 65535:
        raise InputError(
            f"Ray's address is {address!r}; expected HOST:PORT, ray://HOST:PORT or auto"
        )
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), CONNECT_S).close()
    except OSError as error:
        raise InputError(f"no Ray cluster answers at {address}: {error}") from None
