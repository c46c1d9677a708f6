import pytest
import torch

from digits.training.augment import Augmentation, augment

NONE = Augmentation(rotation=0.0, translation=0.0, scale=0.0, shear=0.0, background=0.0, noise=0.0)


def dot() -> torch.Tensor:
    """Forty copies of a square of ink, a little off the centre."""
    images = torch.zeros(40, 29, 29)
    images[:, 8:13, 14:17] = 255
    return images


def centres(images: torch.Tensor) -> torch.Tensor:
    rows = (images.sum(2) * torch.arange(29)).sum(1) / images.sum((1, 2))
    columns = (images.sum(1) * torch.arange(29)).sum(1) / images.sum((1, 2))
    return torch.stack([rows, columns], 1) - 14


def moved(limits: Augmentation) -> torch.Tensor:
    return augment(dot(), limits, torch.Generator().manual_seed(0))


def test_without_limits_nothing_is_drawn_and_nothing_moves() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    images = dot()
    assert augment(images, NONE, generator) is images
    assert torch.equal(generator.get_state(), before)


def test_same_generator_same_images() -> None:
    limits = Augmentation(
        rotation=10.0, translation=2.0, scale=0.1, shear=5.0, background=0.5, noise=0.2
    )
    assert torch.equal(moved(limits), moved(limits))


def test_translation_is_in_pixels() -> None:
    shift = centres(moved(NONE.model_copy(update={"translation": 2.0}))) - centres(dot())
    assert 1.5 < shift.abs().max() < 2.01


def test_translation_is_as_far_in_a_frame_that_is_not_square() -> None:
    limits = NONE.model_copy(update={"translation": 4.0})
    wide = torch.nn.functional.pad(dot(), (29, 29))
    found = augment(wide, limits, torch.Generator().manual_seed(0))[:, :, 29:58]
    torch.testing.assert_close(found, moved(limits), rtol=0, atol=0.05)


def test_rotation_keeps_the_distance_to_the_centre_and_stays_in_its_limit() -> None:
    found = centres(moved(NONE.model_copy(update={"rotation": 30.0})))
    torch.testing.assert_close(found.norm(dim=1), centres(dot()).norm(dim=1), rtol=0.03, atol=0)
    angles = torch.rad2deg(
        torch.atan2(found[:, 1], -found[:, 0])
        - torch.atan2(*centres(dot())[0].flip(0) * torch.tensor([1, -1]))
    )
    assert 20 < angles.abs().max() < 31


@pytest.mark.parametrize("margins", [(29, 29, 0, 0), (0, 0, 29, 29)])
def test_a_frame_that_is_not_square_is_turned_as_a_square_one(
    margins: tuple[int, int, int, int],
) -> None:
    limits = NONE.model_copy(update={"rotation": 30.0, "shear": 20.0})
    longer = torch.nn.functional.pad(dot(), margins)
    left, _, top, _ = margins
    found = augment(longer, limits, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        found[:, top : top + 29, left : left + 29], moved(limits), rtol=0, atol=0.05
    )


@pytest.mark.parametrize(("limit", "ratio"), [(0.2, 1.2**2)])
def test_scale_changes_the_area_by_its_square(limit: float, ratio: float) -> None:
    area = moved(NONE.model_copy(update={"scale": limit})).sum((1, 2)) / dot().sum((1, 2))
    assert 1.2 < area.max() < ratio + 0.02
    assert 0.62 < area.min() < 0.85


def test_shear_slides_rows_sideways_and_keeps_them_in_place() -> None:
    shift = centres(moved(NONE.model_copy(update={"shear": 20.0}))) - centres(dot())
    assert shift[:, 0].abs().max() < 0.1
    assert 1.0 < shift[:, 1].abs().max() < 1.6  # 4 rows above the centre, tan 20 degrees


def test_the_background_turns_grey_and_ink_stays_white() -> None:
    found = moved(NONE.model_copy(update={"background": 0.4}))
    levels = found[:, 0, 0]
    assert 0 <= levels.min() < 20
    assert 90 < levels.max() <= 0.4 * 255
    assert (found[:, 8:13, 14:17] == 255).all()


def test_noise_is_normal_up_to_its_limit_and_stays_within_the_pixels_range() -> None:
    grey = torch.full((40, 29, 29), 128.0)
    limits = NONE.model_copy(update={"noise": 0.1})
    found = augment(grey, limits, torch.Generator().manual_seed(0))
    deviations = (found - grey).flatten(1).std(1)
    assert 0 <= deviations.min() < 2
    assert 22 < deviations.max() < 0.1 * 255 * 1.1
    assert (found - grey).mean().abs() < 0.5
    loud = augment(dot(), NONE.model_copy(update={"noise": 1.0}), torch.Generator())
    assert (loud.min(), loud.max()) == (0, 255)
