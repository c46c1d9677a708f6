"""One parameter names own images of any form: folders of classes, tables, archives of both."""

import io
from pathlib import Path

import numpy as np
import pytest

from digits.core.errors import InputError
from digits.data import own_images
from digits.data.dataset import Raw
from tests.helpers import shapes
from tests.helpers.tables import archive, csv_file, npz


def drawn(name: str, number: int) -> bytes:
    content = io.BytesIO()
    shapes.draw(name, number).save(content, "PNG")
    return content.getvalue()


FOLDERS = {
    f"mine/{part}/{name}/{i}.png": drawn(name, i + 5 * (part == "test"))
    for part in ("train", "test")
    for name in ("bar", "box")
    for i in range(3)
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def assert_same(one: Raw, other: Raw) -> None:
    assert one.source == other.source
    np.testing.assert_array_equal(one.train.images, other.train.images)
    np.testing.assert_array_equal(one.test.labels, other.test.labels)


def test_an_archive_of_folders_is_what_the_folders_are(tmp_path: Path) -> None:
    folder = write(tmp_path, FOLDERS)
    (tmp_path / "a.zip").write_bytes(archive(FOLDERS | {"__MACOSX/mine/._train": b"x"}))
    raw = own_images.read(folder / "mine", None, False)
    assert_same(own_images.read(tmp_path / "a.zip", None, False), raw)


def test_an_archive_may_be_alone_in_the_folder(tmp_path: Path) -> None:
    raw = own_images.read(write(tmp_path / "plain", FOLDERS) / "mine", None, False)
    folder = write(tmp_path / "own", {"a.zip": archive(FOLDERS), "README.md": b"mine"})
    assert_same(own_images.read(folder, None, False), raw)
    for more in ({"a.zip": archive({"b.zip": archive(FOLDERS)})}, {"box/0.png": drawn("box", 0)}):
        with pytest.raises(
            InputError, match=r"\.zip: an archive next to others\. If it is unpacked"
        ):
            own_images.read(write(folder, more), None, False)


def test_images_of_mnist_make_a_model_that_reads_photos_as_mnists_does(
    tmp_path: Path, uci: Raw
) -> None:
    arrays = {"x_train": uci.train.images, "y_train": uci.train.labels}
    arrays |= {"x_test": uci.test.images, "y_test": uci.test.labels}
    path = write(tmp_path, {"a.npz": npz(**arrays)}) / "a.npz"
    raw = own_images.read(path, None, False)
    np.testing.assert_array_equal(raw.test.images, uci.test.images)
    fitted = own_images.read(path, (32, 32), False)
    assert fitted.source.method == "resize"
    assert fitted.train.images.shape[1:] == (32, 32)


def test_values_of_another_range_are_named(tmp_path: Path, uci: Raw) -> None:
    arrays = {"x_train": uci.train.images // 16, "y_train": uci.train.labels}
    path = write(tmp_path, {"a.npz": npz(**arrays)}) / "a.npz"
    raw = own_images.read(path, None, False)
    assert raw.notes[-1].startswith("all grey levels are 15 of 255 or less. If the values")


def test_errors_in_an_archive_name_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive(FOLDERS | {"mine/train/box/9.png": b"hello"}))
    with pytest.raises(InputError, match=r"a\.zip/mine/train/box/9\.png: this is not an image"):
        own_images.read(tmp_path / "a.zip", None, False)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, FOLDERS) / "mine"
    with pytest.raises(InputError, match=r"data\.transpose is true, but .*mine has folders"):
        own_images.read(folder, None, True)
    with pytest.raises(InputError, match=r"data\.folder is .*0\.png; expected a folder, or a file"):
        own_images.read(folder / "train" / "box" / "0.png", None, False)
    with pytest.raises(
        InputError, match=r"nothing does not exist; expected a folder with .*, or with tables"
    ):
        own_images.read(tmp_path / "nothing", None, False)


def test_a_table_next_to_folders_of_classes_is_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, FOLDERS | {"mine/labels.csv": csv_file()}) / "mine"
    raw = own_images.read(folder, None, False)
    assert raw.source.classes == ("bar", "box")
    assert raw.notes == ("not read, next to train/ and test/: labels.csv",)
