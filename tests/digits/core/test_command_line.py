from pathlib import Path

import pytest

from digits.core import command_line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bse", "main"], "unrecognized arguments: --bse"),
        (["--bse=main"], "unrecognized arguments: --bse"),
        ([], "the following arguments are required: --base"),
        (["--nam", "x"], "the following arguments are required: --base"),  # short for --name
    ],
)
def test_a_mistyped_option_is_named_rather_than_the_one_that_is_missing(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = command_line.parser("ops.gate", "Compare.")
    parser.add_argument("--base", required=True)
    parser.add_argument("--name")
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert capsys.readouterr().err.endswith(f"error: {expected}\n")


def test_a_path_is_taken_from_the_folder_of_the_user_but_not_an_empty_or_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(command_line.STARTED_IN, str(tmp_path / "docs"))
    assert command_line.path_or_url("a.csv") == "docs/a.csv"
    assert command_line.path_or_url("../a.csv") == "a.csv"
    for text in ("", "/dev/stdout"):  # an empty one would become the folder
        assert command_line.path_or_url(text) == text
