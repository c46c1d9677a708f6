"""A digit drawn as a picture, and its file in any format.

Example:

    encode(seven(), "JPEG", quality=95)
"""

import io
from typing import Any

import numpy as np
from PIL import Image


def encode(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, format, **options)
    return content.getvalue()


def seven(side: int = 120) -> Image.Image:
    """Dark on light."""
    grey = np.full((side, side), 230, np.uint8)
    s = side // 12
    grey[2 * s : 3 * s, 3 * s : 9 * s] = 20
    for y in range(2 * s, 10 * s):
        right = 9 * s - (y - 2 * s) // 2
        grey[y, right - s : right] = 20
    return Image.fromarray(grey)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, of two images' pixels."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
