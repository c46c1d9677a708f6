"""Images of digits for a page."""

import base64
import io

import numpy as np
from PIL import Image as Pillow

from digits.core.arrays import UInt8Array


def data_uri(image: UInt8Array) -> str:
    """A PNG of opaque ink on nothing, so that the page can choose both colours."""
    png = io.BytesIO()
    Pillow.fromarray(np.stack([np.zeros_like(image), image], axis=-1), "LA").save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
