import errno

import pytest

from digits import errors
from digits.errors import InputError


def fail_with(error: BaseException) -> None:
    def main() -> None:
        raise error

    errors.run(main)


def test_what_a_person_can_mend_is_a_message() -> None:
    with pytest.raises(SystemExit, match=r"error: train\.lr is -1"):
        fail_with(InputError("train.lr is -1"))


def test_a_full_disk_says_how_to_get_back() -> None:
    with pytest.raises(SystemExit, match=r"(?s)No space.*dvc repro.*git checkout metrics && dvc"):
        fail_with(OSError(errno.ENOSPC, "No space left on device", "state.safetensors"))


def test_ctrl_c_has_its_usual_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(KeyboardInterrupt())
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "denied"), KeyError("x")])
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        fail_with(error)
