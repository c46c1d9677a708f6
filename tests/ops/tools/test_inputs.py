"""Each kind of input is read into its images; an image that can't be read gets its reason."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digits.core.errors import InputError, Unreachable
from digits.data import array_files, pixels
from digits.imaging import model_form
from digits.imaging.preprocessing import Preprocessing
from digits.storage import filesystem, location
from ops.tools import inputs
from ops.tools.inputs import Chunk, Loaded
from tests.helpers import s3
from tests.helpers.tables import archive, csv_file, npy, npz, parquet, png
from tests.helpers.tables import idx as to_idx

FORM = Preprocessing.parse(
    {
        "size": [8, 8],
        "method": "resize",
        "background": 0,
        "normalisation": {"mean": 0.0, "std": 1.0, "where": "in the graph"},
    }
)
IMAGES = np.random.default_rng(0).integers(0, 128, (25, 8, 8), dtype=np.uint8)  # on a dark ground


def write(url: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        filesystem.write(location.find(url), name, content)


def read_all(text: str) -> list[Loaded]:
    source = inputs.find(text)
    return [inputs.load(source, chunk, FORM) for chunk in inputs.chunks(source)]


def rows(text: str) -> list[tuple[str, bytes | str]]:
    return [
        (path, error or image.tobytes())
        for loaded in read_all(text)
        for path, image, error in zip(loaded.paths, loaded.images, loaded.errors, strict=True)
    ]


MANY = {
    "some.npy": npy(IMAGES),
    "grey.npy": npy(IMAGES[..., None]),
    "t10k-images-idx3-ubyte": to_idx(IMAGES),
    "t10k-images-idx3-ubyte.gz": gzip.compress(to_idx(IMAGES)),
    "files.parquet": parquet(image=[png(i) for i in IMAGES], label=range(25)),
    "hf.parquet": parquet(image=[{"bytes": png(i), "path": "x.png"} for i in IMAGES]),
    "nested.parquet": parquet(image=[i.tolist() for i in IMAGES]),
    "flat.parquet": parquet(image=[i.ravel().tolist() for i in IMAGES]),
}


@pytest.mark.parametrize("name", MANY)
def test_a_file_of_many_images_is_read_in_chunks_of_rows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "ROWS", 10)
    (tmp_path / name).write_bytes(MANY[name])
    path = str(tmp_path / name)
    assert [len(loaded.images) for loaded in read_all(path)] == [10, 10, 5]
    assert rows(path) == [(f"{path}#{i}", image.tobytes()) for i, image in enumerate(IMAGES)]


def test_a_folder_and_a_bucket_hold_the_same(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "FILES", 2)
    files = {f"{i}.png": png(IMAGES[i]) for i in range(5)}
    write(place, {**files, "deep/er/9.png": png(IMAGES[9]), "deep/some.npy": npy(IMAGES[:3])})
    expected = {f"{place}/{i}.png": IMAGES[i].tobytes() for i in range(5)}
    expected |= {f"{place}/deep/some.npy#{i}": IMAGES[i].tobytes() for i in range(3)}
    expected |= {f"{place}/deep/er/9.png": IMAGES[9].tobytes()}
    found = rows(place)
    assert dict(found) == expected
    assert len(found) == len(expected)
    assert dict(rows(f"{place}/*.png")) == {
        f"{place}/{i}.png": IMAGES[i].tobytes() for i in range(5)
    }
    assert [path for path, _ in rows(f"{place}/**/*.npy")] == [
        f"{place}/deep/some.npy#{i}" for i in range(3)
    ]
    assert rows(f"{place}/3.png") == [(f"{place}/3.png", IMAGES[3].tobytes())]


PAGES = {"row_group_size": 300, "use_dictionary": False, "data_page_size": 1, "write_batch_size": 1}


@pytest.mark.parametrize("name", ["some.npy", "some.idx.gz", "some.parquet"])
def test_large_images_are_in_memory_piece_by_piece(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "PIECE_BYTES", 100_000)
    large = np.random.default_rng(0).integers(0, 128, (300, 120, 120), dtype=np.uint8)
    content = {
        "some.npy": lambda: npy(large),
        "some.idx.gz": lambda: gzip.compress(to_idx(large), 0),
        "some.parquet": lambda: parquet(PAGES, image=[png(i) for i in large]),
    }[name]()
    (tmp_path / name).write_bytes(content)
    source = inputs.find(str(tmp_path / name))
    (chunk,) = inputs.chunks(source)
    inputs.load(source, Chunk(chunk.files, 0, 1), FORM)  # imports what it needs
    tracemalloc.start()
    try:
        loaded = inputs.load(source, chunk, FORM)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < large.nbytes / 4
    assert loaded.errors == [None] * 300
    expected = np.stack([model_form.convert(image, FORM) for image in large])
    np.testing.assert_array_equal(loaded.images, expected)


DAMAGED = {
    "text.png": (b"hello", "not an image but 5 bytes of something else"),
    "empty.jpg": (b"", "the image is empty"),
    "cut.png": (png(IMAGES[0])[:60], "truncated"),
    "cut.npy": (npy(IMAGES)[:-1], "truncated: 1,727 bytes"),
    "text.parquet": (b"hello", "not a Parquet file"),
    "labels.npz": (npz(y=np.arange(25)), "the file holds labels, and no images"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_row_with_its_reason(name: str, tmp_path: Path) -> None:
    content, reason = DAMAGED[name]
    write(str(tmp_path), {"a.png": png(IMAGES[1]), name: content, "z.png": png(IMAGES[2])})
    found = dict(rows(str(tmp_path)))
    assert len(found) == 3
    with pytest.raises(InputError, match=reason):
        raise InputError(found[f"{tmp_path}/{name}"])
    assert found[f"{tmp_path}/z.png"] == IMAGES[2].tobytes()


def test_each_row_of_a_truncated_gzip_file_has_the_reason(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3000, 8, 8), dtype=np.uint8)
    (tmp_path / "cut.idx.gz").write_bytes(gzip.compress(to_idx(images))[:-1000])
    found = rows(str(tmp_path))
    assert len(found) == 3000
    assert all("gzip" in str(error) for _, error in found)


def test_a_cell_without_an_image_is_one_row_with_its_reason(tmp_path: Path) -> None:
    cells = [png(IMAGES[0]), None, b"hello"]
    (tmp_path / "some.parquet").write_bytes(parquet(image=cells))
    first, second, third = (value for _, value in rows(str(tmp_path)))
    assert first == IMAGES[0].tobytes()
    assert second == "there is no image"
    assert "5 bytes of something else" in str(third)
    (tmp_path / "some.parquet").write_bytes(parquet(image=[[0] * 60]))
    assert (
        rows(str(tmp_path))[0][1]
        == "the pixels are 60; expected those of a square, or rows of pixels"
    )


@pytest.mark.parametrize(
    ("pixel", "reason"),
    [
        ("1", "the column image is string; expected numbers"),
        (None, "the column image is null; expected numbers"),
        (256, "the values are 0 to 256; expected 0 to 1 or 0 to 255"),
        (-1, "the values are -1 to 0; expected 0 to 1 or 0 to 255. Undo the normalisation"),
    ],
)
def test_pixels_that_are_none_are_refused(pixel: Any, reason: str, tmp_path: Path) -> None:
    cells = np.full((8, 8), type(pixel)(0) if pixel is not None else None).tolist()
    cells[0][0] = pixel
    (tmp_path / "some.parquet").write_bytes(parquet(image=[cells]))
    ((_, found),) = rows(str(tmp_path))
    assert reason in str(found)


FORM_OF_FILES = {
    "fractions.npy": npy((IMAGES / 255).astype(np.float32)),
    "coloured.npy": npy(np.stack([IMAGES / 255] * 3, 1)),
    "some.npz": npz(x=IMAGES, y=np.zeros(25)),
    "some.csv": csv_file(IMAGES, np.zeros(25, int)),
    "some.zip": archive({"a/b.npz": npz(x=IMAGES), "README.txt": b"mine"}),
}


@pytest.mark.parametrize("name", FORM_OF_FILES)
def test_each_row_of_any_form_names_an_image_that_can_be_read_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "ROWS", 10)
    (tmp_path / name).write_bytes(FORM_OF_FILES[name])
    found = [row for row in rows(str(tmp_path / name)) if isinstance(row[1], bytes)]
    assert [pixels for _, pixels in found] == [image.tobytes() for image in IMAGES]
    inside = {"some.npz": "/x", "some.zip": "/a/b.npz/x"}.get(name, "")
    assert [path for path, _ in found] == [f"{tmp_path}/{name}{inside}#{i}" for i in range(25)]
    np.testing.assert_array_equal(inputs.image(found[7][0], FORM), IMAGES[7])
    np.testing.assert_array_equal(inputs.original(found[7][0], FORM), IMAGES[7])


def test_a_file_of_many_images_is_measured_once_until_it_changes(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[pixels.Images] = []
    measure = pixels.measure
    monkeypatch.setattr(
        pixels, "measure", lambda images: measured.append(images) or measure(images)
    )
    write(place, {"some.npy": npy(IMAGES)})
    for i in (3, 1):
        np.testing.assert_array_equal(inputs.image(f"{place}/some.npy#{i}", FORM), IMAGES[i])
    assert len(measured) == 1
    write(place, {"some.npy": npy(IMAGES[:5] / 255)})
    np.testing.assert_array_equal(inputs.image(f"{place}/some.npy#1", FORM), IMAGES[1])
    assert len(measured) == 2


def test_image_files_in_an_archive_have_their_own_names(place: str) -> None:
    files = {"a.png": png(IMAGES[0]), "b.png": b"hello", "d/c.png": png(IMAGES[1])}
    write(place, {"some.zip": archive(files | {"d/metadata.csv": b"file_name,label\nc.png,1\n"})})
    (first, broken, last) = rows(f"{place}/some.zip")
    assert first == (f"{place}/some.zip/a.png", IMAGES[0].tobytes())
    assert broken[0] == f"{place}/some.zip/b.png"
    assert "this is not an image" in str(broken[1])
    assert last == (f"{place}/some.zip/d/c.png", IMAGES[1].tobytes())
    np.testing.assert_array_equal(inputs.image(last[0], FORM), IMAGES[1])
    with pytest.raises(InputError, match=r"no\.png is not in the archive"):
        inputs.image(f"{place}/some.zip/no.png", FORM)


def test_an_archive_without_its_start_is_one_row_with_its_reason(place: str) -> None:
    files = {"a.zip": archive({"a.npy": npy(IMAGES)}), "b.npz": npz(x=IMAGES)}
    write(place, {name: content[50:] for name, content in files.items()})
    found = rows(place)
    assert [path for path, _ in found] == [f"{place}/{name}" for name in files]
    assert all("a part of it would lie before its start" in str(reason) for _, reason in found)


def test_each_row_of_a_file_that_was_replaced_by_a_shorter_one_has_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "ROWS", 4)
    file = tmp_path / "some.parquet"
    file.write_bytes(parquet(image=[png(i) for i in IMAGES[:12]]))
    source = inputs.find(str(file))
    chunks = list(inputs.chunks(source))
    file.write_bytes(parquet(image=[png(i) for i in IMAGES[:5]]))
    found = [inputs.load(source, chunk, FORM) for chunk in chunks]
    assert [loaded.errors for loaded in found] == [[None] * 4] + [[inputs.CHANGED] * 4] * 2
    assert [loaded.images.shape for loaded in found] == [(4, 8, 8)] * 3


def test_a_changed_file_changes_its_chunk(place: str) -> None:
    write(place, {"a.png": b"hello", "some.npy": npy(IMAGES)})
    whole, one = inputs.find(place), inputs.find(f"{place}/a.png")
    before = [list(inputs.chunks(source)) for source in (whole, one)]
    assert [list(inputs.chunks(source)) for source in (whole, one)] == before
    write(place, {"a.png": b"hello again"})
    first, *others = inputs.chunks(whole)
    assert first != before[0][0]
    assert others == before[0][1:]
    assert list(inputs.chunks(one)) != before[1]


def test_a_file_that_is_removed_while_the_batch_runs_is_a_row_with_an_error(
    tmp_path: Path,
) -> None:
    write(str(tmp_path), {"a.png": png(IMAGES[0]), "b.png": png(IMAGES[1])})
    source = inputs.find(str(tmp_path))
    (chunk,) = inputs.chunks(source)
    (tmp_path / "a.png").unlink()
    loaded = inputs.load(source, Chunk.from_json(chunk.to_json()), FORM)
    assert loaded.errors == ["the file is gone", None]


def test_the_name_of_a_row_is_no_pattern(place: str) -> None:
    write(place, {"[1].png": png(IMAGES[1]), "a?.png": png(IMAGES[2])})
    found = dict(rows(place))
    for name, image in (("[1].png", IMAGES[1]), ("a?.png", IMAGES[2])):
        assert found[f"{place}/{name}"] == image.tobytes()
        np.testing.assert_array_equal(inputs.image(f"{place}/{name}", FORM), image)


def test_a_bucket_that_fails_ends_the_batch(bucket: str, s3_proxy: s3.Proxy) -> None:
    write(bucket, {"a.png": png(IMAGES[0])})
    source = inputs.find(bucket)
    (chunk,) = inputs.chunks(source)
    s3_proxy.fail("forbidden")
    with pytest.raises(Unreachable, match="forbidden"):
        inputs.load(source, chunk, FORM)


def test_hidden_files_are_not_read(tmp_path: Path) -> None:
    write(str(tmp_path), {".DS_Store": b"x", ".git/a.png": b"x", "a.png": png(IMAGES[0])})
    assert [path for path, _ in rows(str(tmp_path))] == [f"{tmp_path}/a.png"]


def test_an_input_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        inputs.find("nowhere")
    with pytest.raises(InputError, match="nowhere is not a folder"):
        inputs.find("nowhere/*.png")


@pytest.mark.parametrize("text", ["scans", "scans/**"])
def test_the_operating_systems_files_are_passed_over(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    system = ("Thumbs.db", "desktop.ini", ".DS_Store", "__MACOSX/a.png", "deep/__MACOSX/a/b.png")
    write("scans", {"a.png": png(IMAGES[0]), **{name: b"of the system" for name in system}})
    assert [path for path, _ in rows(text)] == ["scans/a.png"]
