import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from digits.core.errors import InputError, Unreachable
from digits.data import sources
from digits.imaging import model_form
from tests.helpers import shapes

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
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


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
        InputError, match=f"train-labels-idx1-ubyte: .*MD5 is .*expected {expected}"
    ):
        sources.mnist(str(folder))


def test_a_truncated_idx_file_is_refused(mirror: Make) -> None:
    folder = mirror(t10k_images=encode(np.zeros((3, 28, 28), np.uint8))[:-100])
    with pytest.raises(
        InputError, match=r"t10k-images-idx3-ubyte: truncated: 2268 .*expected 2368"
    ):
        sources.mnist(str(folder))


def test_a_wrong_magic_number_is_refused(mirror: Make) -> None:
    with pytest.raises(InputError, match="train-labels-idx1-ubyte: the magic number is 0x61626364"):
        sources.mnist(str(mirror(train_labels=b"abcdefgh")))


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


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of twelve classes, three and two images each."""
    shapes.write_shapes(tmp_path / "own", train=3, test=2)
    return tmp_path / "own"


def test_a_folder_is_read_by_class_in_grey(own: Path) -> None:
    (own / "train" / "box" / ".DS_Store").touch()
    raw = sources.folder(own, None)
    assert raw.source.name == "folder"
    assert raw.source.classes == tuple(sorted(shapes.SHAPES))
    assert raw.source.method == "resize"
    assert raw.train.images.shape == (36, shapes.HEIGHT, shapes.WIDTH)
    assert raw.train.labels.tolist() == [k for k in range(12) for _ in range(3)]
    assert raw.test.labels.tolist() == [k for k in range(12) for _ in range(2)]
    box = raw.source.classes.index("box")
    grey = np.asarray(shapes.draw("box", 0).convert("L"))
    np.testing.assert_array_equal(raw.train.images[3 * box], grey)


def test_a_folders_digest_is_of_what_is_in_it(own: Path) -> None:
    before = sources.folder(own, None)
    assert sources.folder(own, None).source.digests == before.source.digests
    shapes.draw("box", 99).save(own / "train" / "box" / "one-more.png")
    after = sources.folder(own, None)
    assert after.source.digests["train"] != before.source.digests["train"]
    assert after.source.digests["test"] == before.source.digests["test"]


def test_images_of_any_size_are_fitted_where_one_is_named(own: Path) -> None:
    shapes.draw("box", 3, scale=5, paper="white").save(own / "train" / "box" / "light.png")
    with pytest.raises(
        InputError, match=r"light\.png is 160 pixels high and 120 wide; .*data\.size"
    ):
        sources.folder(own, None)
    raw = sources.folder(own, (16, 16))
    assert raw.train.images.shape == (37, 16, 16)
    light = raw.train.images[3 * raw.source.classes.index("box") + 3]
    assert light[0].max() < 60 < 150 < light[6:10, 6:10].mean()  # a negative, in the middle


@pytest.mark.parametrize("paper", ["black", "white"])
@pytest.mark.parametrize("size", [None, (20, 30)])
def test_a_folders_images_are_in_the_form_that_is_served(
    paper: str, size: tuple[int, int] | None, own: Path
) -> None:
    """Whatever is learnt from an image's file, the server makes the same of it."""
    for part in ("train", "test"):
        for i, file in enumerate(sorted((own / part).rglob("*.*"))):
            shapes.draw(file.parent.name, i, paper=paper).save(file.with_suffix(".png"))
    raw = sources.folder(own, size)
    form = model_form.Preprocessing.parse(
        {
            "size": raw.test.images.shape[1:],
            "method": raw.source.method,
            "background": 0,
            "normalisation": {"mean": 0.0, "std": 1.0, "where": "in the graph"},
        }
    )
    served = [model_form.read(f.read_bytes(), form) for f in sorted((own / "test").glob("*/*"))]
    np.testing.assert_array_equal(raw.test.images, np.stack(served))
    assert model_form.in_form(raw.test.images, form).all()


def test_a_folder_that_is_no_data_set_is_refused_by_name(own: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            sources.folder(own, None)

    ring = own / "test" / "ring"
    broken = own / "train" / "box" / "broken.png"
    broken.write_bytes(b"hello")
    refused(r"train/box/broken\.png: this is not an image but 5 bytes of something else")
    broken.unlink()
    (own / "train" / "box" / "deeper").mkdir()
    refused("train/box/deeper is a folder; expected only the images of a class")
    (own / "train" / "box" / "deeper").rmdir()
    (own / "train" / "labels.csv").touch()
    refused(r"train/labels\.csv is a file; expected only a folder for each class")
    (own / "train" / "labels.csv").unlink()
    (own / "train" / "a void").mkdir()
    refused("train/a void is empty; expected the images of a class")
    (own / "train" / "a void").rmdir()
    ring.rename(own / "test" / "rung")
    refused("test/rung has no counterpart in .*train; expected the same classes: bar, box, cross")
    (own / "test" / "rung").rename(own / "ring")
    refused("test/ring does not exist; expected the images of a class. Each class needs images in")
    (own / "test").rename(own / "elsewhere")
    refused("test does not exist; expected a folder for each class, with other images than")
    (own / "train").rename(own / "nothing")
    refused(
        r"train does not exist; expected a folder for each class\n(.*\n)+  If DVC tracks it: dvc ch"
    )


def test_all_faults_of_a_folder_are_named_at_once_with_advice_for_each_kind(own: Path) -> None:
    box = own / "train" / "box"
    image = (own / "train" / "bar" / "00000.png").read_bytes()
    (own / "train" / "a void").mkdir()
    (own / "train" / "labels.csv").touch()
    (own / "test" / "labels.csv").touch()
    (own / "test" / "ring").rename(own / "test" / "rung")
    (box / "deeper").mkdir()
    (box / "empty.png").touch()
    (box / "cut.png").write_bytes(image[:90])
    (box / "notes.txt").write_text("drawn by hand")
    (box / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (box / "gone.png").symlink_to("/nowhere/image.png")
    shapes.draw("box", 3, scale=2).save(box / "large.png")
    with pytest.raises(InputError) as refusal:
        sources.folder(own, None)
    first, *lines = str(refusal.value).replace(f"{own}/", "").splitlines()
    assert first == f"{own} has 13 faults:"
    assert lines[:13] == [
        "  train/labels.csv is a file; expected only a folder for each class",
        "  test/labels.csv is a file; expected only a folder for each class",
        f"  test/rung has no counterpart in train; expected the same classes: a void, "
        f"{', '.join(sorted(shapes.SHAPES))}",
        "  train/a void is empty; expected the images of a class",
        "  train/box/deeper is a folder; expected only the images of a class",
        "  test/a void does not exist; expected the images of a class",
        "  test/ring does not exist; expected the images of a class",
        lines[7],
        "  train/box/empty.png: the image is empty: 0 bytes",
        "  train/box/gone.png is a link to a file that does not exist",
        "  train/box/lfs.png: this is Git LFS's pointer to an image. Fetch the image: git lfs pull",
        lines[11],
        "  train/box/large.png is 64 pixels high and 48 wide; most images are 32 and 24",
    ]
    assert lines[7].startswith("  train/box/cut.png: the image is truncated")
    assert lines[11].startswith("  train/box/notes.txt: this is not an image but 13 bytes of")
    assert [line.split()[0] for line in lines[13:]] == ["Move", "Each", "Restore", "If", "To"]


def test_many_faults_are_counted(own: Path) -> None:
    for i in range(25):
        (own / "train" / "bar" / f"{i:05}.png").write_bytes(b"hello")
    with pytest.raises(InputError) as refusal:
        sources.folder(own, None)
    lines = str(refusal.value).splitlines()
    assert lines[0].endswith("has 25 faults:")
    assert lines[20].startswith(f"  {own}/train/bar/00019.png: this is not an image")
    assert lines[21] == "  and 5 more"
    assert lines[22].startswith("  Restore each file that can't be read")
    assert len(lines) == 23


def test_the_operating_systems_files_are_passed_over(own: Path) -> None:
    expected = sources.folder(own, None)
    for folder in (own / "train", own / "train" / "box", own / "test", own / "test" / "box"):
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._00000.png", "Icon\r"):
            (folder / name).write_bytes(b"of the system")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._00000.png").write_bytes(b"of the system")
    assert sources.folder(own, None).source == expected.source


def test_one_class_is_none(tmp_path: Path) -> None:
    (tmp_path / "train" / "box").mkdir(parents=True)
    with pytest.raises(InputError, match=r"train has 1 class \(box\); expected 2 to 256"):
        sources.folder(tmp_path, None)


def test_images_too_large_for_a_network_want_a_size(own: Path) -> None:
    shapes.draw("bar", 0, scale=9).save(own / "train" / "bar" / "00000.png")
    with pytest.raises(InputError, match=r"00000\.png is 288 pixels high and 216 .* data\.size"):
        sources.folder(own, None)
    for part in ("train", "test"):
        for file in (own / part).rglob("*.*"):
            shapes.draw(file.parent.name, 0, scale=9).save(file)
    with pytest.raises(
        InputError,
        match=r"288 pixels high and 216 wide \(as are 59 others\); expected 8 to 256\. To",
    ):
        sources.folder(own, None)
