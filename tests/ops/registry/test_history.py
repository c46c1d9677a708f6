import time

import pytest

from ops.registry import history
from ops.tools import registry_events
from tests.ops.tools.test_tags import tag


def test_times_are_in_utc_wherever_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [tag("digit-classifier#production#1", "a" * 40, 1_764_028_800)]
    with monkeypatch.context() as far_east:
        far_east.setenv("TZ", "XXX-12")
        time.tzset()
        [event] = registry_events.read(known)
        shown = history.as_json(event)["when"], history.render(known, None)
    time.tzset()
    assert shown[0] == "2025-11-25T00:00:00Z"
    assert "2025-11-25 00:00  production" in shown[1]
