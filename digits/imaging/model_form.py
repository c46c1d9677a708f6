"""Any image that a person has, in the form of a model's own images.

`read` takes an image file: a photo, a scan, a drawing; dark on light or light on dark, of any size,
turned by its EXIF, with transparency, 1 to 16 bits a channel, CMYK; of an animation the first
frame. `convert` takes an array. What they make of it, the model's `Preprocessing` says.

ink-box is the convention of MNIST (LeCun et al. 1998, Gradient-Based Learning Applied to Document
Recognition, section III): what is written is scaled to 20 x 20, its proportions kept, and its
centre of mass is put into the centre of 28 x 28. resize fits the whole image into the frame, and
turns it into its negative if its edge is light: the ground is dark.

An image that is in the model's form already stays as it is, byte for byte.
"""

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from digits.core.errors import InputError
from digits.imaging.preprocessing import Preprocessing

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
MAX_BYTES = 32 << 20
MAX_PIXELS = 50_000_000  # a phone's photo; 200 MB when decoded
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which warns; ours comes before decoding, too

WORKING_SIZE = 256  # pixels of the longer side, at least, that larger images are reduced to
BOX = 20 / 28  # of the frame's sides: where the ink of MNIST lies
FAINTEST = 16  # grey levels of 255 between ink and background; with less, nothing is written
INK = 0.3  # of the strongest ink: from here on a pixel counts as written
SPECK = 0.03  # of the largest piece of ink; smaller ones are dirt
MOST_ON_EDGE = 0.15  # of the image's outermost pixels; a photo of anything has more ink there
MOST_PIECES = 8  # of ink, that make one digit; of MNIST's, two
PEN = 1.7  # pixels of the result: thinner strokes are thickened, as no digit of MNIST is as thin

TURNED = {  # by the value of EXIF's Orientation
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
ORIENTATION = 0x0112
# What Pillow's decoders raise when a file is not what it claims to be.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)


def read(content: bytes, preprocessing: Preprocessing) -> Bytes:
    """Decode an image file and bring it into the model's form.

    Parameters
    ----------
    content : the file
    preprocessing : the model's form

    Returns
    -------
    uint8 (height, width) of the model's size, 0 is background

    Raises
    ------
    InputError
        If it is no image, or damaged, or larger than `MAX_BYTES` or `MAX_PIXELS`; if nothing is
        written on it, or more than one digit.
    """
    return _into_form(decode(content), preprocessing)


def convert(image: npt.NDArray[Any], preprocessing: Preprocessing) -> Bytes:
    """Bring an array into the model's form.

    Parameters
    ----------
    image : uint8 (height, width), or (height, width, channels) with 1, 3 (RGB) or 4 (RGBA) channels
    preprocessing : the model's form

    Returns
    -------
    uint8 (height, width) of the model's size, 0 is background

    Raises
    ------
    InputError
        If it is no such array, or as `read`.
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
    if image.ndim == 3:
        image = image[..., 0] if image.shape[2] == 1 else _grey(Image.fromarray(image))
    return _into_form(image, preprocessing)


def in_form(images: Bytes, preprocessing: Preprocessing) -> npt.NDArray[np.bool_]:
    """Which images are in the model's form already, so that they need no preparation.

    For ink-box: on a background of 0, ink of exactly the box's size. All of MNIST's are 19 or 20
    pixels high or wide. For resize: of its size, and with a dark edge.

    Parameters
    ----------
    images : uint8 (n, height, width)

    Returns
    -------
    bool (n,)
    """
    if images.shape[1:] != preprocessing.size:
        return np.zeros(len(images), bool)
    if preprocessing.method == "resize":
        return ~_is_light(images)
    written = images > 0
    longest = np.maximum(_extent(written.max(axis=2)), _extent(written.max(axis=1)))
    box = _box(preprocessing.size)
    found: npt.NDArray[np.bool_] = (longest == box) | (longest == box - 1)
    return found


def _extent(lines: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """From the first to the last line with ink in it; bool (n, lines) -> (n,)."""
    found: npt.NDArray[np.int64] = (
        lines.shape[1] - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
    )
    return found


def _box(size: tuple[int, int]) -> int:
    return round(BOX * min(size))


# From a file to grey


def decode(content: bytes) -> Bytes:
    """An image file as grey levels, the right way up, reduced if it is large.

    Returns
    -------
    uint8 (height, width)

    Raises
    ------
    InputError
        If it is no image, or damaged, or larger than `MAX_BYTES` or `MAX_PIXELS`.
    """
    if not content:
        raise InputError("the image is empty: 0 bytes")
    if len(content) > MAX_BYTES:
        raise InputError(f"the image has {len(content):,} bytes; expected at most {MAX_BYTES:,}")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(*image.size)
            image.draft("L", (WORKING_SIZE, WORKING_SIZE))  # a JPEG need not be decoded in full
            turn = _turn(image)
            grey = _grey(image)
    except UnidentifiedImageError:
        raise InputError(f"this is no image, but {_guess(content)}") from None
    except DAMAGE as error:
        what = "truncated" if "truncated" in str(error) else "damaged"
        raise InputError(f"the image is {what}: {error}") from None
    return np.asarray(Image.fromarray(grey).transpose(turn)) if turn is not None else grey


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(
            f"the image has {width:,} x {height:,} pixels; expected at least one, and at most "
            f"{MAX_PIXELS:,}"
        )


def _guess(content: bytes) -> str:
    """What a file is that Pillow does not know."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"<svg" in start:
        return "an SVG drawing. Save it as PNG"
    if start.startswith(b"%PDF"):
        return "a PDF. Save the page as PNG"
    if content[4:8] == b"ftyp" and content[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return "a HEIC photo. Save it as JPEG"
    kinds = "PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF or PNM"
    return f"{len(content):,} bytes of something else; expected {kinds}"


def _turn(image: Image.Image) -> Transpose | None:
    """What puts the picture the right way up; Pillow itself turns a TIFF while it decodes."""
    if image.format == "TIFF":
        return None
    try:
        return TURNED.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGE:  # of the EXIF; the picture may be whole all the same
        return None


def _grey(image: Image.Image) -> Bytes:
    """Grey levels of any mode, on an opaque ground, reduced to about the working size."""
    if image.mode[0] in "IF":  # one channel of 16 or 32 bits
        image = Image.fromarray(_stretch(np.asarray(image, np.float32)))
    factor = max(image.size) // WORKING_SIZE
    if image.has_transparency_data:
        return _on_a_ground(_reduced(image.convert("RGBA").convert("RGBa"), factor))
    return np.asarray(_reduced(image.convert("L"), factor))


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def _stretch(values: Floats) -> Bytes:
    """From the darkest to the lightest value: 16 bits are seldom used in full."""
    if not np.isfinite(values).all():
        raise InputError("the image holds NaN or infinity")
    low, high = float(values.min()), float(values.max())
    return np.round((values - low) * (255 / max(high - low, 1))).astype(np.uint8)


def _on_a_ground(image: Image.Image) -> Bytes:
    """Put what is transparent onto a ground; the image's colours are multiplied by its alpha.

    A picture that fills its frame is continued by its own ground; a drawing gets the one that it
    stands out from.
    """
    *colours, mask = image.split()
    light = np.asarray(Image.merge("RGB", colours).convert("L"), np.float32)
    alpha = np.asarray(mask, np.float32) / 255
    seen = alpha > 0.5 * alpha.max()
    if not seen.any():
        return np.zeros(alpha.shape, np.uint8)
    values = light[seen] / alpha[seen]
    low, high = np.percentile(values, (5, 95))
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    is_picture = high - low > 64 and len(values) > 0.8 * area
    ground = np.median(values) if is_picture else 255 if values.mean() < 128 else 0
    return np.round(np.minimum(light + (1 - alpha) * ground, 255)).astype(np.uint8)


# From grey to the model's form


def _into_form(grey: Bytes, preprocessing: Preprocessing) -> Bytes:
    if in_form(grey[None], preprocessing)[0]:
        return grey
    if preprocessing.method == "resize":
        return fit(grey, preprocessing.size)
    return _place(_find_ink(grey), preprocessing.size)


def fit(grey: Bytes, size: tuple[int, int]) -> Bytes:
    """The whole image, its proportions kept, in the middle of a dark frame: the form of resize.

    Parameters
    ----------
    grey : uint8 (height, width)
    size : height and width of the frame, pixels
    """
    if _is_light(grey[None])[0]:
        grey = 255 - grey
    if grey.shape == size:
        return grey
    scale = min(size[0] / grey.shape[0], size[1] / grey.shape[1])
    height, width = (max(1, round(scale * side)) for side in grey.shape)
    small = Image.fromarray(grey).resize((width, height), Resampling.BICUBIC)
    found = np.zeros(size, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    found[top : top + height, left : left + width] = np.asarray(small)
    return found


def _is_light(images: Bytes) -> npt.NDArray[np.bool_]:
    """Whether the edge is rather white than black; uint8 (n, height, width) -> (n,)."""
    found: npt.NDArray[np.bool_] = np.median(images[:, _border(images.shape[1:])], axis=1) > 127.5
    return found


def _find_ink(grey: Bytes) -> Floats:
    """What is written, from 0 (none) to 1 (the strongest), cropped to its box."""
    depth = _depth(grey)
    smoothed = scipy.ndimage.uniform_filter(depth, _grain(grey.shape))
    strength = float(smoothed.max())
    if strength < FAINTEST:
        raise InputError(
            f"nothing is written on the image: it differs from its ground by {strength:.0f} grey "
            f"levels of 255; expected at least {FAINTEST}"
        )
    ink = np.clip(depth / strength, 0, 1)
    pieces, _ = scipy.ndimage.label(ink > INK, np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    large = np.concatenate([[False], sizes >= SPECK * sizes.max()])
    written = large[pieces]
    box = scipy.ndimage.find_objects(written.astype(np.uint8))[0]
    _check_single(written, int(large.sum()), written[box])
    found: Floats = np.where((pieces > 0) & ~written, 0, ink)[box]
    return found


def _check_single(written: npt.NDArray[np.bool_], pieces: int, box: npt.NDArray[np.bool_]) -> None:
    """Refuse what can't be one digit; `box` is the part of `written` that has the ink."""
    edge = written[_border(written.shape)].mean()
    if edge > MOST_ON_EDGE:
        raise InputError(
            f"what is written does not stand on a plain ground: {edge:.0%} of the image's edge is "
            f"ink, expected at most {MOST_ON_EDGE:.0%}. Cut the image to the digit"
        )
    if pieces > MOST_PIECES:
        raise InputError(f"{pieces} separate marks are on the image; expected one digit")
    inked = np.flatnonzero(np.diff(box.any(axis=0), prepend=False, append=False))
    columns = [box[:, left:right] for left, right in zip(inked[::2], inked[1::2], strict=True)]
    digits = [
        part
        for part in columns
        if part.sum() > 0.15 * box.sum() and part.any(axis=1).sum() > 0.5 * len(box)
    ]
    if len(digits) > 1:
        raise InputError(f"{len(digits)} digits stand side by side; expected one")


def _depth(grey: Bytes) -> Floats:
    """By how many grey levels each pixel stands out from the ground, however that is lit."""
    values = grey.astype(np.float32)
    border = _border(grey.shape)
    ground = np.median(values[border])
    smoothed = scipy.ndimage.uniform_filter(values, _grain(grey.shape))
    if smoothed.max() - ground > ground - smoothed.min():
        values = 255 - values
    found = _paper(values) - values
    above: Floats = np.maximum(found - np.median(found[border]), 0)
    return above


def _paper(values: Floats) -> Floats:
    """The ground alone, light, under strokes narrower than half of the image."""
    height, width = values.shape
    small = Image.fromarray(values).resize((min(width, 64), min(height, 64)), Resampling.BOX)
    closed = scipy.ndimage.grey_closing(
        np.asarray(small), [1 + side // 2 for side in small.size[::-1]]
    )
    return np.asarray(Image.fromarray(closed).resize((width, height), Resampling.BILINEAR))


def _grain(shape: tuple[int, ...]) -> int:
    """Pixels over which noise is averaged: less than a stroke."""
    return 1 + max(shape) // 200


def _border(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The outermost pixels."""
    found = np.ones(shape, bool)
    found[1:-1, 1:-1] = False
    return found


def _place(ink: Floats, size: tuple[int, int]) -> Bytes:
    """Scale ink to the box that MNIST has for it, and centre it by its mass."""
    ink = _thicken(ink, PEN / _box(size) * max(ink.shape))
    scale = _box(size) / max(ink.shape)
    height, width = (max(1, round(scale * side)) for side in ink.shape)
    method = Resampling.BICUBIC
    small = np.clip(np.asarray(Image.fromarray(ink).resize((width, height), method)), 0, 1)
    small = small / small.max()
    found = np.zeros(size, np.uint8)
    corner = []
    for axis, side in enumerate(small.shape):
        mass = small.sum(1 - axis)
        centre = float(mass @ np.arange(side) / mass.sum())
        corner.append(min(max(round(size[axis] / 2 - centre), 0), size[axis] - side))
    top, left = corner
    found[top : top + height, left : left + width] = np.round(255 * small)
    return found


def _thicken(ink: Floats, pen: float) -> Floats:
    """Draw thin strokes again with a pen of so many pixels."""
    written = np.pad(ink > INK, 1)
    rim = written & ~scipy.ndimage.binary_erosion(written)
    thickness = 2 * written.sum() / max(rim.sum(), 1)
    missing = round(pen - thickness)
    if missing <= 0:
        return ink
    thick: Floats = scipy.ndimage.grey_dilation(np.pad(ink, missing), (missing + 1, missing + 1))
    return thick[missing // 2 : -missing // 2, missing // 2 : -missing // 2]
