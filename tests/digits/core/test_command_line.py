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
