from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import sagemaker_platform as platform
from tests.helpers.sagemaker_platform import Platform


@pytest.fixture
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("platform")
    with platform.started(folder) as made:
        yield made
