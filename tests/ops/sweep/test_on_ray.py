"""What comes back from a node, without a cluster; test_sweep.py has one."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from digits.core.errors import InputError
from ops.sweep import on_ray, ray_node
from ops.tools import lock
from ops.tools.compute import ComputeParams

OBJECT = b"an output"
DIGEST = hashlib.md5(OBJECT).hexdigest()
NAME = f"files/md5/{DIGEST[:2]}/{DIGEST[2:]}"
RUN = f"runs/ab/{'c' * 64}/{'d' * 64}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".sweep").mkdir()
    monkeypatch.setattr(on_ray, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def packed(folder: Path, contents: dict[str, bytes]) -> bytes:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return ray_node.pack(folder, contents)


def test_the_objects_of_a_node_are_added_to_the_cache(cache: Path, tmp_path: Path) -> None:
    on_ray.add_to_cache(packed(tmp_path / "node", {NAME: OBJECT, RUN: b"a run"}))
    assert ray_node.objects(cache) == {NAME, RUN}
    assert (cache / NAME).read_bytes() == OBJECT


@pytest.mark.parametrize(
    ("name", "message"),
    [(NAME, "another content"), ("files/md5/../../x", "no object"), (f"{NAME}\n", "no object")],
)
def test_what_is_no_object_is_refused(cache: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        on_ray.add_to_cache(packed(tmp_path / "node", {name: b"something else"}))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("workers", "nodes", "at_a_time", "cores"),
    [
        ("auto", [0, 8, 8], 2, 8),
        ("auto", [0, 8, 8], 1, 8),  # a run is on one node
        ("auto", [0, 8, 8], 4, 4),
        ("auto", [0, 8, 8], 100, 1),
        ("auto", [0], 3, 1),  # a cluster that grows
        (3, [0, 8, 8], 100, 6),
    ],
)
def test_a_run_asks_for_the_cores_that_compute_states_or_for_its_share(
    workers: Any, nodes: list[float], at_a_time: int, cores: int
) -> None:
    where = ComputeParams(workers=workers, processes=2, backend="local")
    assert on_ray.cores_of_trial(where, nodes, at_a_time) == cores


def test_a_trial_removes_the_folders_of_killed_ones_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("digits-trial-killed", "digits-trial-running", "digits-other"):
        (tmp_path / name / "clone").mkdir(parents=True)
    with lock.held(tmp_path / "digits-trial-running" / "lock", "another process has it"):
        ray_node.remove_abandoned()
    assert {path.name for path in tmp_path.iterdir()} == {"digits-trial-running", "digits-other"}
