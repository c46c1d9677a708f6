"""What comes back from a node, without a cluster; test_sweep.py has one."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from digits.core.errors import InputError
from ops.sweep import on_ray, ray_node
from ops.sweep.on_ray import Need
from ops.tools import lock
from ops.tools.compute import ComputeParams

OBJECT = b"an output"
DIGEST = hashlib.md5(OBJECT).hexdigest()
NAME = f"files/md5/{DIGEST[:2]}/{DIGEST[2:]}"
RUN = f"runs/ab/{'c' * 64}/{'d' * 64}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a project, which a group shares."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".sweep").mkdir()
    with Repo.init(no_scm=True) as repo, repo.config.edit() as configuration:
        configuration["cache"]["shared"] = "group"
    return tmp_path / ".dvc" / "cache"


def packed(folder: Path, contents: dict[str, bytes]) -> bytes:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return ray_node.pack(folder, contents)


def test_the_objects_of_a_node_are_added_to_the_cache(cache: Path, tmp_path: Path) -> None:
    on_ray.add_to_cache(packed(tmp_path / "node", {NAME: OBJECT, RUN: b"a run"}))
    assert ray_node.objects(cache) == {NAME, RUN}
    assert (cache / NAME).read_bytes() == OBJECT
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (cache / NAME, cache / RUN)}
    assert [*modes.values()] == [0o444, 0o664]
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in modes} == {0o2775}


@pytest.mark.parametrize(
    ("name", "message"),
    [(NAME, "another content"), ("files/md5/../../x", "no object"), (f"{NAME}\n", "no object")],
)
def test_what_is_no_object_is_refused(cache: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        on_ray.add_to_cache(packed(tmp_path / "node", {name: b"something else"}))
    assert ray_node.objects(cache) == set()


def test_a_list_of_files_is_not_added_before_its_files(cache: Path, tmp_path: Path) -> None:
    listed = b"[       ]"  # with so many blanks, its name comes before the other one
    digest = hashlib.md5(listed).hexdigest()
    folder = f"files/md5/{digest[:2]}/{digest[2:]}.dir"
    assert folder < NAME
    with pytest.raises(InputError, match="another content"):
        on_ray.add_to_cache(packed(tmp_path / "node", {folder: listed, NAME: b"something else"}))
    assert ray_node.objects(cache) == set()


HEAD: dict[str, float] = {"memory": 1e9}
CPU: dict[str, float] = {"CPU": 8}
GPU: dict[str, float] = {"CPU": 4, "GPU": 2}


def compute(workers: Any = "auto", processes: int = 1) -> ComputeParams:
    return ComputeParams(workers=workers, processes=processes, backend="local")


@pytest.mark.parametrize(
    ("workers", "nodes", "at_a_time", "cores"),
    [
        ("auto", [HEAD, CPU, CPU], 2, 8),
        ("auto", [HEAD, CPU, CPU], 1, 8),  # a run is on one node
        ("auto", [HEAD, CPU, CPU], 4, 4),
        ("auto", [HEAD, CPU, CPU], 100, 1),
        ("auto", [HEAD], 3, 1),  # a cluster that grows
        (3, [HEAD, CPU, CPU], 100, 6),
    ],
)
def test_a_run_asks_for_the_cores_that_compute_states_or_for_its_share(
    workers: Any, nodes: list[dict[str, float]], at_a_time: int, cores: int
) -> None:
    need = on_ray.needs("cpu", compute(workers, processes=2), nodes, at_a_time)
    assert need == Need(cores, gpus=0)


@pytest.mark.parametrize(
    ("device", "processes", "nodes", "need"),
    [
        ("cuda", 1, [HEAD, CPU, GPU], Need(2, 1)),  # two runs share the node with the two GPUs
        ("cuda", 2, [HEAD, CPU, GPU], Need(4, 2)),
        ("auto", 1, [HEAD, CPU, GPU], Need(2, 1)),
        ("auto", 1, [HEAD, CPU], Need(1, 0)),
        ("auto", 3, [HEAD, CPU, GPU], Need(1, 0)),
        ("cpu", 1, [HEAD, CPU, GPU], Need(1, 0)),
    ],
)
def test_a_run_asks_for_the_gpus_of_its_device_and_shares_the_cores_of_their_nodes(
    device: str, processes: int, nodes: list[dict[str, float]], need: Need
) -> None:
    assert on_ray.needs(device, compute(processes=processes), nodes, 100) == need


@pytest.mark.parametrize(
    ("processes", "nodes", "message"),
    [
        (1, [HEAD, CPU], "needs 1 GPU of one node .* no node of the Ray cluster has a GPU"),
        (3, [HEAD, GPU, GPU], "needs 3 GPUs of one node .* the nodes have at most 2"),
    ],
)
def test_a_run_that_no_node_has_the_gpus_for_is_refused(
    processes: int, nodes: list[dict[str, float]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        on_ray.needs("cuda", compute(processes=processes), nodes, 1)


def test_runs_that_wait_for_a_node_say_so() -> None:
    assert on_ray.describe(Need(4, 2), [HEAD, GPU]).endswith("has 4 cores and 2 GPUs free")
    # The node with the cores is not the one with the GPU.
    assert "no node has this yet" in on_ray.describe(Need(8, 1), [HEAD, CPU, GPU])


def test_a_trial_removes_the_folders_of_killed_ones_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("digits-trial-killed", "digits-trial-running", "digits-other"):
        (tmp_path / name / "clone").mkdir(parents=True)
    with lock.held(tmp_path / "digits-trial-running" / "lock", "another process has it"):
        for path in tmp_path.iterdir():
            os.utime(path, (0, 0))
        (tmp_path / "digits-trial-new").mkdir()  # its trial is about to lock it
        ray_node.remove_abandoned()
    stay = {"digits-trial-running", "digits-trial-new", "digits-other"}
    assert {path.name for path in tmp_path.iterdir()} == stay
