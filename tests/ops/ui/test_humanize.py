import pytest

from ops.ui import humanize


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "the images are not here. Run: dvc pull",
            "The images are not here. Run: <code>dvc pull</code>",
        ),
        ("dvc.lock names no data", "dvc.lock names no data"),
        ("data <b>: dvc <i>", "Data &lt;b&gt;: <code>dvc &lt;i&gt;</code>"),
        ("expected one of: mnist, uci", "Expected one of: mnist, uci"),
        ("", ""),
    ],
)
def test_a_message_becomes_a_sentence_with_its_command_as_code(message: str, shown: str) -> None:
    assert humanize.sentence(message) == shown
