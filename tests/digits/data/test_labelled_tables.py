"""Labelled tables of each form become the same data set; what does not fit is named."""

import gzip
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from digits.core.errors import InputError
from digits.data import image_reader, labelled_tables, tables
from digits.data.dataset import Raw
from digits.imaging.preprocessing import Preprocessing
from tests.helpers.tables import IMAGES, LABELS, csv_file, idx, npy, npz, parquet, png

FILES = [png(image) for image in IMAGES]
TEST, TEST_LABELS = IMAGES[:10] // 2, LABELS[:10]
Write = Callable[[dict[str, bytes]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / "own" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "own"

    return write


def listed(part: str, images: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    """A folder with a metadata.csv, as Hugging Face has it."""
    lines = [f"{i}.png,{label}\n" for i, label in enumerate(labels)]
    files = {f"{part}/{i}.png": png(image) for i, image in enumerate(images)}
    return files | {f"{part}/metadata.csv": "".join(["file_name,label\n", *lines]).encode()}


COLUMNS = {"image": [png(image) for image in TEST], "label": TEST_LABELS}
FORMS: dict[str, dict[str, bytes]] = {
    "csv": {"train.csv": csv_file(), "test.csv": csv_file(TEST, TEST_LABELS)},
    "csv.gz": {
        "mnist_train.csv.gz": gzip.compress(csv_file(names=None)),
        "mnist_test.csv.gz": gzip.compress(csv_file(TEST, TEST_LABELS, names=None)),
    },
    "Keras": {"a.npz": npz(x_train=IMAGES, y_train=LABELS, x_test=TEST, y_test=TEST_LABELS)},
    "npz with validation": {
        "a.npz": npz(
            train_images=IMAGES[:20],
            train_labels=LABELS[:20, None],
            val_images=IMAGES[20:],
            val_labels=LABELS[20:, None],
            test_images=TEST,
            test_labels=TEST_LABELS[:, None],
        )
    },
    "npz with the labels apart, as KMNIST has it": {
        "kmnist-train-imgs.npz": npz(arr_0=IMAGES),
        "kmnist-train-labels.npz": npz(arr_0=LABELS),
        "kmnist-test-imgs.npz": npz(arr_0=TEST),
        "kmnist-test-labels.npz": npz(arr_0=TEST_LABELS),
    },
    "npy": {
        "x_train.npy": npy(IMAGES / 255),
        "y_train.npy": npy(LABELS.astype(float)),
        "x_test.npy": npy(TEST.reshape(10, 64)),
        "y_test.npy": npy(TEST_LABELS),
    },
    "idx": {
        "train-images-idx3-ubyte": idx(IMAGES),
        "train-labels-idx1-ubyte": idx(LABELS),
        "t10k-images-idx4-ubyte.gz": gzip.compress(idx(TEST[:, None])),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(idx(TEST_LABELS)),
    },
    "parquet": {
        "data/train-00000-of-00002.parquet": parquet(image=FILES[:20], label=LABELS[:20]),
        "data/train-00001-of-00002.parquet": parquet(image=FILES[20:], label=LABELS[20:]),
        "data/test-00000-of-00001.parquet": parquet(**COLUMNS),
    },
    "metadata.csv": listed("train", IMAGES, LABELS) | listed("test", TEST, TEST_LABELS),
}


def read(path: Path, size: tuple[int, int] | None = None) -> tuple[Raw, str]:
    raw = labelled_tables.read(path, size, transpose=False)
    return raw, "\n".join(raw.notes)


@pytest.fixture(autouse=True)
def dark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images are noise, of which some have a light edge: leave all as they are."""

    def ready(images: np.ndarray, form: Preprocessing) -> np.ndarray:
        assert images.shape[1:] == form.size
        return np.full(len(images), form.method == "resize")

    monkeypatch.setattr(image_reader.model_form, "in_form", ready)
    monkeypatch.setattr(image_reader.model_form, "fit", lambda image, size: image)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_the_same_data_set(form: str, write: Write) -> None:
    folder = write(FORMS[form] | {"README.md": b"mine", "Thumbs.db": b"x"})
    assert labelled_tables.holds_tables(folder)
    raw, _ = read(folder)
    assert raw.source.classes == ("0", "1", "2", "3", "4")
    np.testing.assert_array_equal(raw.train.images, IMAGES)
    np.testing.assert_array_equal(raw.train.labels, LABELS)
    np.testing.assert_array_equal(raw.test.images, TEST)
    np.testing.assert_array_equal(raw.test.labels, TEST_LABELS)


def test_the_tables_of_a_competition_have_their_test_images_set_apart(write: Write) -> None:
    images = np.random.default_rng(1).integers(0, 256, (145, 8, 8), dtype=np.uint8)
    labels = np.arange(145) % 5
    images[140:] = images[:5]  # equal images, which must not be in both parts
    files = {"train.csv": csv_file(images, labels), "test.csv": csv_file(labels=None)}
    folder = write(files | {"sample_submission.csv": b"ImageId,Label\n1,0\n"})
    raw, notes = read(folder)
    distinct = {label: set() for label in range(5)}
    for image, label in zip(raw.test.images, raw.test.labels, strict=True):
        distinct[label].add(image.tobytes())
    assert [len(own) for own in distinct.values()] == [4] * 5  # of 28
    assert len(raw.train) + len(raw.test) == 145
    both = {i.tobytes() for i in raw.train.images} & {i.tobytes() for i in raw.test.images}
    assert not both
    for words in ("test.csv is left out: it has no labels", "sample_submission.csv is left out"):
        assert words in notes
    assert re.search(r"train\.csv: 145 images; .*integers as grey.*\n.* 2[0-5] were set ap", notes)
    shuffled = np.random.default_rng(2).permutation(145)
    (folder / "train.csv").write_bytes(csv_file(images[shuffled], labels[shuffled]))
    again = read(folder)[0].test.images
    assert {i.tobytes() for i in again} == {i.tobytes() for i in raw.test.images}


@pytest.mark.parametrize("form", ["csv", "idx"])
def test_a_compressed_copy_next_to_a_table_is_left_out(form: str, write: Write) -> None:
    files = FORMS[form]
    folder = write(files | {f"{name}.gz": gzip.compress(files[name]) for name in list(files)[:2]})
    raw, notes = read(folder)
    np.testing.assert_array_equal(raw.train.labels, LABELS)
    assert re.search(r"train.*\.gz is left out: train.* is next to it", notes)


def test_labels_that_are_words_are_the_classes(write: Write) -> None:
    words = np.array(["ten", "nine", "two", "one", "a"])[LABELS]
    raw, _ = read(write({"train.csv": csv_file(labels=words), "test.csv": csv_file(labels=words)}))
    assert raw.source.classes == ("a", "nine", "one", "ten", "two")
    assert [raw.source.classes[i] for i in raw.train.labels] == words.tolist()


def test_blanks_and_capitals_in_a_list_of_files_do_not_count(write: Write) -> None:
    files = {f"{i}.png": FILES[i] for i in range(4)}
    lines = "File_Name, Label\n0.png, a\n1.png, b\n2.png,a\n3.png,b\n"
    folder = write(files | {"metadata.csv": lines.encode()})
    raw, _ = read(folder)
    assert raw.source.classes == ("a", "b")
    with (folder / "metadata.csv").open("rb") as file, tables.opened("m.csv", file) as contents:
        assert contents.images == ()  # for digits predict, which reads the files that it names


def test_folders_of_tables_may_be_links(write: Write, tmp_path: Path) -> None:
    folder = write({"README.md": b"mine"})
    for part, labels in (("train", LABELS), ("test", TEST_LABELS)):
        images = IMAGES if part == "train" else TEST
        (tmp_path / "disk" / part).mkdir(parents=True)
        (tmp_path / "disk" / part / "0.csv").write_bytes(csv_file(images, labels))
        (folder / part).symlink_to(tmp_path / "disk" / part)
    (folder / "again").symlink_to(folder)  # to follow it would take forever
    raw, _ = read(folder)
    np.testing.assert_array_equal(raw.train.images, IMAGES)
    np.testing.assert_array_equal(raw.test.labels, TEST_LABELS)


def test_a_label_with_an_underscore_is_no_number(write: Write) -> None:
    words = np.array(["0_1", "1", "1_0", "10", "2"])[LABELS]
    raw, _ = read(write({"train.csv": csv_file(labels=words), "test.csv": csv_file(labels=words)}))
    assert raw.source.classes == ("0_1", "1", "10", "1_0", "2")


def test_names_of_columns_with_an_underscore_are_no_numbers() -> None:
    header = ",".join(f"{i}_{j}" for i in range(8) for j in range(8)).encode()
    content = header + b"\n" + csv_file(labels=None, names=None)
    with tables.opened("a.csv", io.BytesIO(content)) as contents:
        assert contents.images[0].count == len(IMAGES)


def test_labels_that_are_booleans_are_0_and_1(write: Write) -> None:
    raw, _ = read(write({"a.npz": npz(x=IMAGES, y=LABELS > 1)}))
    assert raw.source.classes == ("0", "1")


def test_rows_and_columns_are_exchanged_if_asked_for(write: Write) -> None:
    wide = np.concatenate([IMAGES, IMAGES], 2)
    path = write({"a.npz": npz(x_train=wide, y_train=LABELS, x_test=wide, y_test=LABELS)})
    raw = labelled_tables.read(path / "a.npz", None, transpose=True)
    np.testing.assert_array_equal(raw.train.images, wide.swapaxes(1, 2))
    assert "a.npz/x_train: 25 images; bytes as grey levels; rows and columns exchanged" in raw.notes
    path = write(listed("train", wide, LABELS)) / "train"
    raw = labelled_tables.read(path / "metadata.csv", None, transpose=True)
    pixels = {image.tobytes() for image in (*raw.train.images, *raw.test.images)}
    assert pixels == {image.T.tobytes() for image in wide}


@pytest.mark.parametrize(("in_form", "method"), [(25, "ink-box"), (24, "resize")])
def test_a_data_set_has_mnists_form_if_all_its_images_have_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, in_form: int, method: str
) -> None:
    def ready(images: np.ndarray, form: Preprocessing) -> np.ndarray:
        return np.arange(len(images)) < (in_form if form.method == "ink-box" else 25)

    monkeypatch.setattr(image_reader.model_form, "in_form", ready)
    raw, notes = read(write(FORMS["npy"]))
    assert raw.source.method == method
    assert (image_reader.INK_BOX in notes) == (method == "ink-box")


TRAIN = {"x_train.npy": npy(IMAGES), "y_train.npy": npy(LABELS)}
REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "no labels": ({"a.npy": npy(IMAGES)}, r"no labelled images to train on \(a.npy is left out"),
    "one-hot labels": (
        {"x_train.npy": npy(IMAGES), "y_train.npy": npy(np.eye(5)[LABELS])},
        "no labelled images to train on.* of one-hot ones, save labels",
    ),
    "one-hot labels in an archive": (
        {"a.npz": npz(x_train=IMAGES, y_train=np.eye(5)[LABELS])},
        "x_train, y_train may all be images.* of one-hot ones, save labels",
    ),
    "table beside folders of classes": (
        {"labels.csv": b"id,label\n1,2\n", "a/0.png": FILES[0], "b/0.png": FILES[1]},
        r"labels.csv is left out.* If its folders are the classes, move the tables away",
    ),
    "more labels": ({**TRAIN, "y_train.npy": npy(TEST_LABELS)}, "x_train.npy has 25 images, but y"),
    "two data sets": (
        {**TRAIN, "mnist_train.npy": npy(IMAGES)},
        "which labels belong to which images. Images: mnist_train.npy, x_train.npy; labels: y_tr",
    ),
    "which part": (
        {**FORMS["csv"], "more.csv": csv_file()},
        "is more.csv for training or for test",
    ),
    "the same data set twice, as in Fashion-MNIST at Kaggle": (
        {**FORMS["idx"], **FORMS["csv"]},
        "train-images-idx3-ubyte: it has the same images as train.csv. Remove one",
    ),
    "a part without a name, beside test images": (
        {"test.csv": csv_file(), "more.csv": csv_file()},
        "is more.csv for training or for test",
    ),
    "new class": (
        {"train.csv": csv_file(labels=LABELS % 4), "test.csv": csv_file()},
        "test has labels that train lacks: 4. Each class needs",
    ),
    "absent class": (
        {"train.csv": csv_file(), "test.csv": csv_file(labels=LABELS % 4)},
        "test has no images of 4. Each class needs",
    ),
    "one class": (
        {"train.csv": csv_file(labels=LABELS * 0)},
        r"1 classes \(0\); expected 2 to 256",
    ),
    "absent labels": (
        {"train.parquet": parquet(image=FILES, label=[None, -1, *LABELS[2:]])},
        r"(?s)2 faults:.*train.parquet: the label of image 0 is None.*image 1 is -1.*leave it out",
    ),
    "floats": ({"train.csv": csv_file(labels=LABELS / 2)}, "the label of image 1 is 0.5"),
    "damaged images": (
        {"train.parquet": parquet(image=[b"x", b"", *FILES[2:]], label=LABELS)},
        r"(?s)2 faults:.*image 0: this is not an image.*image 1: the image is empty.*Restore each",
    ),
    "lists of no square": (
        {"train.parquet": parquet(image=[[0] * 60, *[[9] * 64] * 24], label=LABELS)},
        "train.parquet, image 0: the pixels are 60; expected those of a square, or rows",
    ),
    "other sizes": (
        {"train.csv": csv_file(), "test.npz": npz(x=np.zeros((9, 9, 9), np.uint8), y=LABELS[:9])},
        r"test.npz/x, image 0 is 9 pixels high and 9 wide; most images are 8 and 8.*data\.size",
    ),
    "too large": (
        {"train.npz": npz(x=np.zeros((2, 300, 9), np.uint8), y=LABELS[:2])},
        "is 300 pixels high and 9 wide; expected 8 to 256",
    ),
    "normalised": (
        {"train.npz": npz(x=IMAGES / 255 - 0.5, y=LABELS)},
        r"own: train.npz/x: x: the values are -0.5 to 0.5; expected",
    ),
    "pickle": ({"train.pkl": b""}, r"own/train.pkl: this is a pickle"),
    "archive": ({**TRAIN, "more.zip": b""}, "own/more.zip: an archive next to others"),
    "link out": (
        {"train/metadata.csv": b"file_name,label\n../../secret.png,0\n"},
        r"'\.\./\.\./secret\.png' is not a file in the folder",
    ),
    "no name": (
        {"train/metadata.csv": b"file_name,label\na\0.png,0\n"},
        r"'a\\x00\.png' is not a file in the folder",
    ),
    "no label column": ({"metadata.csv": b"file_name,text\na,b\n"}, "expected file_name and label"),
    "torn list": (
        {"train/metadata.csv": b"file_name,label\na.png,0\nb.png"},
        "own/train/metadata.csv: rows 1 to 2: CSV parse error: Expected 2 columns",
    ),
    "absent file": (
        {"train/metadata.csv": b"file_name,label\na.png,0\nb.png,1\n"},
        r"(?s)2 faults:.*train/a.png: it does not exist. If DVC tracks it",
    ),
}


def test_a_pipe_is_refused(write: Write) -> None:
    path = write(FORMS["csv"])
    os.mkfifo(path / "metadata.csv")  # to read it would take forever
    with pytest.raises(InputError, match=r"metadata\.csv: this is not a file but a pipe"):
        read(path)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_set_is_refused_by_name(case: str, write: Write) -> None:
    files, reason = REFUSED[case]
    with pytest.raises(InputError, match=reason):
        read(write(files))
