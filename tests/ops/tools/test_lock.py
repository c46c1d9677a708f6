from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.tools import lock


def test_one_at_a_time_and_free_again_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"

    def take() -> None:
        with lock.held(path, "taken"):
            pass

    with lock.held(path, "taken"), pytest.raises(InputError, match="taken"):
        take()
    take()
