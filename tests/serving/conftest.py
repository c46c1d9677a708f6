"""One server for all tests of a module that only ask, with a model of a few bytes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from digits.model.classifier import Classifier
from tests.helpers.servers import SERVING, Server, serve, write_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "digit-classifier")


@pytest.fixture(scope="module")
def classifier(model_folder: Path) -> Classifier:
    return Classifier.load(model_folder)


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serve(model_folder, folder, command=SERVING) as found:
        yield found
        assert "Traceback" not in found.log
        assert found.process.poll() is None
