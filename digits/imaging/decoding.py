"""Read an image file, or an array, as grey levels or colours.

Files: a photo, a scan or a drawing, of any size, rotated by its EXIF, with transparency, 1 to 16
bits a channel, CMYK, CIELAB. Of an animation, the first frame is read.
"""

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.Image import Transpose

from digits.core.arrays import UInt8Array
from digits.core.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
MAX_BYTES = 32 << 20
MAX_PIXELS = 1 << 26  # a photo of 64 megapixels; reading it takes 0.4 GB, as WebP 1 GB
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit only warns; ours is checked before decoding too

WORKING_SIZE = 256  # pixels; a larger image is reduced, and its longer side keeps at least these
BAND = 512  # rows converted at once, about: a copy of all of them would take too much memory

TRANSPOSE = {  # by the value of EXIF's Orientation
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
TURNED = (Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90)
ORIENTATION = 0x0112  # EXIF's tag

# A PNG file with one chunk of pixels: signature, IHDR (width, height, kind of pixels, checksum),
# IDAT (length, name, pixels, checksum), IEND.
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\0\0\0\0IEND\xaeB`\x82"
PNG_HEAD = struct.Struct(">16xII5sII4s")
GREY = b"\x08\0\0\0\0"  # 8 bits a pixel, not interlaced
# The exceptions that Pillow's decoders raise on a damaged file.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
    struct.error,
)


class TooManyPixels(InputError):
    """An image has more pixels than are allowed; it was not decoded."""


def decode(content: bytes, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Decode an image file, the right way up, reduced if it is large.

    Returns
    -------
    uint8 (height, width), or (height, width, 3) of an opaque image with colours

    Raises
    ------
    InputError
        If the file is not an image, or damaged, or larger than `MAX_BYTES`.
    TooManyPixels
        If it has more than `max_pixels`.
    """
    return decode_with_size(content, max_pixels)[0]


def decode_with_size(
    content: bytes, max_pixels: int = MAX_PIXELS
) -> tuple[UInt8Array, tuple[int, int]]:
    """As `decode`; also the height and width that the image had before it was reduced."""
    if not content:
        raise InputError("the image is empty: 0 bytes")
    check_bytes(len(content))
    small = _small_png(content, max_pixels)
    if small is not None:
        return small, (small.shape[0], small.shape[1])
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(*image.size, max_pixels)
            width, height = image.size
            image.draft("RGB", (WORKING_SIZE, WORKING_SIZE))  # a JPEG need not be decoded in full
            image.load()  # in `_transpose`, which may load it, damage would count as the EXIF's
            transpose = _transpose(image)
            levels = _levels(image)
    except UnidentifiedImageError:
        raise InputError(f"this is not an image but {_guess(content)}") from None
    except DAMAGE as error:
        damage = "truncated" if "truncated" in str(error) else "damaged"
        raise InputError(f"the image is {damage}: {error}".removesuffix(": ")) from None
    if transpose is None:
        return levels, (height, width)
    if transpose in TURNED:
        height, width = width, height
    return np.asarray(Image.fromarray(levels).transpose(transpose)), (height, width)


def _small_png(content: bytes, max_pixels: int) -> UInt8Array | None:
    """The picture of a small PNG file with grey levels and nothing else, such as a digit of MNIST.

    Pillow reads each file, but its decoder alone takes a third of the time. Returns None for any
    other file, and for a damaged one.
    """
    if len(content) < PNG_HEAD.size + len(PNG_END) + 4 or not content.startswith(PNG_START):
        return None
    width, height, kind, checksum, length, name = PNG_HEAD.unpack_from(content)
    pixels = content[PNG_HEAD.size : -len(PNG_END) - 4]
    if not (
        (kind, name, length) == (GREY, b"IDAT", len(pixels))
        and content.endswith(PNG_END)
        and zlib.crc32(content[12:29]) == checksum
        and 0 < width * height <= max_pixels
        and max(width, height) < 2 * WORKING_SIZE
    ):
        return None
    try:
        picture = Image.frombytes("L", (width, height), pixels, "zip", "L")
    except ValueError:
        return None
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(height, width)


def count_pixels(content: bytes) -> int:
    """How many pixels an image file says that it has; 0 if it is none."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return math.prod(image.size)
    except (UnidentifiedImageError, *DAMAGE):
        return 0


def check_bytes(length: int) -> None:
    """Raises `InputError` if an image file has more bytes than `decode` takes."""
    if length > MAX_BYTES:
        raise InputError(f"the image has {length:,} bytes; expected at most {MAX_BYTES:,}")


def from_array(image: npt.NDArray[Any]) -> UInt8Array:
    """Turn an array into an image as `decode` returns it; reduce one with colours if it is large.

    Parameters
    ----------
    image : uint8 (height, width), or (height, width, channels) with 1, 3 (RGB) or 4 (RGBA) channels

    Returns
    -------
    uint8 (height, width), or (height, width, 3)

    Raises
    ------
    InputError
        If the array has another type or shape, or more than `MAX_PIXELS`.
    """
    if image.dtype != np.uint8 or not (
        image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    ):
        raise InputError(
            f"the image is {image.dtype} {image.shape}; expected uint8 (height, width), or "
            f"(height, width, channels) with 1, 3 or 4 channels. Are its values fractions? "
            f"(255 * image).round().astype('uint8')"
        )
    _check_size(image.shape[1], image.shape[0])
    if image.ndim == 2:
        return image
    return image[..., 0] if image.shape[2] == 1 else _levels(Image.fromarray(image))


def grey(image: UInt8Array) -> UInt8Array:
    """The grey levels of an image with or without colours; uint8 (height, width)."""
    return image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))


def _check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    if not 0 < width * height <= max_pixels:
        raise TooManyPixels(
            f"the image has {width:,} x {height:,} pixels; expected at least one, and at most "
            f"{max_pixels:,}"
        )


def _guess(content: bytes) -> str:
    """Name the kind of a file that Pillow does not know, and what to do."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"<svg" in start:
        return "an SVG drawing. Save it as PNG"
    if start.startswith(b"%PDF"):
        return "a PDF. Save the page as PNG"
    if content[4:8] == b"ftyp" and content[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return "a HEIC photo. Save it as JPEG"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF of a kind that is not supported. Save it as PNG"
    kinds = "PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF or PNM"
    return f"{len(content):,} bytes of something else; expected {kinds}"


def _transpose(image: Image.Image) -> Transpose | None:
    """The operation that turns the picture upright; Pillow turns a TIFF while it decodes it."""
    if image.format == "TIFF":
        return None
    try:
        return TRANSPOSE.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGE:  # in the EXIF; the picture may be whole
        return None


def _levels(image: Image.Image) -> UInt8Array:
    """An image of any mode, opaque, reduced to about the working size."""
    factor = max(max(image.size) // WORKING_SIZE, 1)
    if image.mode[0] in "IF":  # one channel of 16 or 32 bits
        low, high = _range(image, factor)
        return np.asarray(_reduce(image, "L", factor, lambda band: _stretch(band, low, high)))
    if image.mode == "LAB":
        return np.asarray(_reduce(image, "L", factor, _from_lab))
    if image.has_transparency_data:
        return _flatten(_reduce(image, "RGBa", factor, _premultiply))
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return np.asarray(_reduce(image, mode, factor, lambda band: band.convert(mode)))


def _bands(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield about `BAND` rows at a time, a multiple of the factor, and the first row's number."""
    rows = factor * max(BAND // factor, 1)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _reduce(
    image: Image.Image, mode: str, factor: int, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Convert an image to the mode, and reduce it by the factor."""
    if image.height <= BAND:
        return convert(image).reduce(factor) if factor > 1 else convert(image)
    width, height = (-(-side // factor) for side in image.size)
    reduced = Image.new(mode, (width, height))
    for top, band in _bands(image, factor):
        reduced.paste(convert(band).reduce(factor), (0, top // factor))
    return reduced


def _range(image: Image.Image, factor: int) -> tuple[float, float]:
    """The darkest and the lightest value; raises `InputError` if one is not finite."""
    ends = []
    for _, band in _bands(image, factor):
        values = np.asarray(band, np.float32)
        if not np.isfinite(values).all():
            raise InputError("the image holds NaN or infinity")
        ends += [float(values.min()), float(values.max())]
    return min(ends), max(ends)


def _stretch(image: Image.Image, low: float, high: float) -> Image.Image:
    """Map the darkest value to 0 and the lightest to 255: few images use all of their 16 bits."""
    values = np.asarray(image, np.float32)
    levels = np.round((values - low) * (255 / max(high - low, 1)))
    return Image.fromarray(levels.astype(np.uint8))


def _premultiply(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").convert("RGBa")


def _from_lab(image: Image.Image) -> Image.Image:
    return _lab_to_rgb().apply(image).convert("L")


@cache
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB")


def _flatten(image: Image.Image) -> UInt8Array:
    """Put an RGBa image (colours premultiplied by alpha) on an opaque background.

    A picture that fills its frame gets its own median as background; a drawing gets black or white,
    whichever it stands out from.
    """
    *colours, mask = image.split()
    light = np.asarray(Image.merge("RGB", colours).convert("L"), np.float32)
    alpha = np.asarray(mask, np.float32) / 255
    visible = alpha > 0.5 * alpha.max()
    if not visible.any():
        return np.zeros(alpha.shape, np.uint8)
    values = light[visible] / alpha[visible]
    low, high = np.percentile(values, (5, 95))
    rows, columns = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
    area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    is_picture = high - low > 64 and len(values) > 0.8 * area
    background = np.median(values) if is_picture else 255 if values.mean() < 128 else 0
    return np.round(np.minimum(light + (1 - alpha) * background, 255)).astype(np.uint8)
