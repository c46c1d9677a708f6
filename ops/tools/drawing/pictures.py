"""Images of digits for a page."""

import base64
import io

import numpy as np
from PIL import Image as Pillow

from digits.core.arrays import UInt8Array

LARGEST = 512  # pixels


def data_uri(image: UInt8Array) -> str:
    """A PNG of opaque ink on nothing, so that the page can choose both colours."""
    return _png_uri(Pillow.fromarray(np.stack([np.zeros_like(image), image], axis=-1), "LA"))


def photo_uri(image: UInt8Array) -> str:
    """A PNG of grey levels as they are, reduced to `LARGEST` pixels a side if it is larger."""
    photo = Pillow.fromarray(image)
    photo.thumbnail((LARGEST, LARGEST))
    return _png_uri(photo)


def _png_uri(picture: Pillow.Image) -> str:
    png = io.BytesIO()
    picture.save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
