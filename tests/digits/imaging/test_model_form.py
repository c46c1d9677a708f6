"""Every way to store a digit gives the same input; what is no digit gives a reason.

That accuracy survives it, on all test images of MNIST, benchmarks/photos.py measures.
"""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import photos
from benchmarks.photos import Photo
from digits.core.errors import InputError
from digits.data.dataset import Raw
from digits.imaging import model_form
from digits.imaging.preprocessing import Preprocessing

DIGITS = Preprocessing.parse(
    {
        "size": [28, 28],
        "method": "ink-box",
        "background": 0,
        "normalisation": {"mean": 33.0, "std": 79.0, "where": "in the graph"},
    }
)
WHOLE = DIGITS.model_copy(update={"method": "resize"})


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


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two images."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_an_image_in_the_models_form_stays_as_it_is(uci: Raw) -> None:
    assert model_form.in_form(uci.test.images, DIGITS).all()
    for image in uci.test.images[:50]:
        assert model_form.convert(image, DIGITS).tobytes() == image.tobytes()
        assert model_form.read(encode(Image.fromarray(image)), DIGITS).tobytes() == image.tobytes()


@pytest.mark.parametrize("way", [*photos.WAYS.values(), photos.all_together])
def test_however_a_digit_is_stored_the_model_sees_the_same(way: photos.Way, uci: Raw) -> None:
    found = []
    for i, image in enumerate(uci.test.images[:100]):
        digit = model_form.convert(np.pad(image, 10), DIGITS)
        photo = way(Photo(digit.astype(np.float32) / 255), np.random.default_rng(i))
        found.append(alike(model_form.read(photo.file(), DIGITS), digit))
    assert min(found) > 0.7
    assert np.mean(found) > 0.97


def test_ink_fills_its_box_and_is_centred_by_its_mass(uci: Raw) -> None:
    for image in uci.test.images[:50]:
        found = model_form.convert(np.pad(image, 30), DIGITS)
        rows, columns = (np.flatnonzero(found.max(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        mass = [found.sum(axis) @ np.arange(28) / found.sum() for axis in (1, 0)]
        assert np.abs(np.array(mass) - 14).max() < 0.6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_is_read(mode: str) -> None:
    picture = seven()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 16)  # 12 bits of 16
    else:
        picture = picture.convert(mode, dither=Image.Dither.NONE)
    found = model_form.read(encode(picture, "TIFF"), DIGITS)
    assert alike(found, model_form.read(encode(seven()), DIGITS)) > 0.95


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_every_format_is_read(format: str) -> None:
    found = model_form.read(encode(seven(), format), DIGITS)
    assert alike(found, model_form.read(encode(seven()), DIGITS)) > 0.95


TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("TIFF", "L", {}),
        ("TIFF", "RGBA", {"compression": "tiff_lzw"}),
        ("TIFF", "I;16", {"compression": "tiff_lzw"}),
        ("PNG", "L", {}),
        ("JPEG", "RGB", {"quality": 95}),
        ("WEBP", "RGB", {"quality": 95}),
        ("AVIF", "RGB", {"quality": 95}),
    ],
)
def test_an_image_is_turned_once(
    format: str, mode: str, options: dict[str, Any], orientation: int
) -> None:
    upright = seven().crop((0, 0, 110, 120))
    picture = upright.transpose(TURN[orientation]) if orientation > 1 else upright
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 16)
    else:
        picture = picture.convert(mode)
    exif = Image.Exif()
    exif[model_form.ORIENTATION] = orientation
    found = model_form.decode(encode(picture, format, exif=exif, **options))
    assert found.shape == (120, 110)
    assert alike(found, np.asarray(upright)) > 0.99


def test_of_an_animation_the_first_frame_counts() -> None:
    other = seven().transpose(Image.Transpose.ROTATE_180)
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        content = encode(seven(), format, save_all=True, append_images=[other])
        assert (
            alike(model_form.read(content, DIGITS), model_form.read(encode(seven()), DIGITS)) > 0.95
        )


def test_a_thin_pen_is_as_good_as_a_thick_one() -> None:
    thin = np.full((400, 400), 255, np.uint8)
    thin[50:350, 199:201] = thin[50:52, 150:201] = 0
    found = model_form.convert(thin, DIGITS)
    assert 1.5 < (found[8:20].astype(float).sum(axis=1) / 255).mean() < 3  # pixels of ink a row


def test_transparent_ground_takes_the_side_that_shows_the_ink() -> None:
    shape = 255 - np.asarray(seven())
    shape = np.where(shape > 128, 255, 0).astype(np.uint8)
    expected = model_form.read(encode(seven()), DIGITS)
    for colour in (0, 90, 255):
        layers = np.dstack([np.full((*shape.shape, 3), colour, np.uint8), shape])
        assert alike(model_form.convert(layers, DIGITS), expected) > 0.95
    card = np.dstack([*[np.asarray(seven())] * 3, np.full(shape.shape, 255, np.uint8)])
    card = np.pad(card, ((30, 30), (30, 30), (0, 0)))  # a picture, with nothing around it
    assert alike(model_form.convert(card, DIGITS), expected) > 0.95


def png_header(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the image is empty: 0 bytes"),
        (b"hello", "no image, but 5 bytes of something else; expected PNG, JPEG"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypheic", "a HEIC photo"),
        (encode(seven())[:200], "the image is truncated"),
        (encode(seven(), "JPEG")[:400], "the image is truncated"),
        (png_header(60_000, 60_000), "60,000 x 60,000 pixels; expected .* at most 50,000,000"),
        (bytes(model_form.MAX_BYTES + 1), "33,554,433 bytes; expected at most 33,554,432"),
        (encode(Image.new("L", (1, 1))), "nothing is written on the image"),
        (encode(Image.new("RGBA", (80, 80))), "nothing is written on the image"),
        (encode(Image.new("I;16", (80, 80), 3000)), "nothing is written on the image"),
    ],
)
def test_what_is_no_digit_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        model_form.read(content, DIGITS)


@pytest.mark.parametrize("way", [photos.blank, photos.two_digits, photos.noise])
def test_what_is_not_one_digit_is_refused(way: photos.Other, uci: Raw) -> None:
    for i in range(20):
        content = way(uci.test.images, np.random.default_rng(i))
        with pytest.raises(InputError, match=r"nothing|digit"):
            model_form.read(content, DIGITS)


def test_a_fallen_row_of_pixels_is_no_array_of_an_image() -> None:
    for wrong in (np.zeros((28, 28)), np.zeros(784, np.uint8), np.zeros((28, 28, 2), np.uint8)):
        with pytest.raises(InputError, match=r"expected uint8 \(height, width\)"):
            model_form.convert(wrong, DIGITS)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns before it gives up
@given(st.data())
def test_a_damaged_file_is_an_image_or_a_reason(data: st.DataObject) -> None:
    format = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"]))
    exif = Image.Exif()
    exif[model_form.ORIENTATION] = 6
    content = bytearray(encode(seven(36), format, exif=exif))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    answer_or_reason(bytes(content))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_any_array_is_an_image_or_a_reason(h: int, w: int, seed: int, two: bool) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 2, (h, w)) * 255 if two else random.integers(0, 256, (h, w))
    answer_or_reason(encode(Image.fromarray(values.astype(np.uint8))))


def answer_or_reason(content: bytes) -> None:
    for form in (DIGITS, WHOLE):
        try:
            found = model_form.read(content, form)
        except InputError:
            continue
        assert found.shape == (28, 28)
        assert found.dtype == np.uint8


def test_resize_keeps_the_whole_image_on_a_dark_ground() -> None:
    grey = np.full((100, 50), 240, np.uint8)
    grey[10:90, 20:40] = 40
    found = model_form.convert(grey, WHOLE)
    assert found.shape == (28, 28)
    assert (found[:, :6] == 0).all()
    assert found[14, 15] > 200
    assert found[0, 14] < 30
