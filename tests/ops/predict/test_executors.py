"""Few parts at a time; the same rows from a Ray cluster of several nodes, also if one is lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from ray.cluster_utils import Cluster

from digits.storage import model_store
from ops.predict import executors
from ops.tools.inputs import Chunk
from tests.helpers import ray_nodes, tiny_models
from tests.helpers.small import ROOT
from tests.helpers.wait import until
from tests.ops.tools.test_inputs import IMAGES, png, write

DEADLINE_S = 600


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with ray_nodes.cluster() as made:
        yield made


@pytest.fixture
def here(tmp_path: Path) -> Path:
    model = tiny_models.model(1)
    write(f"{tmp_path}/models/digit-classifier", {n: model[n] for n in model_store.MODEL_FILES})
    return tmp_path


def start(here: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ops.predict", *words],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, said
    return said


def test_only_some_parts_run_or_wait_at_a_time() -> None:
    running: list[Future[bytes]] = []
    submitted = yielded = 0

    def pending() -> Iterator[tuple[int, Chunk]]:
        for number in range(10):
            yield number, Chunk((f"{number}.png",))
        for future in running:
            future.set_result(b"")

    def submit(chunk: Chunk) -> Future[bytes]:
        nonlocal submitted
        submitted += 1
        assert submitted - yielded <= 3
        running.append(future := Future[bytes]())
        if len(running) == 3:  # the oldest is done
            running.pop(0).set_result(b"")
        return future

    for _ in executors._some_at_a_time(pending(), 3, submit):
        yielded += 1
    assert submitted == yielded == 10


@pytest.mark.slow(70)
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_gives_the_rows_of_one_machine_even_if_a_node_is_lost(
    here: Path, cluster: Cluster
) -> None:
    write(f"{here}/in", {"a.png": png(IMAGES[0]), "b.png": b"hello"})
    images = np.random.default_rng(1).integers(0, 256, (160_000, 8, 8), dtype=np.uint8)
    np.save(here / "in" / "many.npy", images)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    process = start(here, "in", "ray.parquet", "--engine", "ray", RAY_ADDRESS=cluster.address)
    parts = here / "ray.parquet.parts"
    until(lambda: process.poll() is not None or len(list(parts.glob("*.arrow"))) >= 3, DEADLINE_S)
    assert process.poll() is None, process.communicate()[0]
    cluster.remove_node(nodes[0])
    assert len(list(parts.glob("*.arrow"))) < 16, "the node was not lost in mid-run"
    end(process)
    end(start(here, "in", "local.parquet", DIGITS_COMPUTE_WORKERS="1"))
    assert (here / "ray.parquet").read_bytes() == (here / "local.parquet").read_bytes()
