"""Each form of a file of many images: its images, some of them, how they are taken, refusals."""

import gzip
import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from digits.core.errors import InputError
from digits.data import array_files, column_files, pixels, tables
from tests.helpers.tables import IMAGES, LABELS, archive, csv_file, idx, npy, npz, parquet, png

COLUMNS = {f"p{i}": column for i, column in enumerate(IMAGES.reshape(25, -1).T)}
BACKWARDS = {f"p{i}": COLUMNS[f"p{i}"] for i in reversed(range(64))}
FILES = [png(image) for image in IMAGES]
CELLS = [{"bytes": file, "path": "x.png"} for file in FILES]
BINARY = ((IMAGES > 127) * 255).astype(np.uint8)
LARGE = np.tile(IMAGES[0], (8, 8))
COLOURED = np.stack([IMAGES, IMAGES, IMAGES], 1)
FORMS: dict[str, tuple[str, bytes, np.ndarray, str]] = {  # file's name, content, images, words
    "plain": ("a.npy", npy(IMAGES), IMAGES, "bytes as grey levels"),
    "channels last": ("a.npy", npy(IMAGES[..., None]), IMAGES, "channels last; bytes"),
    "channels first": ("a.npy", npy(COLOURED), IMAGES, "25 x 3 x 8 x 8 with the channels first"),
    "rows": ("a.npy", npy(IMAGES.reshape(25, 64)), IMAGES, "rows of 64 pixels as 8 x 8"),
    "one image": ("a.npy", npy(IMAGES[0]), IMAGES[:1], "8 x 8 as one image"),
    "one image as high as wide": ("a.npy", npy(LARGE), LARGE[None], "64 x 64 as one image"),
    "Fortran order": ("a.npy", npy(np.asfortranarray(IMAGES)), IMAGES, "in Fortran order; bytes"),
    "fractions": ("a.npy", npy(IMAGES / 255), IMAGES, "floats in [0, 1], multiplied by 255"),
    "half precision": ("a.npy", npy((IMAGES / 255).astype(np.float16)), IMAGES, "floats in [0, 1]"),
    "floats": ("a.npy", npy(IMAGES.astype(np.float32)), IMAGES, "floats as grey levels"),
    "big-endian integers": ("a.npy", npy(IMAGES.astype(">i8")), IMAGES, "integers as grey levels"),
    "booleans": ("a.npy", npy(IMAGES > 127), BINARY, "booleans, multiplied by 255"),
    "0 and 1": ("a.npy", npy(BINARY // 255), BINARY, "bytes of 0 and 1, multiplied by 255"),
    "npz": ("a.npz", npz(images=IMAGES, labels=LABELS), IMAGES, "bytes"),
    "npz in Fortran order": ("a.npz", npz(x=np.asfortranarray(IMAGES / 255)), IMAGES, "Fortran"),
    "idx": ("t10k-images-idx3-ubyte", idx(IMAGES), IMAGES, "bytes"),
    "idx.gz": ("a.idx.gz", gzip.compress(idx(IMAGES), mtime=0), IMAGES, "bytes"),
    "idx of 4 dimensions": ("a.idx", idx(IMAGES[:, None]), IMAGES, "channels first"),
    "idx of floats": ("a.idx", idx((IMAGES / 255).astype(">f4")), IMAGES, "floats in [0, 1]"),
    "csv": ("train.csv", csv_file(), IMAGES, "the column label is the label; 64 columns as 8 x 8"),
    "csv.gz": ("a.csv.gz", gzip.compress(csv_file(), mtime=0), IMAGES, "integers as grey levels"),
    "csv without labels": ("a.csv", csv_file(labels=None), IMAGES, "no labels; 64 columns"),
    "csv without a header": (
        "a.csv",
        csv_file(names=None),
        IMAGES,
        "the first one is the label",
    ),
    "csv of pixels alone": (
        "a.csv",
        csv_file(labels=None, names=None),
        IMAGES,
        "columns without names; 64",
    ),
    "csv with numbered columns": (
        "a.csv",
        ",".join(map(str, range(65))).encode() + b"\n" + csv_file(names=None),
        IMAGES,
        "the first one is the label",
    ),
    "csv with columns from 1": (
        "a.csv",
        ",".join(map(str, range(1, 65))).encode() + b"\n" + csv_file(labels=None, names=None),
        IMAGES,
        "columns without names; 64",
    ),
    "csv of fractions": ("a.csv", csv_file(IMAGES / 255), IMAGES, "floats in [0, 1]"),
    "csv by Excel": (
        "A.CSV",
        b"\xef\xbb\xbf" + csv_file(delimiter=";").replace(b"\n", b"\r\n\r\n"),
        IMAGES,
        "integers",
    ),
    "parquet of files": ("a.parquet", parquet(image=FILES, label=LABELS), IMAGES, "column image"),
    "parquet by Hugging Face": ("a.parquet", parquet(img=CELLS), IMAGES, "column img; image files"),
    "parquet of bytes": ("a.parquet", parquet(image_bytes=FILES), IMAGES, "column image_bytes"),
    "parquet of lists": ("a.parquet", parquet(image=IMAGES.tolist()), IMAGES, "integers as grey"),
    "parquet of flat fractions": (
        "a.parquet",
        parquet(image=(IMAGES.reshape(25, 64) / 255).tolist()),
        IMAGES,
        "floats in [0, 1]",
    ),
    "parquet of columns": ("a.parquet", parquet(y=LABELS, **COLUMNS), IMAGES, "column y is the"),
    "parquet of sorted columns": ("a.parquet", parquet(**BACKWARDS), IMAGES, "by their numbers"),
    "zip": ("a.zip", archive({"d/a.npz": npz(x=IMAGES), "d/.b": b""}), IMAGES, "bytes"),
    "zip of images": (
        "a.zip",
        archive({f"{i:02}.png": f for i, f in enumerate(FILES)}),
        IMAGES,
        "",
    ),
}


def levels(images: pixels.Images, start: int, end: int) -> np.ndarray:
    """Some images as `ops.predict` and `fetch` turn them into grey levels."""
    scale = pixels.measure(images)
    decoded = [pixels.decode(item, scale)[0] for piece in images.read(start, end) for item in piece]
    return np.stack([image if image.ndim == 2 else image[..., 0] for image in decoded])


@pytest.mark.parametrize("form", FORMS)
def test_each_form_holds_the_same_images_and_says_how_they_are_taken(form: str) -> None:
    name, content, expected, words = FORMS[form]
    assert tables.is_table(name)
    with tables.opened(name, io.BytesIO(content)) as contents:
        (images,) = contents.images
        assert images.count == len(expected)
        np.testing.assert_array_equal(levels(images, 0, len(expected)), expected)
        assert words in pixels.describe(images, pixels.measure(images))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("one image")])
def test_any_range_is_read_in_order_in_pieces_of_any_size(
    form: str, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(array_files, "PIECE_BYTES", 1)
        monkeypatch.setattr(column_files, "CSV_ROWS", 2)
    name, content, expected, _ = FORMS[form]
    with tables.opened(name, io.BytesIO(content)) as contents:
        (images,) = contents.images
        for start, end in ((3, 17), (6, 8), (24, 25)):
            np.testing.assert_array_equal(levels(images, start, end), expected[start:end])
            pieces = [len(piece) for piece in images.read(start, end)]
            assert sum(pieces) == end - start
            assert max(pieces) <= 2 or not small


def test_the_archive_of_keras_has_two_arrays_of_images_by_name() -> None:
    content = npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:9], y_test=LABELS[:9])
    with tables.opened("mnist.npz", io.BytesIO(content)) as contents:
        assert [(i.key, i.count) for i in contents.images] == [("x_train", 25), ("x_test", 9)]
        assert [(i.key, list(i.read())) for i in contents.labels] == [
            ("y_train", LABELS.tolist()),
            ("y_test", LABELS[:9].tolist()),
        ]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *[(name, "train") for name in ("x_train", "trainX", "XTrain", "mnistTrain", "trainset")],
        *[(name, "test") for name in ("testing", "testImages", "testdata", "t10k-images", "Test2")],
        *[(name, "val") for name in ("y_val", "validSet", "validation")],
        *[(name, None) for name in ("latest", "contest", "strain", "testament", "values", "x")],
    ],
)
def test_a_name_says_what_its_images_are_for(name: str, part: str | None) -> None:
    assert array_files.part_of(name) == part


def test_the_names_of_a_class_label_are_its_labels() -> None:
    features = b'{"info": {"features": {"label": {"names": ["a", "b", "c", "d", "e"]}}}}'
    columns = pa.table({"image": FILES, "label": LABELS})
    content = io.BytesIO()
    pq.write_table(columns.replace_schema_metadata({b"huggingface": features}), content)
    with tables.opened("a.parquet", content) as contents:
        labels = contents.images[0].labels
        assert labels is not None
        assert "".join(map(str, labels.read())) == "abcde" * 5


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "npy", "a.npy.png", "a.txt", "parquet"])
def test_other_files_are_no_tables(name: str) -> None:
    assert not tables.is_table(name)


OBJECTS = np.array([1, None])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.npy", npy(IMAGES)[:-1], "truncated: 1,727 bytes; its header states 1,728"),
        ("long.npy", npy(IMAGES) + b"x", "too long: 1,729 bytes; its header states 1,728"),
        ("text.npy", b"hello", "not a NumPy array"),
        ("open.npy", npy(IMAGES).replace(b"}", b" "), "not a NumPy array"),
        ("complex.npy", npy(IMAGES.astype(complex)), "complex128; expected numbers"),
        ("five.npy", npy(IMAGES[None, None]), "1 x 1 x 25 x 8 x 8; expected"),
        ("twice.npy", npy(np.zeros((9, 3, 8, 3), np.uint8)), "channels may be first or last"),
        ("objects.npy", npy(OBJECTS), "Python objects, a pickle.*np.savez"),
        ("pickle.npy", pickle.dumps(IMAGES), "is a pickle.*np.savez"),
        ("mnist.pkl.gz", b"", "a pickle, which is not read.*np.savez"),
        ("objects.npz", npz(x=IMAGES, y=OBJECTS), "y is an array of Python objects, a pickle"),
        ("two.npz", npz(a=IMAGES, b=IMAGES), r"a, b may all be images: a \(uint8, 25 x 8 x 8\)"),
        ("empty.npz", npz(), "the file holds no arrays; expected one of images"),
        ("text.npz", b"hello", "not a ZIP archive"),
        ("cut.idx", idx(IMAGES)[:-1], "truncated"),
        ("text.idx", b"hello", "magic number is 0x68656c6c"),
        ("cut.idx.gz", gzip.compress(idx(IMAGES), mtime=0)[:20], "gzip"),
        ("text.csv", b"hello\nworld\n", "the first line is 'hello'; expected CSV"),
        ("binary.csv", b"\xff\xfe1,2", "not text in UTF-8"),
        ("mac.csv", csv_file().replace(b"\n", b"\r"), r"not CSV: .*Lines must end with \\n"),
        ("few.csv", b"id,label\n1,2\n", r"columns are id, label \(no pixels\); expected"),
        (
            "odd.csv",
            csv_file(IMAGES[:, 1:]),
            r"label, pixel0.* more \(56 without label and index\)",
        ),
        ("two.csv", b"label,y," + csv_file()[6:], "the columns label, y may all be the label"),
        ("cut.csv.gz", gzip.compress(csv_file(), mtime=0)[:200], "gzip"),
        ("text.parquet", b"hello", "not a Parquet file"),
        ("paths.parquet", parquet(image=["a.png"]), "the column image is string; expected image f"),
        ("columns.parquet", parquet(picture=["a"]), "columns are picture.*expected a column of im"),
        ("text.zip", b"hello", "not a ZIP archive"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(name: str, content: bytes, reason: str) -> None:
    with (
        pytest.raises(InputError, match=reason),
        tables.opened(name, io.BytesIO(content)) as contents,
    ):
        assert contents.images == ()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npz", npz(x_test=(IMAGES / 255 - 0.13) / 0.31), "x_test: the values are -0.41.*std"),
        (
            "a.npy",
            npy(np.where(IMAGES == 255, np.nan, IMAGES)),
            "missing, NaN or infinite in image [0-9]; ex",
        ),
        ("a.npy", npy(IMAGES / 255 * 1.0001), r"the values are 0 to 1\.0001; .*Clip them to 1"),
        ("a.npy", npy(IMAGES.astype(int) * 257), "the values are 0 to 65535; expected 0 to 1 or"),
        ("a.csv", csv_file() + b"1,2,3\n", "rows 1 to 26: CSV parse error: Expected 65 columns"),
        ("a.csv", csv_file().replace(b"255", b"x", 1), "rows 1 to 25: .*invalid value 'x'"),
        ("a.csv", csv_file().replace(b"255", b"", 1), "a value is missing.* in image 0; ex"),
        ("a.parquet", parquet(image=[[[0] * 8] * 7 + [[None] * 8]]), "a value is missing"),
        ("a.parquet", parquet(image=(IMAGES.astype(int) - 1).tolist()), "the values are -1 to 254"),
    ],
)
def test_values_that_can_be_no_pixels_are_refused(name: str, content: bytes, reason: str) -> None:
    with (
        pytest.raises(InputError, match=reason),
        tables.opened(name, io.BytesIO(content)) as contents,
    ):
        pixels.measure(contents.images[0])


def test_a_file_in_an_archive_that_cannot_be_read_is_one_image_with_its_reason() -> None:
    files = {"a.npy": npy(IMAGES), "sub.csv": b"id,label\n1,2\n", "inner.zip": archive({})}
    with tables.opened("a.zip", io.BytesIO(archive(files))) as contents:
        assert [(i.key, i.count) for i in contents.images] == [
            ("a.npy", 25),
            ("inner.zip", 1),
            ("sub.csv", 1),
        ]
        with pytest.raises(InputError, match="no pixels"):
            list(contents.find("sub.csv").read(0, 1))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("d/mnist.npz/x_train", ("d/mnist.npz", "x_train")),
        ("a.zip/b.npz/x", ("a.zip", "b.npz/x")),
        ("d/a.npy", ("d/a.npy", "")),
        ("a.zip", ("a.zip", "")),
    ],
)
def test_the_path_of_an_image_is_divided_at_its_archive(
    path: str, expected: tuple[str, str]
) -> None:
    assert tables.split(path) == expected
