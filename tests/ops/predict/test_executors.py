"""The same rows from a Ray cluster of several nodes, also if one of them is lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ray.cluster_utils import Cluster

from digits.storage import model_store
from tests.helpers import ray_nodes, tiny_models
from tests.helpers.small import ROOT
from tests.helpers.wait import until
from tests.ops.tools.test_inputs import IMAGES, png, write

pytestmark = [pytest.mark.slow(70), pytest.mark.filterwarnings("ignore")]  # Ray's own
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
