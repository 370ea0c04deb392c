import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pillow_heif
import pytest
from images import photograph
from PIL import Image, ImageCms

from keras_inception.datasets import read_picture, reading
from keras_inception.datasets.reading import examine

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
# Four pixels that distinguish every rotation and reflection.
CORNERS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)


def write(path, image=None, **options):
    (image or photograph()).save(path, **options)
    return path


def one_color(mode, color):
    return Image.new(mode, (20, 20), color)


def middle(path):
    return read_picture(path)[10, 10].tolist()


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "webp", "ppm", "jp2"])
def test_formats_are_read(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    image = read_picture(write(tmp_path / f"a.{ending}", **options))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.asarray(photograph()))


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, CORNERS),
        (2, CORNERS[:, ::-1]),
        (3, CORNERS[::-1, ::-1]),
        (4, CORNERS[::-1]),
        (5, CORNERS.transpose(1, 0, 2)),
        (6, np.rot90(CORNERS, 1)),  # the image must be rotated clockwise
        (7, CORNERS[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(CORNERS, -1)),
    ],
)
@pytest.mark.parametrize("ending", ["jpg", "png", "tiff", "webp"])
def test_exif_orientation_is_applied(tmp_path, orientation, stored, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    big = Image.fromarray(np.repeat(np.repeat(stored, 16, 0), 16, 1))
    options = {"jpg": {"quality": 95, "subsampling": 0}, "webp": {"lossless": True}}.get(ending, {})
    path = write(tmp_path / f"a.{ending}", big, exif=exif, **options)
    np.testing.assert_allclose(read_picture(path)[8::16, 8::16].astype(int), CORNERS, atol=3)
    assert examine(path) == (orientation == 1 and ending in ("jpg", "png"))


def test_orientation_of_an_image_that_is_not_square(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(write(tmp_path / "a.jpg", photograph(width=40, height=30), exif=exif)).shape == (40, 30, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_matter(tmp_path):
    path = write(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_picture(path).shape == (30, 40, 3)


def test_cmyk_jpeg_keeps_its_colors(tmp_path):
    path = write(tmp_path / "a.jpg", one_color("CMYK", (0, 255, 255, 0)), quality=95)
    np.testing.assert_allclose(middle(path), RED, atol=3)
    assert not examine(path)


def test_cmyk_tiff_keeps_its_colors(tmp_path):
    assert middle(write(tmp_path / "a.tiff", one_color("CMYK", (255, 255, 0, 0)))) == list(BLUE)


def test_transparent_parts_become_white(tmp_path):
    half = write(tmp_path / "half.png", one_color("RGBA", (0, 0, 255, 128)))
    clear = write(tmp_path / "clear.webp", one_color("RGBA", (0, 0, 255, 0)), lossless=True)
    gray = write(tmp_path / "gray.png", one_color("LA", (0, 51)))
    assert middle(half) == [127, 127, 255]
    assert middle(clear) == list(WHITE)
    assert middle(gray) == [204, 204, 204]
    assert not examine(half)


def test_a_transparent_color_becomes_white(tmp_path):
    rgb = write(tmp_path / "rgb.png", one_color("RGB", RED), transparency=RED)
    gray = write(tmp_path / "gray.png", one_color("L", 9), transparency=9)
    assert middle(rgb) == middle(gray) == list(WHITE)
    assert not examine(rgb)


def test_palette(tmp_path):
    image = one_color("P", 3)
    image.putpalette([0] * 9 + [10, 200, 30])
    opaque = write(tmp_path / "opaque.png", image)
    transparent = write(tmp_path / "transparent.png", image, transparency=3)
    gif = write(tmp_path / "a.gif", image)
    assert middle(opaque) == middle(gif) == [10, 200, 30]
    assert middle(transparent) == list(WHITE)
    assert not examine(opaque)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [one_color("RGB", RED), one_color("RGB", BLUE)]
    for ending in ("gif", "webp", "tiff", "png"):
        path = write(tmp_path / f"a.{ending}", frames[0], save_all=True, append_images=frames[1:])
        np.testing.assert_allclose(middle(path), RED, atol=3)


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bit_gray_is_scaled(tmp_path, ending):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    path = write(tmp_path / f"a.{ending}", Image.fromarray(ramp))
    np.testing.assert_array_equal(read_picture(path)[..., 0], np.arange(256).reshape(16, 16))
    assert not examine(path)


def test_gray_of_unknown_range_is_refused(tmp_path):
    path = write(tmp_path / "a.tiff", Image.fromarray(np.full((4, 4), 0.5, np.float32)))
    with pytest.raises(ValueError, match=r"a\.tiff: its gray levels"):
        read_picture(path)


def test_lab_keeps_its_colors(tmp_path):
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    path = write(tmp_path / "a.tiff", ImageCms.applyTransform(one_color("RGB", (200, 80, 40)), to_lab))
    np.testing.assert_allclose(middle(path), (200, 80, 40), atol=4)


def test_gray_and_bilevel(tmp_path):
    assert middle(write(tmp_path / "l.png", one_color("L", 77))) == [77, 77, 77]
    bilevel = write(tmp_path / "1.png", one_color("1", 1))
    assert middle(bilevel) == list(WHITE)
    assert not examine(bilevel)


def test_unreadable_files_are_reported_with_their_path(tmp_path):
    whole = write(tmp_path / "whole.jpg").read_bytes()
    contents = {
        "empty.jpg": (b"", "empty file"),
        "text.jpg": (b"a shopping list", "not a readable image"),
        "half.jpg": (whole[: len(whole) // 2], "(?i)truncated"),
        "program.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a readable image"),
    }
    for name, (content, reason) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason) as refused:
            read_picture(path)
        assert str(refused.value).startswith(f"{path}: ")
    with pytest.raises(ValueError, match=r"gone\.jpg: No such file"):
        read_picture(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="not a file"):
        read_picture(tmp_path)


def test_bytes_are_read_like_files():
    content = io.BytesIO()
    photograph().save(content, "JPEG")
    np.testing.assert_array_equal(read_picture("shard#3", content.getvalue()), np.asarray(Image.open(content)))
    with pytest.raises(ValueError, match="shard#3: not a readable image"):
        read_picture("shard#3", b"words")
    with pytest.raises(ValueError, match="shard#3: empty file"):
        read_picture("shard#3", b"")


def test_decompression_bombs_are_refused(tmp_path):
    path = write(tmp_path / "a.png")
    contents = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + contents[24:29]
    path.write_bytes(contents[:12] + header + struct.pack(">I", zlib.crc32(header)) + contents[33:])
    with pytest.raises(ValueError, match=r"a\.png: .*decompression bomb"):
        read_picture(path)


def test_images_that_only_pillow_reads_are_not_plain(tmp_path):
    """TensorFlow rejects files without end markers or with wrong checksums."""
    jpeg = write(tmp_path / "whole.jpg").read_bytes()
    png = write(tmp_path / "whole.png").read_bytes()
    checksum = png.index(b"IEND") - 8  # checksum of the pixels
    contents = {
        "trailing.jpg": jpeg + b"a camera's notes",
        "no_end.png": png[: png.index(b"IEND") - 4],
        "checksum.png": png[:checksum] + b"\0\0\0\0" + png[checksum + 4 :],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert read_picture(tmp_path / name).shape == (30, 40, 3)
        assert not examine(tmp_path / name), name
    assert examine(tmp_path / "whole.jpg")
    assert examine(tmp_path / "whole.png")


@pytest.fixture
def heic(tmp_path):
    """An HEIC file as phones write it: turned by its own property, which the orientation in its EXIF block repeats."""
    pillow_heif.register_heif_opener()
    image = Image.fromarray(np.repeat(np.repeat(np.rot90(CORNERS, 1), 32, 0), 32, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info["exif"] = exif.tobytes()
    image.save(tmp_path / "a.heic", quality=100)
    assert b"irot" in (tmp_path / "a.heic").read_bytes()
    return tmp_path / "a.heic"


def test_heic_is_read_and_turned_once(heic):
    np.testing.assert_allclose(read_picture(heic)[16::32, 16::32].astype(int), CORNERS, atol=3)
    np.testing.assert_array_equal(read_picture("name", heic.read_bytes()), read_picture(heic))
    os.rename(heic, heic.with_suffix(".jpg"))
    assert examine(heic.with_suffix(".jpg")) is False


def test_damaged_heic_is_reported(heic):
    content = heic.read_bytes()
    for end in (12, 100, len(content) // 2):
        assert isinstance(examine("name", content[:end]), str)


def test_heic_without_its_extra(heic, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    reading._heic_is_supported.cache_clear()
    assert examine(heic) == 'HEIC images require the extra heif: pip install "keras-inception[heif]"'
    heic.write_bytes(heic.read_bytes()[:8] + b"avif")
    assert examine(heic) == "not a readable image"


def test_pillow_does_not_warn(tmp_path):
    path = write(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\xff\xff\xff\xff")
    program = "import sys; from keras_inception.datasets import read_picture; print(read_picture(sys.argv[1]).shape)"
    ran = subprocess.run(
        [sys.executable, "-W", "always", "-c", program, path], capture_output=True, encoding="utf-8", check=True
    )
    assert ran.stdout == "(30, 40, 3)\n"
    assert ran.stderr == ""


def test_importing_datasets_imports_nothing_heavy():
    program = "import sys, keras_inception.datasets\nprint({'tensorflow', 'keras', 'PIL'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert ran.stdout == "set()\n"
