"""The images of a user; the tests of folders and of tables read most of them."""

import pytest

from digits.core.errors import InputError
from digits.data.image_reader import Reader
from digits.data.pixels import Images
from tests.helpers.tables import IMAGES


def test_a_file_with_fewer_images_than_it_says_is_refused() -> None:
    images = Images("", 26, "bytes", lambda start, end: iter([IMAGES[start:end]]))
    with pytest.raises(InputError, match="the file has 25 images; expected 26"):
        list(Reader((8, 8)).read(images, scale=1))
