"""Every kind of picture, against what PIL itself says of it; and every kind of damage."""

import io
import os
import pickle
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli.data import images
from agecli.data.images import read_image, reduction, square
from agecli.errors import ImageError
from tests.archives import draw_face, jpeg_bytes

FACE = draw_face(30, 0)


def _encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _close(image, other, tolerance):
    difference = np.abs(np.asarray(image, dtype=float) - np.asarray(other, dtype=float))
    return image.mode == "RGB" and difference.mean() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_a_lossless_picture_comes_back_as_it_was(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert _close(read_image(_encode(FACE, kind, **options)), FACE, 0)


def test_path_bytes_and_image_give_the_same(tmp_path):
    path = tmp_path / "face.jpg"
    path.write_bytes(jpeg_bytes(FACE))
    read = [read_image(path), read_image(path.read_bytes()), read_image(Image.open(path))]
    assert all(_close(image, read[0], 0) for image in read)
    assert _close(read[0], FACE, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    turned = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    upright = draw_face(30, 0).crop((0, 0, 64, 40))
    stored = upright
    for step in turned[orientation]:  # how a camera held that way stores the picture
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert _close(read_image(_encode(stored, "PNG", exif=exif)), upright, 0)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA"])
def test_grey_palette_and_bilevel_pictures_are_as_pil_shows_them(mode):
    picture = FACE.convert(mode)
    assert _close(read_image(_encode(picture)), picture.convert("RGB"), 0)


def test_a_cmyk_jpeg_keeps_its_colours():
    assert _close(read_image(_encode(FACE.convert("CMYK"), "JPEG", quality=95)), FACE, 6)


def test_what_is_transparent_becomes_grey_whatever_colour_lies_below():
    picture = FACE.convert("RGBA")
    alpha = Image.new("L", FACE.size, 0)
    alpha.paste(255, (0, 0, 32, 64))
    picture.putalpha(alpha)
    pixels = np.asarray(read_image(_encode(picture)))
    assert (pixels[:, 32:] == 127).all()
    assert (pixels[:, :32] == np.asarray(FACE)[:, :32]).all()


def test_a_palette_with_a_transparent_colour_is_blended_too():
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.paste(1, (0, 0, 4, 8))
    pixels = np.asarray(read_image(_encode(picture, transparency=0)))
    assert (pixels[:, 4:] == 127).all()
    assert (pixels[:, :4] == (0, 255, 0)).all()


def test_a_16_bit_picture_is_scaled_not_cut():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(8, axis=0)
    pixels = np.asarray(read_image(_encode(Image.fromarray(ramp))), dtype=int)
    assert np.abs(pixels[..., 0] - ramp / 257).max() <= 1
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_a_float_picture_reaches_from_black_to_white(top):
    ramp = np.linspace(0, top, 64, dtype=np.float32)[None].repeat(8, axis=0)
    pixels = np.asarray(read_image(_encode(Image.fromarray(ramp), "TIFF")), dtype=int)
    assert np.abs(pixels[0, :, 1] - np.linspace(0, 255, 64)).max() <= 1


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = _encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(data))[0, 0].tolist() == [255, 0, 0]


# What is large


def _huge(width, height, **options):
    """Encode a JPEG whose left half is red."""
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (0, 0, width // 2, height))
    return _encode(image, "JPEG", **options)


@pytest.mark.parametrize(("side", "times"), [(200, 1), (202, 2), (400, 2), (402, 4), (800, 4)])
def test_a_large_jpeg_is_decoded_smaller(side, times, monkeypatch):
    monkeypatch.setattr(images, "DRAFT_PIXELS", 200 * 200)
    monkeypatch.setattr(images, "MAX_PIXELS", 200 * 200)  # of what is decoded
    monkeypatch.setattr(images, "MAX_JPEG_PIXELS", 800 * 800)
    image = read_image(_huge(side, side))
    assert reduction(image) == times and image.width == pytest.approx(side / times, abs=1)
    assert _close(image, Image.open(io.BytesIO(_huge(*image.size))), 3)
    assert reduction(read_image(image)) == times


def test_a_large_jpeg_2000_is_decoded_at_a_half(monkeypatch):
    monkeypatch.setattr(images, "REDUCED_PIXELS", 64 * 64 - 1)
    image = read_image(_encode(FACE, "JPEG2000"))
    assert image.size == (32, 32) and reduction(image) == 2
    assert _close(image, FACE.resize((32, 32), Image.Resampling.BOX), 9)


def test_a_large_jpeg_is_upright_and_passes_pils_own_limit(monkeypatch, recwarn):
    monkeypatch.setattr(images, "DRAFT_PIXELS", 100 * 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image = read_image(_huge(200, 100, exif=exif))
    assert image.size == (50, 100) and reduction(image) == 2
    assert image.getpixel((25, 10))[0] > 200 and image.getpixel((25, 90))[2] > 200
    assert not recwarn.list
    with pytest.raises(ImageError, match="million pixels: save it smaller, or as JPEG"):
        read_image(_encode(FACE))


def test_a_jpeg_that_is_too_large_even_so_has_a_reason(monkeypatch):
    monkeypatch.setattr(images, "MAX_JPEG_PIXELS", 10**6)
    with pytest.raises(ImageError, match=r"1001x1000 pixels, more than 1 million: save it smaller"):
        read_image(_huge(1001, 1000))


def test_an_opened_picture_is_not_changed(monkeypatch):
    monkeypatch.setattr(images, "DRAFT_PIXELS", 10)
    with Image.open(io.BytesIO(jpeg_bytes(FACE))) as image:
        assert read_image(image).size == image.size == FACE.size


def test_a_line_of_pixels_is_not_even_decoded(recwarn):
    with pytest.raises(ImageError, match="64000000x1 pixels") as caught:
        read_image(_png_header(64_000_000, 1), least_side=10)
    assert caught.value.fault == "too_thin"
    with pytest.raises(ImageError, match=r"cut short|broken"):
        read_image(_png_header(64, 1))


# What is whole but for something that does not count


def _with_chunk(png, kind, body):
    """Put a chunk behind a PNG's header."""
    chunk = struct.pack(">I4s", len(body), kind) + body
    return png[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + png[33:]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(4_000_000))),
        (b"iTXt", b"broken"),
        (b"tIME", b"now"),
    ],
)
def test_metadata_cost_no_picture(kind, body):
    data = _with_chunk(_encode(FACE), kind, body)
    assert _close(read_image(data), FACE, 0)
    with pytest.raises(ImageError, match=r"cut short|broken"):
        read_image(data[:-2000])


def test_exif_that_cannot_be_read_turns_nothing():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12" + bytes(5)
    assert read_image(_encode(FACE, "JPEG", exif=exif)).size == FACE.size


JPEGS = [
    {}, {"progressive": True}, {"restart_marker_blocks": 1}, {"restart_marker_rows": 1},
    {"quality": 100, "subsampling": 0},
]  # fmt: skip


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_may_lack_its_end_marker_and_nothing_more(options, mode):
    picture = FACE.resize((61, 53)).convert(mode)  # no whole number of blocks
    data = _encode(picture, "JPEG", **options)
    for lacking in (1, 2):
        assert _close(read_image(data[:-lacking]), read_image(data), 0)
    answered = 0
    for length in range(len(data) - 600, len(data) - 2):
        with suppress(ImageError):
            assert _close(read_image(data[:length]), read_image(data), 0)
            answered += 1
    assert not answered or mode == "CMYK"  # black that is nowhere may lack its last bits


@pytest.mark.parametrize(
    "name", ["IMG_0001.HEIC", "x.avif", "bigztxt.png", "bigicc.png", "noeoi.jpg"]
)
def test_the_cases_are_read(name):
    path = Path(__file__).parents[3] / "shared/cases" / name
    if not path.exists():
        pytest.skip("no ../shared")
    portrait = Image.open(Path(__file__).parents[2] / "demo/examples/astronaut.jpg").convert("RGB")
    assert _close(read_image(path), portrait, 12)
    data = path.read_bytes()
    with pytest.raises(ImageError, match=r"cut short|broken"):
        read_image(data[: len(data) // 2])


# What cannot be read


def test_other_formats_of_pillow_are_not_pictures(monkeypatch):
    """So that none of them starts a program, as PostScript does."""
    monkeypatch.setattr("PIL.EpsImagePlugin.has_ghostscript", lambda: pytest.fail("was called"))
    for kind in ("EPS", "PPM", "ICO", "TGA", "PCX"):
        data = _encode(FACE, kind)
        assert Image.open(io.BytesIO(data)).format == kind
        with pytest.raises(ImageError, match="not an image"):
            read_image(data)


def test_a_progressive_jpeg_of_endless_scans_is_not_decoded(monkeypatch):
    data = _encode(FACE, "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    monkeypatch.setattr(images, "MAX_SCANNED", scans * 64 * 64)
    assert read_image(data).size == (64, 64)
    place = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match=f"{scans + 1} scans of 64x64"):
        read_image(data[:-2] + data[place:])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg"])
def test_libraries_own_lines_are_not_shown(capfd, compression):
    data = _encode(FACE, "TIFF", compression=compression)
    assert read_image(data).size == FACE.size
    refused = 0
    for place in range(20, len(data) - 200, len(data) // 40):
        with suppress(ImageError):
            read_image(data[:place] + b"\xa5" * 40 + data[place + 40 :])
            refused -= 1
        refused += 1
    assert refused > 2
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_a_device_without_end_is_too_large(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 2**20)
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        read_image(Path("/dev/zero"))


def _png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 0) + b"IDAT" + bytes(4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg_bytes(FACE)[:-200], "cut short"),
        (jpeg_bytes(FACE)[:300], "cut short|broken image|not an image"),
        (_encode(FACE)[:-100], "cut short|broken image"),
        (_png_header(8, 8), "cut short|broken image"),
        (_png_header(60_000, 60_000), "million"),
        (_png_header(10_000, 8_000), "more than 64 million: save it smaller, or as JPEG"),
    ],
)
def test_a_bad_file_has_a_reason(data, reason, recwarn):
    with pytest.raises(ImageError, match=reason):
        read_image(data)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("data", "reason", "fault"),
    [
        (b"", "empty file", "empty"),
        (b"I am a text file named .jpg\n", "not an image", "not_an_image"),
        (jpeg_bytes(FACE)[:-200], "cut short", "cut_short"),
        (_png_header(10_000, 8_000), "more than 64 million", "too_large"),
    ],
)
def test_a_fault_is_reported_to_programs_and_passes_between_processes(data, reason, fault):
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(data)
    assert pickle.loads(pickle.dumps(caught.value)).fault == fault


def test_every_cut_of_a_jpeg_is_an_image_error_and_nothing_else():
    data = jpeg_bytes(FACE)
    for length in range(0, len(data) - 2, 37):
        with pytest.raises(ImageError):
            read_image(data[:length])


def test_random_damage_never_raises_anything_else():
    rng = np.random.default_rng(0)
    refused = 0
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"):
        data = _encode(FACE, kind)
        for _ in range(30):
            broken = bytearray(data)
            for place in rng.integers(len(data), size=8):
                broken[place] = rng.integers(256)
            try:
                read_image(bytes(broken))
            except ImageError:
                refused += 1
    assert refused > 20


def test_a_missing_file_and_a_folder_have_a_reason(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)


def test_too_large_a_file_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 2**20)
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(2**20 + 1)
    monkeypatch.setattr(type(path), "read_bytes", lambda self: pytest.fail("was read"))
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        read_image(path)


def test_a_lazy_pil_image_that_is_cut_is_an_image_error():
    with pytest.raises(ImageError, match="cut short"):
        read_image(Image.open(io.BytesIO(jpeg_bytes(FACE)[:-200])))


# The square that is stored


def test_a_square_of_the_right_size_is_untouched():
    assert (square(FACE, 64) == np.asarray(FACE)).all()


@pytest.mark.parametrize("shape", [(64, 40), (40, 64), (41, 64)])
def test_of_an_oblong_the_middle_is_kept(shape):
    picture = FACE.resize(shape)
    side = min(shape)
    left, top = (shape[0] - side) // 2, (shape[1] - side) // 2
    middle = picture.crop((left, top, left + side, top + side))
    expected = np.asarray(middle.resize((16, 16), Image.Resampling.BILINEAR), dtype=int)
    difference = np.abs(square(picture, 16) - expected)
    assert difference[1:-1, 1:-1].max() <= 1  # at the edge the square sees what lies beyond


def test_a_box_is_cut_out_with_its_fractions():
    ramp = Image.fromarray(np.arange(0, 256, 4, dtype=np.uint8)[None].repeat(64, 0)).convert("RGB")
    pixels = square(ramp, 8, (10.5, 4, 26.5, 20))  # each of its 8 columns is two wide
    expected = 4 * (10.5 + 2 * np.arange(8) + 0.5)
    assert np.abs(pixels[4, 1:-1, 0] - expected[1:-1]).max() <= 1


def test_a_line_of_pixels_still_gives_a_square():
    assert square(Image.new("RGB", (300, 1), "red"), 16).shape == (16, 16, 3)
