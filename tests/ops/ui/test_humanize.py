import time

import pytest

from ops.ui import humanize


def test_a_time_is_in_utc_for_readers_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        shown = humanize.when(1_793_714_700)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown == '<time datetime="2026-11-03T14:05:00Z">3 Nov 2026, 14:05 UTC</time>'


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


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "\N{EN DASH}"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_900, "999.9 kB"),
        (285_100_000, "285.1 MB"),
    ],
)
def test_bytes_are_told_in_powers_of_1000(number: int | None, shown: str) -> None:
    assert humanize.size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 seconds"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (86_399, "23 hours"),
        (86_400, "1 day"),
        (3e9, "34,722 days"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(seconds: float, shown: str) -> None:
    assert humanize.span(seconds) == shown
