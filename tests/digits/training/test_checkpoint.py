import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from digits.core.errors import InputError
from digits.training import checkpoint
from digits.training.checkpoint import Checkpoint, State, restore
from digits.training.curve import Epoch
from digits.training.distributed import Group

KEY = checkpoint.make_key({"lr": 0.1}, "data", b"weights")
CURVE = [Epoch(1, 0.1, 0.2, 0.3, 0.4, 0.5), Epoch(2, 0.1, 0.2, 1 / 3, 0.4, 0.5)]
STATE = State({"current": torch.tensor([1.0, float("-0.0"), 1e-30])}, CURVE)


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "state")
    assert kept.load(KEY) is None
    kept.save(KEY, STATE)
    found = kept.load(KEY)
    assert found is not None
    assert found.curve == STATE.curve
    assert found.tensors["current"].numpy().tobytes() == STATE.tensors["current"].numpy().tobytes()


def test_a_training_continues_with_the_saved_tensors_and_curve(tmp_path: Path) -> None:
    kept, current = Checkpoint(tmp_path / "state"), torch.zeros(3)
    alone = Group(rank=0, size=1)
    assert restore(kept, KEY, {"current": current}, 5, alone) == []
    assert current.tolist() == [0, 0, 0]
    kept.save(KEY, STATE)
    assert restore(kept, KEY, {"current": current}, 5, alone) == CURVE
    assert torch.equal(current, STATE.tensors["current"])


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (checkpoint.make_key({"lr": 0.2}, "data", b"weights"), "parameters"),
        (checkpoint.make_key({"lr": 0.1}, "others", b"weights"), "data"),
        (checkpoint.make_key({"lr": 0.1}, "data", b"others"), "initial weights"),
        ({**KEY, "versions": "torch 1.0"}, "versions"),
        ({**KEY, "code": "x"}, "code"),
    ],
)
def test_another_trainings_state_is_not_used_and_the_reason_named(
    tmp_path: Path,
    other: checkpoint.Key,
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = Checkpoint(tmp_path / "state")
    kept.save(other, STATE)
    assert kept.load(KEY) is None
    assert f"is not used: its training had different {what}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("library", "name", "value"),
    [
        (torch, "__version__", "1.0"),
        (np, "__version__", "1.0"),
        (torch.backends.cpu, "get_cpu_capability", lambda: "other kernels"),
    ],
)
def test_the_state_is_of_these_versions_and_these_kernels(
    monkeypatch: pytest.MonkeyPatch, library: ModuleType, name: str, value: object
) -> None:
    monkeypatch.setattr(library, name, value)
    now = checkpoint.make_key({"lr": 0.1}, "data", b"weights")
    assert [key for key in KEY if now[key] != KEY[key]] == ["versions"]


@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(64)])
def test_a_damaged_state_is_not_used(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Checkpoint(tmp_path / "state")
    kept.path.write_bytes(content)
    assert kept.load(KEY) is None
    assert "is damaged and not used" in capsys.readouterr().err


def test_every_truncation_of_a_state_is_not_used(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "state")
    kept.save(KEY, STATE)
    whole = kept.path.read_bytes()
    for length in range(len(whole)):
        kept.path.write_bytes(whole[:length])
        assert kept.load(KEY) is None


def test_the_folder_goes_when_all_went_well_and_stays_when_not(tmp_path: Path) -> None:
    folder = tmp_path / "resume"

    def fail() -> None:
        with checkpoint.open_folder(folder) as kept:
            kept.save(KEY, STATE)
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    with checkpoint.open_folder(folder) as kept:
        assert kept.load(KEY) is not None
    assert not folder.exists()


def test_a_second_training_is_refused_with_the_firsts_process_id(tmp_path: Path) -> None:
    (tmp_path / "resume").mkdir()
    (tmp_path / "resume" / "lock").write_text("4194304")  # of one that was killed
    program = (
        "import sys; from pathlib import Path; from digits.training import checkpoint\n"
        "with checkpoint.open_folder(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "resume")],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match=rf"process {other.pid} holds .*: kill {other.pid}"),
            checkpoint.open_folder(tmp_path / "resume"),
        ):
            pass
        other.kill()
    with checkpoint.open_folder(tmp_path / "resume"):  # the lock of a killed process is no lock
        pass
