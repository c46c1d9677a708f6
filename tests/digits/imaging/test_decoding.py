"""Every way to store a picture is read as the same grey levels; a bad file is refused."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from digits.core.errors import InputError
from digits.imaging import decoding
from tests.helpers.pictures import correlation, encode, seven


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_is_read(mode: str) -> None:
    picture = seven()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 16)  # 12 bits of 16
    else:
        picture = picture.convert(mode, dither=Image.Dither.NONE)
    grey = decoding.grey(decoding.decode(encode(picture, "TIFF")))
    assert grey.dtype == np.uint8
    assert correlation(grey, np.asarray(seven())) > 0.99


def test_16_bits_are_stretched_from_the_darkest_to_the_lightest() -> None:
    picture = Image.fromarray(np.array([[1000, 2000], [2500, 3000]], np.uint16))
    levels = decoding.decode(encode(picture, "TIFF"))
    np.testing.assert_array_equal(levels, [[0, 128], [191, 255]])


def test_cielab_is_read_as_the_same_picture_in_rgb() -> None:
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(rgb, lab, "RGB", "LAB")
    picture = seven(700).convert("RGB")  # more rows than are converted at once
    grey = decoding.grey(decoding.decode(encode(to_lab.apply(picture), "TIFF")))
    expected = decoding.grey(decoding.decode(encode(picture, "TIFF")))
    assert np.abs(grey.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I"])
def test_an_image_is_read_in_parts_as_it_is_in_one(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1100, 300), np.uint8)
    content = encode(Image.fromarray(pixels).convert(mode), "TIFF")
    in_parts = decoding.decode(content)
    monkeypatch.setattr(decoding, "BAND", 1100)
    np.testing.assert_array_equal(decoding.decode(content), in_parts)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_every_format_is_read(format: str) -> None:
    assert (
        correlation(decoding.grey(decoding.decode(encode(seven(), format))), np.asarray(seven()))
        > 0.99
    )


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
    exif[decoding.ORIENTATION] = orientation
    grey = decoding.grey(decoding.decode(encode(picture, format, exif=exif, **options)))
    assert grey.shape == (120, 110)
    assert correlation(grey, np.asarray(upright)) > 0.99


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(format: str) -> None:
    other = seven().transpose(Image.Transpose.ROTATE_180)
    content = encode(seven(), format, save_all=True, append_images=[other])
    assert correlation(decoding.grey(decoding.decode(content)), np.asarray(seven())) > 0.99


@pytest.mark.parametrize("colour", [0, 90, 255])
def test_a_transparent_background_contrasts_with_the_drawing(colour: int) -> None:
    alpha = np.where(np.asarray(seven()) < 128, 255, 0).astype(np.uint8)
    layers = np.dstack([np.full((*alpha.shape, 3), colour, np.uint8), alpha])
    assert abs(correlation(decoding.grey(decoding.from_array(layers)), alpha)) > 0.99


def test_a_picture_with_a_transparent_frame_is_continued_by_its_own_background() -> None:
    picture = np.dstack([*[np.asarray(seven())] * 3, np.full((120, 120), 255, np.uint8)])
    framed = np.pad(picture, ((30, 30), (30, 30), (0, 0)))
    expected = np.pad(np.asarray(seven()), 30, constant_values=230)
    np.testing.assert_array_equal(decoding.grey(decoding.from_array(framed)), expected)


PEAK = """
import sys
from pathlib import Path
from digits.imaging import decoding
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10
content = Path(sys.argv[1]).read_bytes()
before = peak()
assert decoding.decode(content).shape == (192, 256)
print(peak() - before)
"""


@pytest.mark.slow(5)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone says the peak")
@pytest.mark.parametrize(("colour_type", "bits", "channels"), [(0, 8, 1), (0, 16, 2), (6, 8, 4)])
def test_a_photo_of_50_megapixels_is_read_without_a_copy_of_all_its_pixels(
    tmp_path: Path, colour_type: int, bits: int, channels: int
) -> None:
    width, height = 8192, 6144
    compressor = zlib.compressobj(1)
    rows = [compressor.compress(bytes(1 + width * channels)) for _ in range(height)]
    data = b"".join(rows) + compressor.flush()
    (tmp_path / "photo.png").write_bytes(png(width, height, data, bits, colour_type))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "photo.png")]
    peak = int(subprocess.check_output(command))
    assert peak < 1.5 * width * height * channels + 50e6


def png(width: int, height: int, data: bytes, bits: int = 8, colour_type: int = 0) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = b"IDAT" + data
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
        for c in (head, data, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the image is empty: 0 bytes"),
        (b"hello", "not an image but 5 bytes of something else; expected PNG, JPEG"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypheic", "a HEIC photo"),
        (b"II*\0" + bytes(100), "a TIFF of a kind that is not supported"),
        (encode(seven())[:200], "the image is truncated"),
        (encode(seven(), "JPEG")[:400], "the image is truncated"),
        (png(2, 2, zlib.compress(bytes(6)), colour_type=3), "the image is damaged$"),  # no palette
        (png(60_000, 60_000, b""), "60,000 x 60,000 pixels; expected .* at most 67,108,864"),
        (encode(Image.fromarray(np.float32([[0, np.nan]])), "TIFF"), "holds NaN or infinity"),
        (bytes(decoding.MAX_BYTES + 1), "33,554,433 bytes; expected at most 33,554,432"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        decoding.decode(content)


@pytest.mark.parametrize("format", ["PNG", "BMP"])
def test_an_image_of_more_pixels_than_the_caller_allows_is_not_decoded(format: str) -> None:
    content = encode(seven(28), format)
    assert decoding.decode(content, 784).shape == (28, 28)
    with pytest.raises(decoding.TooManyPixels, match=r"28 x 28 pixels; expected .* at most 783"):
        decoding.decode(content, 783)


@pytest.mark.parametrize("shape", [(28, 28), (784,), (9, 9, 2)])
def test_an_array_of_another_type_or_shape_is_refused(shape: tuple[int, ...]) -> None:
    wrong = np.zeros(shape, np.float64 if shape == (28, 28) else np.uint8)
    with pytest.raises(InputError, match=r"expected uint8 \(height, width\)"):
        decoding.from_array(wrong)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns before it gives up
@given(st.data())
def test_a_damaged_file_is_an_image_only_if_pillow_can_read_it(data: st.DataObject) -> None:
    format = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"]))
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = 6
    content = bytearray(encode(seven(36), format, exif=exif))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        grey = decoding.grey(decoding.decode(bytes(content)))
    except InputError:
        return
    Image.open(io.BytesIO(content)).load()
    assert grey.ndim == 2
    assert grey.dtype == np.uint8


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 3)])
def test_a_png_with_a_damaged_part_is_refused(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    content = bytearray(encode(Image.fromarray(noise)))
    content[1000:1032] = bytes(32)
    with pytest.raises(InputError, match="the image is damaged"):
        decoding.decode(bytes(content))


def outcome(content: bytes) -> object:
    try:
        return decoding.decode(content).tolist()
    except InputError as error:
        return str(error)


def check_pillow_reads_the_same(content: bytes) -> None:
    expected = outcome(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_small_png", lambda *_: None)
        assert outcome(content) == expected


@pytest.mark.parametrize(
    "content",
    [
        encode(seven(28)),
        png(2, 3, zlib.compress(bytes(range(5)) * 2)[:-1]),  # ends early
        png(2, 3, zlib.compress(bytes(8))),  # a byte is missing
        png(2, 3, zlib.compress(bytes(12))),  # three too many
        png(2, 3, zlib.compress(bytes([9, 1, 2] * 3))),  # no such filter
        png(2, 3, b"no stream"),
        png(2, 3, b""),
        png(0, 3, zlib.compress(bytes(3))),
        png(2, 3, zlib.compress(bytes(9))) + b"after the end",
        png(2, 3, zlib.compress(bytes(9)))[:-1],
        png(2, 3, zlib.compress(bytes(9)))[:28],
    ],
)
def test_a_small_png_is_read_as_pillow_reads_it(content: bytes) -> None:
    check_pillow_reads_the_same(content)


@given(st.data())
def test_a_damaged_small_png_has_the_reason_that_pillow_gives(data: st.DataObject) -> None:
    content = bytearray(encode(seven(36)))
    assert decoding._small_png(bytes(content), decoding.MAX_PIXELS) is not None
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # the head may be wrong, with the right checksum
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    check_pillow_reads_the_same(bytes(content))
