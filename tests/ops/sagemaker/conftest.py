from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.sagemaker import platform
from tests.ops.sagemaker.platform import Platform


@pytest.fixture
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("platform")
    with platform.started(folder) as made:
        yield made
