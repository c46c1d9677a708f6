import numpy as np

from digits.data.dataset import Labelled
from digits.training import upstrokes

CLASSES = ("0", "1")


def stem() -> np.ndarray:
    """An upright stroke, 20 pixels high and 3 wide, in the middle."""
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 13:16] = 255
    return image


def stems(n: int) -> Labelled:
    return Labelled(np.stack([stem()] * 2 * n), np.repeat([0, 1], n).astype(np.uint8))


def test_a_stroke_goes_from_the_top_down_to_the_left_and_the_ink_stays_as_large() -> None:
    for seed in range(50):
        drawn = upstrokes.draw(stem(), np.random.default_rng(seed))
        rows, columns = np.nonzero(drawn > upstrokes.INK)
        assert 19 <= np.ptp(rows) + 1 <= 21
        right = columns.max()
        left = np.array([columns[rows == row].min() for row in range(rows.min(), rows.max() + 1)])
        assert 2 <= right - left.min() - 2 <= 12  # left of the stem
        assert left.argmin() < 14
        assert (left[-5:] >= right - 3).all()  # the foot is the stem alone


def test_only_ones_are_added_and_nothing_is_changed() -> None:
    data = stems(20)
    more = upstrokes.with_upstrokes(data, CLASSES, 0.25, seed=0)
    assert (more.images[:40] == data.images).all()
    assert more.labels.tolist() == [*data.labels.tolist(), *[1] * 5]
    assert len({image.tobytes() for image in more.images[40:]}) == 5
    again = upstrokes.with_upstrokes(data, CLASSES, 0.25, seed=0)
    assert (more.images == again.images).all()
    other = upstrokes.with_upstrokes(data, CLASSES, 0.25, seed=1)
    assert (more.images != other.images).any()


def test_without_a_one_or_a_share_nothing_is_added() -> None:
    data = stems(20)
    assert upstrokes.with_upstrokes(data, ("a", "b"), 0.5, seed=0) is data
    assert upstrokes.with_upstrokes(data, CLASSES, 0.0, seed=0) is data


def test_any_image_can_be_of_the_class() -> None:
    """Blank, white, noisy, one pixel, wide or high: the image is returned, of its own size."""
    rng = np.random.default_rng(0)
    for size in ((8, 8), (28, 28), (20, 60), (60, 20)):
        dot = np.zeros(size, np.uint8)
        dot[3, 3] = 255
        noise = rng.integers(0, 256, size, dtype=np.uint8)
        for image in (np.zeros(size, np.uint8), np.full(size, 255, np.uint8), noise, dot):
            drawn = upstrokes.draw(image, rng)
            assert drawn.shape == size
            assert drawn.dtype == np.uint8
