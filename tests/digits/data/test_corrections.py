"""A correction is trained on once, and never if it is a test image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from digits.core.errors import InputError
from digits.data import corrections
from digits.data.dataset import Labelled, Raw, Source

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 128, (9, 8, 8), dtype=np.uint8)
PART = Labelled(IMAGES[:4], np.array([0, 1, 0, 1], np.uint8))
TEST = Labelled(IMAGES[4:6], np.array([0, 1], np.uint8))
RAW = Raw(Source("test", ("a", "b"), {}, "resize"), PART, TEST)
SIZE = (8, 8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "corrections.csv").write_text("sha256,label,origin\n")
    return tmp_path / "corrections.csv"


def add(path: Path, train: Labelled = PART) -> corrections.Added:
    return corrections.add(train, corrections.load(path, SIZE), RAW)


def test_without_corrections_the_images_are_unchanged(path: Path) -> None:
    assert add(path).train is PART


def test_corrections_are_trained_on(path: Path) -> None:
    given = [(IMAGES[6], "b", "scans/x.png"), (IMAGES[7], "a", "s.npy#3")]
    assert corrections.write(path, given) == (2, 2)
    found = add(path, PART.take(np.array([0, 2]))).train
    assert len(found) == 4
    pairs = zip(found.images[2:], found.labels[2:], strict=True)
    assert {(image.tobytes(), label) for image, label in pairs} == {
        (IMAGES[6].tobytes(), 1),
        (IMAGES[7].tobytes(), 0),
    }


def test_to_add_twice_adds_once_in_whatever_order(path: Path, tmp_path: Path) -> None:
    given = [(IMAGES[6], "b", "x.png"), (IMAGES[7], "a", "y.png")]
    corrections.write(path, given)
    before = path.read_bytes()
    assert corrections.write(path, [*given, (IMAGES[6], "b", "copy.png")]) == (0, 2)
    assert path.read_bytes() == before
    other = tmp_path / "other.csv"
    other.write_text("sha256,label,origin\n")
    for each in reversed(given):
        corrections.write(other, [each])
    assert other.read_bytes() == before


def test_neither_a_test_image_nor_a_known_one_is_trained_on(path: Path) -> None:
    """Whatever its label, a test image may not be trained on."""
    given = [(IMAGES[4], "b", "t.png"), (IMAGES[1], "b", "v.png"), (IMAGES[8], "a", "n.png")]
    corrections.write(path, given)
    found = add(path, PART.take(np.array([0, 2, 3])))  # 1 validates
    assert (found.used, found.known, found.test) == (1, 1, 1)
    assert found.train.images[-1].tobytes() == IMAGES[8].tobytes()


def test_conflicting_labels_name_the_file_and_change_nothing(path: Path) -> None:
    corrections.write(path, [(IMAGES[6], "b", "x.png")])
    before = path.read_bytes()
    with pytest.raises(
        InputError, match=r"y\.png is labelled 'a', but .* 'b' \(x\.png\)\. Leave one out; earlier"
    ):
        corrections.write(path, [(IMAGES[8], "a", "z.png"), (IMAGES[6], "a", "y.png")])
    assert path.read_bytes() == before
    assert len(list(path.with_suffix("").iterdir())) == 1
    path.write_text(path.read_text() + path.read_text().splitlines()[1].replace(",b,", ",a,"))
    with pytest.raises(InputError, match=r"\.csv, line 3 is labelled 'a', .*Remove one of the two"):
        corrections.read(path)


def test_a_label_against_a_training_image_names_both(path: Path) -> None:
    corrections.write(path, [(IMAGES[1], "a", "x.png")])
    with pytest.raises(InputError, match=r"x\.png .* is labelled 'a', but training image 1 .* 'b'"):
        add(path)


def test_an_image_for_other_data_is_refused(path: Path) -> None:
    corrections.write(path, [(IMAGES[6], "c", "x.png")])
    with pytest.raises(InputError, match=r"x\.png .* is labelled 'c'; expected one of: a, b"):
        add(path)
    with pytest.raises(InputError, match=r"\.png has 8 x 8 pixels, but .* data\.source have 28"):
        corrections.load(path, (28, 28))


def test_an_image_that_is_absent_or_another_one_is_named(path: Path) -> None:
    corrections.write(path, [(IMAGES[6], "b", "x.png")])
    [picture] = path.with_suffix("").iterdir()
    content = picture.read_bytes()
    picture.unlink()
    for refuse in (add, corrections.check_images_exist):
        with pytest.raises(InputError, match=rf"{picture.name} does not exist"):
            refuse(path)
    picture.write_bytes(content[:60])
    with pytest.raises(InputError, match=rf"{picture.name}: the image is truncated"):
        add(path)
    corrections.write(path, [(IMAGES[7], "b", "y.png")])
    other = next(file for file in path.with_suffix("").iterdir() if file != picture)
    picture.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match=rf"{picture.name} is not the image that was labelled"):
        add(path)


def test_a_line_is_written_after_its_image(path: Path) -> None:
    """Else a full disk would leave a line whose image is nowhere."""
    before = path.read_bytes()
    path.with_suffix("").write_text("in the way")
    with pytest.raises(FileExistsError):
        corrections.write(path, [(IMAGES[6], "b", "x.png")])
    assert path.read_bytes() == before


def test_the_name_of_a_stored_image_never_changes() -> None:
    """Git has these names: of another one, an image would not be the one that was labelled."""
    expected = "cc17d569d72ced159ac6fff9e562e34d42d977be384ac9b4745959ca00e17529"
    assert corrections.image_digest(np.arange(6, dtype=np.uint8).reshape(2, 3)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the first line is empty; expected columns sha256, label, origin"),
        ("path,label\n", r"the first line is path, label; expected columns sha256"),
        ("sha256,label,origin\na,b\n", r"line 2: expected 3 fields"),
    ],
)
def test_a_file_that_is_no_such_table_is_named(text: str, message: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        corrections.read(path)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("7", "7"),
        ("7.0", "7"),
        (" 7\t", "7"),
        ("+7.", "7"),
        ("7e0", "7"),
        ("3.0", "03"),  # a folder's name that pandas read as a number
        ("box ", "box"),
        ("7.5", None),
        ("1_0", None),
        ("10.0", None),  # 10 and 010 are both classes
        ("10", "10"),
        ("nan", None),
        ("inf", None),
        ("", None),
    ],
)
def test_a_label_that_equals_a_class_as_a_number_is_that_class(
    label: str, expected: str | None
) -> None:
    assert corrections.find_class(label, ("7", "03", "box", "10", "010")) == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_may_separate_the_fields_otherwise(delimiter: str, path: Path) -> None:
    path.write_text("Path,Label\r\na.png,7\r\n".replace(",", delimiter))
    assert corrections.rows(path, ("path", "label")) == [{"path": "a.png", "label": "7"}]


def test_corrections_that_went_through_pandas_are_the_same_corrections(path: Path) -> None:
    raw = replace(RAW, source=replace(RAW.source, classes=("0", "1")))
    corrections.write(path, [(IMAGES[6], "1", "x.png"), (IMAGES[1], "1", "y.png")])
    path.write_text(path.read_text().replace(",1,", ",1.0 ,").replace("label", " label"))
    assert corrections.write(path, [(IMAGES[6], "1", "x.png")]) == (0, 2)
    added = corrections.add(PART, corrections.load(path, SIZE), raw)
    assert (added.used, added.known) == (1, 1)
    assert added.train.labels[-1] == 1
    with pytest.raises(InputError, match=r"labelled '0', but .* already labelled '1\.0 '"):
        corrections.write(path, [(IMAGES[6], "0", "x.png")])
