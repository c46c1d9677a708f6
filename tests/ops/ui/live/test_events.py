import asyncio

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
