import errno
import subprocess
import sys

import pytest

from digits.core import errors
from digits.core.errors import InputError
from tests.helpers.small import ROOT


def fail_with(error: BaseException, failure: int = 1) -> None:
    def main() -> None:
        raise error

    errors.run(main, failure)


@pytest.mark.parametrize("code", [1, 2])
def test_a_user_error_is_a_message(capsys: pytest.CaptureFixture[str], code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(InputError("train.lr is -1"), code)
    assert stop.value.code == code
    assert capsys.readouterr().err == "error: train.lr is -1\n"


def test_a_full_disk_says_how_to_get_back(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(OSError(errno.ENOSPC, "No space left on device", "state.safetensors"))
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert "No space left" in message
    assert "git checkout dvc.lock metrics && dvc checkout" in message


def test_ctrl_c_has_its_usual_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(KeyboardInterrupt())
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "denied"), KeyError("x")])
def test_any_other_exception_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        fail_with(error)


@pytest.mark.parametrize("end", ["", "sys.exit(0)"])
def test_a_reader_of_the_first_lines_sees_no_traceback(end: str) -> None:
    program = f"""
import sys
from digits.core import errors
def main():
    for _ in range(10000): print("a line of a long table")
    {end}
errors.run(main)
"""
    words = f"{sys.executable} -c '{program}' | head -n 1; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", words], cwd=ROOT, capture_output=True, text=True)
    assert found.stderr == ""
    assert found.stdout == "a line of a long table\n141\n"
