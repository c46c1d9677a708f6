from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.core.errors import InputError
from digits.data import dataset
from digits.data.dataset import Labelled, Raw, Source


def raw(labels: list[int], images: np.ndarray | None = None) -> Raw:
    if images is None:
        images = np.arange(len(labels) * 4, dtype=np.uint8).reshape(-1, 2, 2)
    part = Labelled(images, np.array(labels, np.uint8))
    return Raw(Source("test", ("a", "b"), {}, "resize"), part, part)


def test_a_saved_data_set_is_loaded(tmp_path: Path) -> None:
    given = raw([0, 1, 1])
    dataset.save(tmp_path, given.source, {"train": given.train, "test": given.test})
    found = dataset.load_raw(tmp_path)
    assert found.source == given.source
    np.testing.assert_array_equal(found.train.images, given.train.images)
    np.testing.assert_array_equal(found.test.labels, given.test.labels)


def test_an_absent_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train-images\.npy does not exist"):
        dataset.load(tmp_path, "train")
    (tmp_path / "train-images.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"train-images\.npy is not a NumPy array"):
        dataset.load(tmp_path, "train")
    (tmp_path / "source.json").write_text("{}")
    with pytest.raises(InputError, match=r"source\.json is not the description"):
        dataset.load_source(tmp_path)


def test_good_arrays_pass() -> None:
    dataset.check(raw([0, 1, 1]), max_class_ratio=2)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (raw([0, 1, 2]), "train: label 2; expected 0 to 1"),
        (raw([0, 0, 0]), "3 images of class a, but 0 of class b"),
        (raw([0, 1, 1, 1]), "3 images of class b, but 1 of class a; expected at most 2"),
        (raw([0, 1], np.zeros((2, 4), np.uint8)), r"shapes \(2, 4\), \(2,\); expected"),
        (raw([0, 1], np.zeros((3, 2, 2), np.uint8)), "3 images, but 2 labels"),
        (raw([0, 1], np.zeros((2, 2, 2), np.float32)), "dtypes float32, uint8; expected uint8"),
        (raw([], np.zeros((0, 2, 2), np.uint8)), r"shapes \(0, 2, 2\)"),
    ],
)
def test_arrays_that_cannot_be_the_data_set_are_refused(bad: Raw, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataset.check(bad, max_class_ratio=2)


def test_both_parts_that_are_unbalanced_are_named_at_once() -> None:
    bad = replace(raw([0, 1, 1, 1]), test=raw([0, 0, 0, 1]).train)
    with pytest.raises(InputError, match=r"train: 3 images of class b.*; test: 3 images of"):
        dataset.check(bad, max_class_ratio=2)


def test_images_of_two_sizes_are_refused() -> None:
    bad = replace(raw([0, 1]), test=raw([0, 1], np.zeros((2, 3, 3), np.uint8)).train)
    with pytest.raises(InputError, match=r"test: images of \(3, 3\); expected \(2, 2\)"):
        dataset.check(bad, max_class_ratio=2)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.5), st.integers(60, 300))
def test_splits_are_disjoint_exhaustive_and_stratified(seed: int, share: float, n: int) -> None:
    labels = (np.arange(n) % 3).astype(np.uint8)
    train, val = dataset.split_indices(labels, share, seed)
    assert sorted([*train, *val]) == list(range(n))
    counts = np.bincount(labels[val], minlength=3)
    assert counts.max() - counts.min() <= 1


def test_a_split_that_cannot_be_stratified_names_the_parameter() -> None:
    with pytest.raises(InputError, match=r"prepare\.val_fraction is 0\.1.* and 1 of the smal"):
        dataset.split_indices(np.arange(10, dtype=np.uint8), 0.1, 0)


def test_a_rare_class_that_no_part_would_have_is_refused() -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), [300, 300, 3])
    with pytest.raises(InputError, match=r"prepare\.val_fraction is 0\.1.* and 3 of the smal"):
        dataset.split_indices(labels, 0.1, 0)


def test_duplicates_are_counted_by_content() -> None:
    train = Labelled(np.array([[[1]], [[2]]], np.uint8), np.array([0, 1], np.uint8))
    test = Labelled(np.array([[[2]], [[3]], [[2]]], np.uint8), np.array([0, 1, 1], np.uint8))
    assert dataset.count_duplicates(test, train) == 2


def test_the_digest_is_of_images_then_labels() -> None:
    labelled = Labelled(np.array([[[1, 2]]], np.uint8), np.array([3], np.uint8))
    assert dataset.digest(labelled).startswith("039058c6f2c0cb492c533b0a4d14ef77")  # of 01 02 03
