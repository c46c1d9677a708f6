"""The difference between two data sets, on a few images and on random ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.core.errors import InputError
from digits.data import dataset, difference
from digits.data.dataset import Labelled, Source
from digits.data.difference import Difference, Prepared

SOURCE = Source("toy", ("a", "b", "c"), {"train-images": "0" * 64}, "resize")
Rows = list[tuple[int, str]]  # a grey level, which stands for the image, and its label


def prepared(**splits: Rows) -> Prepared:
    return Prepared(
        SOURCE,
        {
            name: Labelled(
                np.array([np.full((2, 3), level) for level, _ in rows], np.uint8).reshape(-1, 2, 3),
                np.array([SOURCE.classes.index(label) for _, label in rows], np.uint8),
            )
            for name, rows in splits.items()
        },
    )


def compare(before: Prepared, after: Prepared) -> Difference:
    return difference.compare(difference.images(before), difference.images(after))


def test_each_image_that_differs_is_in_one_list() -> None:
    before = prepared(train=[(1, "a"), (2, "a"), (3, "b"), (4, "c")], val=[(5, "b"), (6, "c")])
    after = prepared(train=[(7, "b"), (4, "c"), (3, "c"), (5, "b")], val=[(1, "c"), (6, "c")])
    found = compare(before, after)
    assert [(i.split, i.index, i.label) for i in found.added] == [("train", 0, "b")]
    assert [(i.split, i.index, i.label) for i in found.removed] == [("train", 1, "a")]
    assert [(a.label, b.label, a.split, b.split) for a, b in found.relabelled] == [
        ("b", "c", "train", "train"),
        ("a", "c", "train", "val"),
    ]
    assert [(a.split, b.split) for a, b in found.moved] == [("val", "train")]
    assert found.sentence == "1 image added, 1 removed, 2 relabelled, 1 moved to another split"
    assert found.groups == [
        ("added", "train", "b", 1),
        ("removed", "train", "a", 1),
        ("relabelled", "train", "b → c", 1),
        ("relabelled", "train → val", "a → c", 1),
        ("moved", "val → train", "b", 1),
    ]
    assert before.pixels(found.removed[0]).max() == 2


def test_the_order_of_the_images_is_no_difference() -> None:
    before = prepared(train=[(1, "a"), (2, "b"), (1, "a")], test=[])
    after = prepared(train=[(2, "b"), (1, "a"), (1, "a")], test=[])
    assert not compare(before, after)
    assert compare(before, after).sentence == "no image differs"


def test_a_second_copy_of_an_image_counts() -> None:
    once, twice = prepared(train=[(1, "a")]), prepared(train=[(1, "a"), (1, "a")])
    assert [i.index for i in compare(once, twice).added] == [1]
    assert [i.index for i in compare(twice, once).removed] == [1]  # the first one stays
    # Of two copies, the one in the same split stays, and only the other one has moved.
    spread = prepared(train=[(1, "a")], val=[(1, "a")])
    assert compare(twice, spread).groups == [("moved", "train → val", "a", 1)]


def test_images_of_another_size_are_others() -> None:
    flat = Labelled(np.zeros((1, 2, 8), np.uint8), np.zeros(1, np.uint8))
    tall = Labelled(np.zeros((1, 8, 2), np.uint8), np.zeros(1, np.uint8))
    found = compare(Prepared(SOURCE, {"train": flat}), Prepared(SOURCE, {"train": tall}))
    assert (len(found.added), len(found.removed)) == (1, 1)


rows = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=6)


@given(rows, rows, rows, rows)
def test_the_lists_lead_from_one_data_set_to_the_other(
    train: Rows, val: Rows, new_train: Rows, new_val: Rows
) -> None:
    before, after = prepared(train=train, val=val), prepared(train=new_train, val=new_val)
    found = compare(before, after)

    def places(images: list[difference.Image]) -> Counter[tuple[str, str, str]]:
        return Counter((i.digest, i.split, i.label) for i in images)

    pairs = found.relabelled + found.moved
    left = places(difference.images(before)) - places(found.removed + [old for old, _ in pairs])
    assert left + places(found.added + [new for _, new in pairs]) == places(
        difference.images(after)
    )
    assert all(old.digest == new.digest for old, new in pairs)
    assert all(old.label != new.label for old, new in found.relabelled)
    assert all((old.label, old.split != new.split) == (new.label, True) for old, new in found.moved)
    # No image is both added and removed.
    assert not {i.digest for i in found.added} & {i.digest for i in found.removed}


def test_repeated_images_are_together() -> None:
    data = prepared(train=[(1, "a"), (2, "b")], test=[(1, "b"), (3, "c")])
    (same,) = difference.repeated(difference.images(data))
    assert [(image.split, image.label) for image in same] == [("train", "a"), ("test", "b")]


def test_a_prepared_folder_is_read_with_its_splits_in_order(tmp_path: Path) -> None:
    data = prepared(train=[(1, "a"), (1, "c")], val=[(2, "b")], test=[(3, "c")])
    dataset.save(tmp_path, SOURCE, dict(data.splits))
    read = Prepared.load(tmp_path)
    assert list(read.splits) == ["train", "val", "test"]
    assert read.counts["c"] == {"train": 1, "val": 0, "test": 1}
    assert not compare(read, data)
    (tmp_path / "val-labels.npy").unlink()
    with pytest.raises(InputError, match=r"val-labels.npy does not exist"):
        Prepared.load(tmp_path)
