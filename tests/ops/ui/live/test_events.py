import asyncio
from pathlib import Path

import pytest

from ops.ui.live import events


class Still(events.Watcher):
    """A repository that does not change."""

    async def moment(self) -> str:
        return "now"


def test_a_connection_over_which_nothing_comes_is_kept_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MOMENT_S", 0.001)
    monkeypatch.setattr(events, "QUIET_S", 0.0035)
    looks = iter(range(10))

    async def all_events() -> list[str]:
        found = events.changes(Still(), "before", lambda: next(looks, None) is None)
        return [event async for event in found]

    first, *others = asyncio.run(all_events())
    assert first == 'id: now\nevent: changed\ndata: "now"\n\n'
    assert others == [": nothing new\n\n"] * 2


def test_a_job_that_was_taken_from_the_queue_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def all_events() -> list[str]:
        return [event async for event in events.follow("20260101-000000-abcd", 0, lambda: False)]

    assert asyncio.run(all_events()) == ['event: job\ndata: "removed"\n\n']
