import errno
import gc
import os
import subprocess
import sys

import pytest

from digits.core import errors
from digits.core.errors import InputError
from tests.helpers.small import ROOT


def fail_with(error: BaseException, failure: int = 1, **advice: str) -> None:
    def main() -> None:
        raise error

    errors.run(main, failure, **advice)


@pytest.mark.parametrize("code", [1, 2])
def test_a_user_error_is_a_message(capsys: pytest.CaptureFixture[str], code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(InputError("train.lr is -1"), code)
    assert stop.value.code == code
    assert capsys.readouterr().err == "error: train.lr is -1\n"


def test_of_a_long_list_the_number_of_the_others_is_told() -> None:
    assert errors.first(["a", "b"], 2) == "a, b"
    assert errors.first(["a", "b", "c"], 2) == "a, b and 1 more"
    assert errors.first(["a"] * 1002, 2) == "a, a and 1,000 more"


def test_garbage_is_collected_while_a_command_works() -> None:
    seen = []
    gc.disable()  # as while a stage is imported
    try:
        errors.run(lambda: seen.append(gc.isenabled()))
    finally:
        gc.enable()
    assert seen == [True]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
    ("advice", "expected"),
    [
        ({}, "Make room, then run the same command again"),
        (
            {"full_disk": errors.MAKE_ROOM_FOR_PIPELINE},
            "git checkout dvc.lock metrics && dvc checkout",
        ),
    ],
)
def test_a_full_disk_has_the_advice_of_the_command(
    capsys: pytest.CaptureFixture[str], number: int, advice: dict[str, str], expected: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(OSError(number, "No space left on device", "state.safetensors"), 2, **advice)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "No space left" in message
    assert expected in message
    assert ("git checkout" in message) == bool(advice)  # it would undo the work of a command


def test_stages_and_no_other_commands_have_the_advice_of_the_pipeline() -> None:
    programs = [
        path for room in ("ops", "stages", "serving") for path in ROOT.glob(f"{room}/**/*.py")
    ]
    advised = {path for path in programs if "MAKE_ROOM_FOR_PIPELINE" in path.read_text()}
    assert advised == {*ROOT.glob("stages/[!_]*.py"), ROOT / "ops" / "launch.py"}


def test_ctrl_c_has_its_usual_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(KeyboardInterrupt())
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


FAULTS = [KeyError("stages"), TypeError("a\nb"), PermissionError(errno.EACCES, "denied", "x")]


@pytest.mark.parametrize("error", FAULTS)
def test_where_code_1_says_only_failed_a_fault_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        fail_with(error)


@pytest.mark.parametrize("error", FAULTS)
def test_where_code_1_is_a_verdict_a_fault_is_one_line_and_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as stop:
        fail_with(error, 2)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert type(error).__name__ in message
    assert "digits/core/errors.py, line " in message
    assert ("a fault of the program" in message) != isinstance(error, OSError)
    monkeypatch.setenv("DIGITS_TRACEBACK", "1")
    with pytest.raises(SystemExit):
        fail_with(error, 2)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_name_that_is_no_utf8_is_printed() -> None:
    program = """
import sys
from digits.core import errors
from digits.core.errors import InputError
def main():
    print("caf\\udce9")
    raise InputError("caf\\udce9")
errors.run(main, 2)
"""
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout) == (2, "caf\\udce9\n")
    assert found.stderr == "error: caf\\udce9\n"


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
