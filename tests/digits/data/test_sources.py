import gzip
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from digits.core.errors import InputError, Unreachable
from digits.data import sources
from tests.helpers.http_server import answer_files

from .test_idx import encode

Make = Callable[..., Path]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A folder of four small files, whose digests stand in for MNIST's."""

    def make(**changes: bytes) -> Path:
        rng = np.random.default_rng(0)
        for part, n in (("train", 6), ("t10k", 3)):
            contents = {
                f"{part}-images-idx3-ubyte": encode(rng.integers(0, 256, (n, 28, 28), np.uint8)),
                f"{part}-labels-idx1-ubyte": encode(rng.integers(0, 10, n, np.uint8)),
            }
            for name, content in contents.items():
                md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
                monkeypatch.setitem(sources.MNIST_FILES, name, md5)
                content = changes.get(name.split("-idx")[0].replace("-", "_"), content)
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        return tmp_path

    return make


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with answer_files(tmp_path) as url:
        yield url


def test_a_folder_is_read(mirror: Make) -> None:
    raw = sources.mnist(str(mirror()))
    assert raw.train.images.shape == (6, 28, 28)
    assert raw.test.labels.shape == (3,)
    assert raw.source.name == "mnist"


def test_a_url_is_read_as_the_folder_is(mirror: Make, server: str) -> None:
    folder = mirror()
    np.testing.assert_array_equal(
        sources.mnist(f"{server}/").train.images, sources.mnist(str(folder)).train.images
    )


def test_uncompressed_files_are_read(mirror: Make) -> None:
    folder = mirror()
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(sources.mnist(str(folder)).train) == 6


def test_other_content_is_refused_by_its_digest(mirror: Make) -> None:
    folder = mirror(train_labels=encode(np.arange(6, dtype=np.uint8)))
    expected = sources.MNIST_FILES["train-labels-idx1-ubyte"]
    with pytest.raises(
        InputError, match=f"train-labels-idx1-ubyte has .*MD5 is .*expected {expected}"
    ):
        sources.mnist(str(folder))


def test_a_truncated_file_is_refused(mirror: Make) -> None:
    folder = mirror(t10k_images=encode(np.zeros((3, 28, 28), np.uint8))[:-100])
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte has 2,268 bytes.*damaged"):
        sources.mnist(str(folder))


def test_a_truncated_gzip_file_is_refused(mirror: Make) -> None:
    path = mirror() / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz: truncated or damaged"):
        sources.mnist(str(path.parent))


def test_a_missing_file_says_what_was_tried(mirror: Make) -> None:
    folder = mirror()
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(Unreachable, match=r"Tried: .*t10k-labels"):
        sources.mnist(str(folder))


def test_a_mirror_that_is_neither_folder_nor_url_is_named() -> None:
    with pytest.raises(
        InputError,
        match=r"MNIST_MIRROR is 'nowhere', which is neither a URL nor a folder",
    ):
        sources.mnist("nowhere")


@pytest.mark.parametrize("mirror", ["http://[bad", "http://b\u00fccher/\u00fc", "nothing://x"])
def test_a_broken_url_is_named(mirror: str) -> None:
    with pytest.raises(Unreachable, match="Tried: "):
        sources.mnist(mirror)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(Unreachable, match=r"Tried: http://127\.0\.0\.1:1/train-images"):
        sources.mnist("http://127.0.0.1:1")


def test_without_a_network_the_download_says_what_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torchvision

    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])
    with pytest.raises(Unreachable, match=r"Tried http://127\.0\.0\.1:1/"):
        sources.mnist()


def test_the_bundled_digits_have_mnist_form() -> None:
    raw = sources.uci()
    assert raw.train.images.shape == (1200, 28, 28)
    assert raw.test.images.shape == (597, 28, 28)
    assert raw.train.images.dtype == raw.train.labels.dtype == np.uint8
    assert raw.train.images[:, :4].max() == 0
    assert raw.train.images.max() == 255
