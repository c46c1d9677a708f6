"""Each way of making a picture of none of the classes."""

import numpy as np
import pytest

from digits.data.dataset import Raw
from digits.drawing.canvas import enlarged
from digits.outliers import making, pictures

WAYS = [*making.WAYS, *making.WAYS_FOR_DIGITS]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_each_way_makes_many_pictures_and_never_the_image_itself(way: making.Way, uci: Raw) -> None:
    one, other = uci.train.images[:2]
    made = [way(np.random.default_rng(seed), one, other) for seed in range(20)]
    assert {picture.dtype for picture in made} == {np.dtype(np.uint8)}
    assert len({picture.tobytes() for picture in made}) >= 18
    assert enlarged(one).tobytes() not in {picture.tobytes() for picture in made}


def test_every_font_has_the_letters_of_its_script() -> None:
    """Else it would draw the same empty box for each that is missing."""
    for letters, fonts in pictures.SCRIPTS:
        for name in fonts:
            font = pictures._font(name, 40)
            box = bytes(font.getmask("\uffff"))
            assert not [text for text in letters if bytes(font.getmask(text)) == box], name
