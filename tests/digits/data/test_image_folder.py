import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits.core.errors import InputError
from digits.data import image_folder, image_reader
from digits.data.dataset import Raw
from digits.imaging import model_form
from tests.helpers import shapes


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of twelve classes, three and two images each."""
    shapes.write_shapes(tmp_path / "own", train=3, test=2)
    return tmp_path / "own"


def test_a_folder_is_read_by_class_in_grey(own: Path) -> None:
    (own / "train" / "box" / ".DS_Store").touch()
    raw = image_folder.read(own, None)
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
    before = image_folder.read(own, None)
    assert image_folder.read(own, None).source.digests == before.source.digests
    shapes.draw("box", 99).save(own / "train" / "box" / "one-more.png")
    after = image_folder.read(own, None)
    assert after.source.digests["train"] != before.source.digests["train"]
    assert after.source.digests["test"] == before.source.digests["test"]


def test_images_of_any_size_are_fitted_where_one_is_named(own: Path) -> None:
    shapes.draw("box", 3, scale=5, paper="white").save(own / "train" / "box" / "light.png")
    with pytest.raises(
        InputError, match=r"light\.png is 160 pixels high and 120 wide; .*data\.size"
    ):
        image_folder.read(own, None)
    raw = image_folder.read(own, (16, 16))
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
    raw = image_folder.read(own, size)
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


@pytest.mark.parametrize("strange", [None, "train", "test"])
def test_images_of_mnists_form_are_known_in_image_files_too(
    strange: str | None, tmp_path: Path, uci: Raw
) -> None:
    """If one image has another form, all have: it would be served in another one than tested."""
    for part, images in (("train", uci.train), ("test", uci.test)):
        for i, image in enumerate(images.images[:40]):
            path = tmp_path / part / str(images.labels[i]) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image // 2 + 20 if (part, i) == (strange, 5) else image).save(path)
    raw = image_folder.read(tmp_path, None)
    assert raw.source.method == ("resize" if strange else "ink-box")
    assert (image_reader.INK_BOX in raw.notes) == (strange is None)


Spoil = Callable[[Path], object]


def move(source: str, target: str) -> Spoil:
    return lambda own: (own / source).rename(own / target)


def write(name: str, content: bytes = b"hello") -> Spoil:
    return lambda own: (own / name).write_bytes(content)


def link(name: str, target: str) -> Spoil:
    return lambda own: (own / name).symlink_to(target)


def two_forms(own: Path) -> None:
    for form in ("NFC", "NFD"):
        shutil.copytree(own / "train" / "box", own / "train" / unicodedata.normalize(form, "é"))


def many_classes(own: Path) -> None:
    for i in range(257):
        shutil.copytree(own / "train" / "box", own / "train" / f"{i}")


SPOILT: dict[str, tuple[Spoil, str]] = {
    "no image": (
        write("train/box/a.png"),
        r"train/box/a\.png: this is not an image but 5 bytes of something else",
    ),
    "a large file": (
        lambda own: os.truncate(own / "train" / "box" / "00000.png", 5 << 30),
        r"00000\.png: the image has 5,368,709,120 bytes; expected at most 33,554,432",
    ),
    "a pipe": (
        lambda own: os.mkfifo(own / "train" / "box" / "a.png"),
        r"a\.png: this is not a file but a pipe",
    ),
    "a device": (link("train/box/a.png", "/dev/zero"), r"a\.png: this is not a file but a pipe"),
    "a cycle of links": (
        lambda own: (link("train/box/a", "../bar")(own), link("train/bar/b", "../box")(own)),
        r"train/box/a/b is a link to a folder that contains it",
    ),
    "a link to itself": (link("train/box/a.png", "a.png"), "can't be read: Too many levels of sym"),
    "a file among the classes": (
        write("train/labels.csv"),
        r"train/labels\.csv is a file; expected only a folder for each class",
    ),
    "a dangling class": (link("train/a", "/nowhere"), "train/a is a link to something that does"),
    "an empty class": (
        lambda own: [(own / p / "void").mkdir() for p in ("train", "test")],
        "test/void holds no",
    ),
    "another class": (
        move("test/ring", "test/rung"),
        r"train lacks classes of test/: rung; it has bar, .*\n.*test lacks classes of train/: ring",
    ),
    "too many classes": (many_classes, r"has 269 classes \(0, 1, .* and 249 more\); expected 2 to"),
    "one class in two forms": (two_forms, r"train/é is there twice.*: as '\\xe9' and 'e\\u0301'"),
    "a class with a line end": (
        move("train/box", "train/b\nox"),
        r"is a class named 'b\\nox'; exp",
    ),
    "a class with a blank": (move("train/box", "train/box "), r"is a class named 'box '; expected"),
    "a class that is not UTF-8": (
        move("train/box", "train/\udcff"),
        r"is a class named '\\udcff'; expected a name that can be printed",
    ),
    "names with control characters": (
        lambda own: (write("train/box/a\nb.png")(own), write("train/box/\udcff\x1b.png")(own)),
        r"train/box/a\\nb\.png: this is(.*\n)+.*train/box/\\udcff\\x1b\.png: this is",
    ),
    "one part": (
        move("test", "testing"),
        r"own has no folder test/; it has .*/testing; expected a folder with train/<class>/ and t",
    ),
    "parts in capitals": (
        lambda own: (move("train", "Trainset")(own), move("test", "Testing")(own)),
        r"own has no folder train/ nor test/; it has .*/Testing, .*/Trainset; expected",
    ),
    "only one folder": (
        lambda own: (shutil.rmtree(own / "test"), move("train", "shapes")(own)),
        r"own has 1 class \(shapes\); expected 2 to 256, one folder for each",
    ),
    "no folder": (lambda own: shutil.rmtree(own), r"own does not exist; expected .*dvc checkout"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_no_data_set_has_is_refused_by_name(kind: str, own: Path) -> None:
    spoil, message = SPOILT[kind]
    spoil(own)
    with pytest.raises(InputError, match=message) as refusal:
        image_folder.read(own, None)
    assert all(line.isprintable() for line in str(refusal.value).splitlines())


def test_all_faults_of_a_folder_are_named_at_once_with_advice_for_each_kind(own: Path) -> None:
    box = own / "train" / "box"
    image = (own / "train" / "bar" / "00000.png").read_bytes()
    (own / "train" / "labels.csv").touch()
    (own / "test" / "labels.csv").touch()
    (own / "test" / "ring").rename(own / "test" / "rung")
    (box / "empty.png").touch()
    (box / "cut.png").write_bytes(image[:90])
    (box / "notes.txt").write_text("drawn by hand")
    (box / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (box / "gone.png").symlink_to("/nowhere/image.png")
    shapes.draw("box", 3, scale=2).save(box / "large.png")
    with pytest.raises(InputError) as refusal:
        image_folder.read(own, None)
    lines = str(refusal.value).replace(f"{own}/", "").splitlines()
    assert lines[0] == f"{own} has 10 faults:"
    expected = [
        "train/labels.csv is a file; expected only a folder for each class",
        "test/labels.csv is a file; expected only a folder for each class",
        "=> Move anything but images",
        "train lacks classes of test/: rung; it has bar, box,",
        "test lacks classes of train/: ring; it has bar, box,",
        "=> Each class needs images in train/ and others in test/",
        "train/box/cut.png: the image is truncated",
        "train/box/empty.png: the image is empty: 0 bytes",
        "train/box/gone.png: it is a link to something that does not exist. If DVC tracks it:",
        "train/box/lfs.png: this is Git LFS's pointer to an image. Fetch the image: git lfs pull",
        "train/box/notes.txt: this is not an image but 13 bytes of",
        "=> Restore each file",
        "train/box/large.png is 64 pixels high and 48 wide; most images are 32 and 24",
        "=> To fit all images into one size, set data.size, for example to [32, 24]",
    ]
    for line, start in zip(lines[1:], expected, strict=True):
        assert line.startswith(f"  {start}")


def test_many_faults_of_a_kind_are_counted_and_hide_no_other_kind(own: Path) -> None:
    for i in range(45):
        (own / "train" / "bar" / f"{i:05}.png").write_bytes(b"hello")
    shapes.draw("ring", 3, scale=2).save(own / "train" / "ring" / "large.png")
    with pytest.raises(InputError) as refusal:
        image_folder.read(own, None)
    lines = str(refusal.value).splitlines()
    assert lines[0].endswith("has 46 faults:")
    assert lines[40].startswith(f"  {own}/train/bar/00039.png: this is not an image")
    assert lines[41] == "  and 5 more"
    assert lines[42].startswith("  => Restore each file that can't be read")
    assert lines[43].startswith(f"  {own}/train/ring/large.png is 64 pixels high")
    assert len(lines) == 45


def test_images_lie_as_deep_as_their_owner_likes_under_any_name(own: Path, tmp_path: Path) -> None:
    """Nested, behind links, with the ending of another format: the same images in the end."""
    before = image_folder.read(own, None)
    box, disc = own / "train" / "box", own / "test" / "disc"
    (box / "session 1" / "x").mkdir(parents=True)
    (box / "00000.png").rename(box / "session 1" / "x" / "a.JPG")
    disc.rename(tmp_path / "elsewhere")
    disc.symlink_to(tmp_path / "elsewhere")
    (own / "train" / "bar" / "00000.png").rename(tmp_path / "bar.png")
    (own / "train" / "bar" / "00000.png").symlink_to(tmp_path / "bar.png")
    (own / "val").mkdir()
    (own / "test" / "ring").rename(own / "test" / "old")
    (own / "test" / "old").rename(own / "test" / "ring")
    after = image_folder.read(own, None)
    assert sorted(i.tobytes() for i in after.train.images) == sorted(
        i.tobytes() for i in before.train.images
    )
    np.testing.assert_array_equal(after.test.images, before.test.images)
    np.testing.assert_array_equal(after.train.labels, before.train.labels)
    assert [note.replace(f"{own}/", "") for note in after.notes] == [
        "read as images of their class, within its folder (2): train/box/session 1, "
        "train/box/session 1/x",
        "not read, next to train/ and test/ (1): val",
    ]


def test_of_folders_of_classes_alone_some_images_are_set_apart_to_test_on(own: Path) -> None:
    divided = image_folder.read(own, None)
    shutil.rmtree(own / "test")
    for folder in (own / "train").iterdir():
        folder.rename(own / folder.name)
    (own / "train").rmdir()
    raw = image_folder.read(own, None)
    assert raw.source.classes == divided.source.classes
    assert raw.train.labels.tolist() == [k for k in range(12) for _ in range(2)]
    assert raw.test.labels.tolist() == list(range(12))
    assert sorted(i.tobytes() for i in (*raw.train.images, *raw.test.images)) == sorted(
        i.tobytes() for i in divided.train.images
    )
    assert raw.notes == (
        "no folders train/ and test/: 12 were set apart, one of 7 of each class, to test on",
    )
    first = own / "box" / "00000.png"
    for file in (own / "box").iterdir():
        shutil.copy(first, file) if file != first else None
    with pytest.raises(InputError, match=r"own: no image to test on can be set apart of box: it"):
        image_folder.read(own, None)


def test_a_class_is_the_same_in_either_form_of_unicode(own: Path) -> None:
    for part, form in (("train", "NFC"), ("test", "NFD")):
        (own / part / "box").rename(own / part / unicodedata.normalize(form, "é"))
    assert image_folder.read(own, None).source.classes[-1] == "é"


WSL = ".png:Zone.Identifier"  # of a file that Windows downloaded


def test_the_operating_systems_files_are_passed_over(own: Path) -> None:
    expected = image_folder.read(own, None)
    for folder in (own / "train", own / "train" / "box", own / "test", own / "test" / "box"):
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", "Icon\r", f"1{WSL}"):
            (folder / name).write_bytes(b"of the system")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._00000.png").write_bytes(b"of the system")
    raw = image_folder.read(own, None)
    assert raw.source == expected.source
    assert expected.notes == ()
    assert raw.notes[0].startswith("passed over, hidden or the operating system's (28): ")


def test_a_part_of_files_alone_is_one_fault_that_names_the_list_that_is_read(own: Path) -> None:
    shutil.rmtree(own / "train")
    (own / "train").mkdir()
    for name in ("0.png", "1.png", "metadata.jsonl"):
        (own / "train" / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"^\S+train holds no folders; .* with a metadata\.csv"):
        image_folder.read(own, None)


def test_one_class_is_none(tmp_path: Path) -> None:
    (tmp_path / "train" / "box").mkdir(parents=True)
    with pytest.raises(InputError, match=r"train has 1 class \(box\); expected 2 to 256"):
        image_folder.read(tmp_path, None)


@pytest.mark.parametrize("scale", [9, 16, 40])  # from 16 on, decoding reduces the image
def test_images_too_large_for_a_network_want_a_size(scale: int, own: Path) -> None:
    shapes.draw("bar", 0, scale).save(own / "train" / "bar" / "00000.png")
    sides = f"{scale * shapes.HEIGHT:,} pixels high and {scale * shapes.WIDTH:,} wide"
    with pytest.raises(InputError, match=rf"00000\.png is {sides}; most .* data\.size"):
        image_folder.read(own, None)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_size_is_the_upright_images_own(orientation: int, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("bar", "box"):
            (tmp_path / part / name).mkdir(parents=True)
            image = shapes.draw(name, 0, scale=16)
            exif = image.getexif()
            exif[0x112] = orientation
            image.save(tmp_path / part / name / "a.jpg", exif=exif)
    sides = (512, 384) if orientation == 1 else (384, 512)
    message = "is {} pixels high and {} wide \\(as are 3 others\\); expected 8 to 256. To fit"
    with pytest.raises(InputError, match=message.format(*sides)):
        image_folder.read(tmp_path, None)
    assert image_folder.read(tmp_path, (32, 24)).train.images.shape == (2, 32, 24)
