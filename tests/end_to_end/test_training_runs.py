"""Trainings as `dvc repro` starts them: in several processes, killed, and started again."""

import csv
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import warm_python
from tests.helpers.held_training import HeldTraining
from tests.helpers.small import ROOT, small_params
from tests.helpers.wait import until

pytestmark = pytest.mark.slow(110)

CHANGES = {
    "model.hidden": [16],
    "model.spatial_dropout": 0.1,
    "model.dense_dropout": 0.2,
    "train.epochs": 5,
    "train.batch_size": 32,
    "train.shards": 4,  # two would give the same sum in any order
}
# So long that a kill finds it at work.
LONG = CHANGES | {"train.epochs": 12, "train.early_stopping.patience": 12}
OUTPUTS = ("weights.safetensors", "train.json", "training.csv")


def start(
    folder: Path,
    prepared: Path,
    environment: Mapping[str, str] | None = None,
    python: str | Path = sys.executable,
    changes: Mapping[str, Any] = CHANGES,
    **settings: int,
) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    if not (folder / "params.yaml").exists():
        small_params(folder, changes)
    paths = {"data": prepared, "resume": ".resume"}
    paths |= dict(zip(("weights", "metrics", "curve"), OUTPUTS, strict=True))
    words = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return subprocess.Popen(
        [python, "-m", "ops.launch", "stages.train", *words],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
            **{f"DIGITS_COMPUTE_{name.upper()}": str(n) for name, n in settings.items()},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_long(
    folder: Path, prepared: Path, python: str | Path = sys.executable, **settings: int
) -> subprocess.Popen[str]:
    return start(folder, prepared, python=python, changes=LONG, **settings)


def warm() -> Path:
    """For most trainings; `undisturbed` is one by the real Python.

    A caller that is killed takes its command with it, and who reads the command's output to its end
    has waited for this.
    """
    return warm_python.python()


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == code, output
    return output


def meeting_point() -> dict[str, str]:
    """What torchrun's launchers on two hosts are told of where they meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": port}


def outputs(folder: Path) -> dict[str, bytes]:
    assert not (folder / ".resume").exists()
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start(folder, prepared, workers=1))
    return outputs(folder)


@pytest.fixture(scope="module")
def undisturbed_long(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start_long(folder, prepared, warm(), workers=1))
    return outputs(folder)


@pytest.mark.parametrize(("processes", "workers"), [(1, 4), (2, 1), (2, 2), (4, 1)])
def test_same_bytes_for_any_number_of_processes_and_workers(
    processes: int,
    workers: int,
    prepared: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
) -> None:
    finish(start(tmp_path, prepared, python=warm(), processes=processes, workers=workers))
    assert outputs(tmp_path) == undisturbed


def test_same_bytes_on_two_hosts_that_meet_through_torchrun(
    prepared: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Two launchers that know nothing of each other but an address, as on two hosts."""
    address = meeting_point()
    address_of = {rank: address | {"PET_NODE_RANK": rank} for rank in "01"}
    second = start(tmp_path / "second", prepared, address_of["1"], warm(), workers=1)
    finish(start(tmp_path / "first", prepared, address_of["0"], warm(), workers=1))
    finish(second)
    assert outputs(tmp_path / "first") == undisturbed


def test_hosts_that_disagree_are_told_what_differs(prepared: Path, tmp_path: Path) -> None:
    address = meeting_point()
    folder = tmp_path / "second"
    folder.mkdir()
    small_params(folder, CHANGES | {"train.label_smoothing": 0.2})
    address_of = {rank: address | {"PET_NODE_RANK": rank} for rank in "01"}
    second = start(folder, prepared, address_of["1"], warm(), workers=1)
    first = start(tmp_path / "first", prepared, address_of["0"], warm(), workers=1)
    assert "process 1 and the first process have different parameters" in finish(second, 1)
    assert "lost the connection to the others" in finish(first, 1)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_host_that_waits_alone_gives_up_and_says_so(
    rank: str, prepared: Path, tmp_path: Path
) -> None:
    torchrun = meeting_point() | {"PET_NODE_RANK": rank, "PET_RDZV_CONF": "timeout=2"}
    output = finish(start(tmp_path, prepared, torchrun, warm(), workers=1), code=1)
    assert "the hosts did not find each other" in output
    assert "Traceback" not in output


def test_processes_that_cannot_share_the_shards_evenly_are_refused(
    prepared: Path, tmp_path: Path
) -> None:
    output = finish(start(tmp_path, prepared, python=warm(), processes=3, workers=1), code=1)
    assert "train.shards is 4, which 3 processes can't share evenly" in output


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    seed: int, prepared: Path, tmp_path: Path, undisturbed_long: dict[str, bytes]
) -> None:
    state = tmp_path / ".resume" / "state.safetensors"
    draw = random.Random(seed)
    python = warm() if seed else sys.executable
    for _ in range(2):
        process = start_long(tmp_path, prepared, python, workers=2)
        until(state.exists)
        time.sleep(draw.uniform(0, 0.4))  # the moment of the kill
        process.kill()
        process.communicate()
    output = finish(start_long(tmp_path, prepared, warm(), processes=1 + seed % 2, workers=2))
    assert "continuing after epoch" in output
    assert outputs(tmp_path) == undisturbed_long


def test_killed_while_it_writes_the_state_it_goes_on_from_the_one_before(
    prepared: Path, tmp_path: Path, undisturbed_long: dict[str, bytes]
) -> None:
    """A half-written file stands beside the state, as a kill in that moment leaves it."""
    process = start_long(tmp_path, prepared, warm(), workers=2)
    state = tmp_path / ".resume" / "state.safetensors"
    until(state.exists)
    process.kill()
    process.communicate()
    state.with_name("state.safetensors.partial").write_bytes(state.read_bytes()[:1000])
    assert "continuing after epoch" in finish(start_long(tmp_path, prepared, warm(), workers=2))
    assert outputs(tmp_path) == undisturbed_long


def test_a_state_of_other_parameters_is_not_used(
    prepared: Path, tmp_path: Path, undisturbed_long: dict[str, bytes]
) -> None:
    small_params(tmp_path, LONG | {"train.seed": 1})
    process = start_long(tmp_path, prepared, warm(), workers=2)
    until((tmp_path / ".resume" / "state.safetensors").exists)
    process.kill()
    process.communicate()
    small_params(tmp_path, LONG)
    assert "is not used: its training had different parameters" in finish(
        start_long(tmp_path, prepared, warm())
    )
    assert outputs(tmp_path) == undisturbed_long


def test_a_second_training_beside_a_live_one_is_refused(prepared: Path, tmp_path: Path) -> None:
    held = HeldTraining(tmp_path)
    path = {"PYTHONPATH": f"{held.modules}:{ROOT}"}
    first = start(tmp_path, prepared, path, workers=1)
    until((tmp_path / ".resume" / "state.safetensors").exists)
    output = finish(start(tmp_path, prepared, python=warm(), workers=1), code=1)
    assert f"process {first.pid} holds .resume" in output
    held.release()
    finish(first)


def test_a_process_that_dies_takes_the_others_down(prepared: Path, tmp_path: Path) -> None:
    agent = start_long(tmp_path, prepared, processes=2, workers=1)
    until((tmp_path / ".resume" / "state.safetensors").exists)
    workers = psutil.Process(agent.pid).children()
    assert len(workers) == 2
    workers[1].kill()
    finish(agent, code=1)
    assert not any(worker.is_running() for worker in workers)
    assert (tmp_path / ".resume" / "state.safetensors").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_outlives_the_parent(processes: int, prepared: Path, tmp_path: Path) -> None:
    """`sh -c` as dvc uses it, started by a parent that is killed."""
    small_params(tmp_path, CHANGES | {"train.epochs": 500, "train.early_stopping.patience": 500})
    program = (
        "import subprocess, sys; "
        "subprocess.run(['/bin/sh', '-c', sys.argv[1] + ' -m ops.launch stages.train --data '"
        "+ sys.argv[2] + ' --weights w --metrics m --curve c --resume .resume; true'])"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, sys.executable, str(prepared)],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DIGITS_COMPUTE_PROCESSES": str(processes),
        },
        stderr=subprocess.DEVNULL,
    )
    until((tmp_path / ".resume" / "state.safetensors").exists)
    family = psutil.Process(parent.pid).children(recursive=True)
    trainers = [p for p in family if "stages.train" in p.cmdline()]
    assert len(trainers) == (1 if processes == 1 else 3)
    parent.kill()
    until(lambda: not any(p.is_running() for p in trainers))
    parent.wait()


def test_the_curve_is_whole_after_each_epoch(prepared: Path, tmp_path: Path) -> None:
    process = start_long(tmp_path, prepared, warm(), workers=1)
    curve = tmp_path / "training.csv"
    until(curve.exists)
    seen = set()
    while process.poll() is None:
        rows = list(csv.DictReader(curve.read_text(encoding="utf-8").splitlines()))
        assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
        assert all(float(row["val_nll"]) > 0 for row in rows)
        seen.add(len(rows))
        time.sleep(0.005)  # a poll, so that the training has the processor
    finish(process)
    assert len(seen) > 2  # it grew while it was watched


def test_ctrl_c_ends_with_a_word_and_keeps_the_state(prepared: Path, tmp_path: Path) -> None:
    process = start_long(tmp_path, prepared, workers=2)
    state = tmp_path / ".resume" / "state.safetensors"
    until(state.exists)
    process.send_signal(signal.SIGINT)
    output = finish(process, code=130)
    assert "interrupted\ndvc repro goes on from here" in output
    assert "Traceback" not in output
    assert state.exists()
