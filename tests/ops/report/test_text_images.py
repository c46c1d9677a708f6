import numpy as np

from ops.report import text_images

ONE = np.array([[0, 255, 0], [0, 255, 0], [0, 255, 255]], np.uint8)


def test_ink_is_cropped_and_two_rows_make_a_line() -> None:
    assert text_images.half_blocks(np.pad(ONE, 4)) == ["█", "▀▀"]


def test_faint_and_empty_images_are_no_lines() -> None:
    assert text_images.half_blocks(np.full((4, 4), text_images.INK - 1, np.uint8)) == []


def test_images_stand_side_by_side_under_their_captions() -> None:
    wide = np.full((2, 4), 255, np.uint8)
    sheet = text_images.contact_sheet([wide, ONE, wide], [["ab"], ["c"], ["d"]], columns=2)
    assert sheet == "ab    c\n\n████  █\n      ▀▀\n\nd\n\n████"


def test_a_long_caption_is_cut() -> None:
    sheet = text_images.contact_sheet([ONE], [["a name that is much too long"]], 1)
    assert sheet.splitlines()[0] == "a name that is much too…"
