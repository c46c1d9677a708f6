from pathlib import Path

import numpy as np
import pytest

from digits.core.errors import InputError
from digits.data import image_folder
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


def test_a_folder_that_is_no_data_set_is_refused_by_name(own: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            image_folder.read(own, None)

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
        image_folder.read(own, None)
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
        image_folder.read(own, None)
    lines = str(refusal.value).splitlines()
    assert lines[0].endswith("has 25 faults:")
    assert lines[20].startswith(f"  {own}/train/bar/00019.png: this is not an image")
    assert lines[21] == "  and 5 more"
    assert lines[22].startswith("  Restore each file that can't be read")
    assert len(lines) == 23


def test_the_operating_systems_files_are_passed_over(own: Path) -> None:
    expected = image_folder.read(own, None)
    for folder in (own / "train", own / "train" / "box", own / "test", own / "test" / "box"):
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._00000.png", "Icon\r"):
            (folder / name).write_bytes(b"of the system")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._00000.png").write_bytes(b"of the system")
    assert image_folder.read(own, None).source == expected.source


def test_one_class_is_none(tmp_path: Path) -> None:
    (tmp_path / "train" / "box").mkdir(parents=True)
    with pytest.raises(InputError, match=r"train has 1 class \(box\); expected 2 to 256"):
        image_folder.read(tmp_path, None)


def test_images_too_large_for_a_network_want_a_size(own: Path) -> None:
    shapes.draw("bar", 0, scale=9).save(own / "train" / "bar" / "00000.png")
    with pytest.raises(InputError, match=r"00000\.png is 288 pixels high and 216 .* data\.size"):
        image_folder.read(own, None)
    for part in ("train", "test"):
        for file in (own / part).rglob("*.*"):
            shapes.draw(file.parent.name, 0, scale=9).save(file)
    with pytest.raises(
        InputError,
        match=r"288 pixels high and 216 wide \(as are 59 others\); expected 8 to 256\. To",
    ):
        image_folder.read(own, None)
