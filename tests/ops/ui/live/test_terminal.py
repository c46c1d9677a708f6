"""Output is text, whatever a command writes."""

from pathlib import Path

import pytest

from ops.ui.live import terminal
from ops.ui.live.terminal import Output


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain", "plain"),
        (b" 50 %|##  |\r100 %|####|", "100 %|####|"),
        (b"a longer line\rshort", "shortger line"),  # as a terminal shows it
        (b"windows\r", "windows"),
        (b"\x1b[1;31mred\x1b[0m \x1b[K\x1b(B\x1b]0;title\x07end", "red end"),
        (b"\x1b]0;title without an end", ""),
        (b"a\x00b\x07c\x7fd\xc2\x9be", "abcde"),
        (b"\xff\xfe no text", "\ufffd\ufffd no text"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),  # the template escapes it
        (b"tab\tstays  ", "tab\tstays"),
    ],
)
def test_a_line_is_shown_as_a_terminal_leaves_it(line: bytes, shown: str) -> None:
    assert terminal.shown(line) == shown


def test_a_file_is_read_on_from_the_line_that_was_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    assert terminal.read(path) == Output([], "", 0)
    path.write_bytes(b"one\ntwo 1\rtwo 2")
    first = terminal.read(path)
    assert first == Output(["one"], "two 2", 4)
    path.write_bytes(b"one\ntwo 1\rtwo 2\rtwo 3\n\nlast")
    assert terminal.read(path, first.end) == Output(["two 3", ""], "last", 23)


def test_of_a_large_file_the_last_lines_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "LONGEST", 10)
    path = tmp_path / "output.log"
    path.write_bytes(b"first\nsecond\nlast\n")
    assert terminal.read_end(path) == (Output(["last"], "", 18), True)
    assert terminal.read(path) == Output(["first"], "seco", 6)


def test_a_line_that_never_ends_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "LONGEST", 4)
    path = tmp_path / "output.log"
    path.write_bytes(b"abcdefgh")
    assert terminal.read(path) == Output(["abcd"], "", 4)
    assert terminal.read(path, 4) == Output(["efgh"], "", 8)
