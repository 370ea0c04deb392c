import os

import numpy as np
import pytest
from images import noise, photograph
from PIL import Image

from keras_inception.datasets import read_picture
from keras_inception.datasets.unlabeled import find_images


@pytest.fixture
def folder(tmp_path):
    """A folder of images and other files, on two levels."""
    for name in ("b.png", "a.jpg", "deeper/c.png", "deeper/without_suffix", ".hidden/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photograph().save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "deeper" / "bad.png").write_text("not an image either")
    (tmp_path / "empty").mkdir()
    return tmp_path


def paths(images, folder):
    return [os.path.relpath(found.path, folder) for found in find_images(images)]


ALL = ["a.jpg", "b.png", "deeper/bad.png", "deeper/c.png", "deeper/without_suffix"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("b.png", ["b.png"]),
        ("notes.txt", ["notes.txt"]),
        ("", ALL),
        ("*.png", ["b.png"]),
        ("**/*.png", ["b.png", "deeper/bad.png", "deeper/c.png"]),
        ("**", ALL),
        ("*", ALL),
        ("[ab].*", ["a.jpg", "b.png"]),
    ],
)
def test_files_folders_and_patterns(folder, given, expected):
    (folder / "empty").rmdir()
    assert paths(folder / given, folder) == expected
    assert paths(os.path.join(folder, given), folder) == expected
    assert paths(os.fsencode(folder / given), folder) == expected


def test_a_file_whose_name_is_like_a_pattern(folder):
    photograph().save(folder / "[ab].png")
    assert paths(folder / "[ab].png", folder) == ["[ab].png"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("missing.png", "No such file or directory"),
        ("empty", "has no images"),
        ("*.gif", "no image matches this pattern"),
        ("*.txt", "no image matches this pattern"),
        ("notes.txt", "not a readable image"),
    ],
)
def test_what_is_no_image_is_an_error_of_its_own(folder, given, reason):
    bad, good = find_images([folder / given, folder / "b.png"])
    assert bad.path == str(folder / given)
    with pytest.raises(ValueError, match=f"^{reason}$"):
        bad.read()
    np.testing.assert_array_equal(good.read(), read_picture(folder / "b.png"))


def test_a_link_to_a_folder_above_is_not_followed(folder):
    (folder / "deeper" / "up").symlink_to(folder)
    assert len(paths(folder / "deeper", folder)) == 3


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_not_utf_8(folder):
    name = os.fsencode(folder) + b"/caf\xe9.png"
    os.rename(folder / "b.png", name)
    expected = os.fsdecode(name)
    for given in (name, expected, folder, folder / "caf*"):
        assert expected in [found.path for found in find_images(given)]
    (found,) = find_images(name)
    assert found.read().shape == (30, 40, 3)


def test_images_in_memory(folder):
    pixels = noise(6, 5)
    with Image.open(folder / "b.png") as opened:
        given = [folder / "b.png", opened, Image.fromarray(pixels), pixels, pixels[..., 0], pixels[..., :1]]
        found = list(find_images(each for each in given))
        images = [each.read() for each in found]
    assert [each.path for each in found[1:4]] == [str(folder / "b.png"), "image 2", "image 3"]
    np.testing.assert_array_equal(images[1], images[0])
    np.testing.assert_array_equal(images[2], pixels)
    np.testing.assert_array_equal(images[3], pixels)
    for gray in images[4:]:
        np.testing.assert_array_equal(gray, np.repeat(pixels[..., :1], 3, axis=2))
    assert [each.path for each in find_images(np.stack([pixels, pixels]))] == ["image 0", "image 1"]


def test_an_image_in_memory_is_turned_and_put_on_white_as_in_a_file(tmp_path):
    image = photograph().convert("RGBA")
    image.putalpha(Image.fromarray(noise(30, 40)[..., 0]))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        (found,) = find_images(opened)
        np.testing.assert_array_equal(found.read(), read_picture(tmp_path / "a.png"))
    (found,) = find_images(np.asarray(image))
    np.testing.assert_array_equal(np.rot90(found.read(), -1), read_picture(tmp_path / "a.png"))


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), bool)]
)
def test_an_array_of_another_type_or_shape_cannot_be_read(array):
    (found,) = find_images(array)
    with pytest.raises(ValueError, match=r"must be uint8 \(height, width\), or .* Received: (float64|uint8|bool) \("):
        found.read()


def test_a_truncated_image_in_memory_cannot_be_read(tmp_path):
    photograph().save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    with Image.open(tmp_path / "a.png") as opened, pytest.raises(ValueError, match=r"truncated|not enough"):
        next(find_images(opened)).read()


@pytest.mark.parametrize("given", [5, None, ["a.png", 5], [["a.png"]], iter([5])])
def test_what_is_neither_a_path_nor_an_image_is_refused(given):
    with pytest.raises(ValueError, match=r"`images` must be paths, PIL images or arrays, .* Received: (int|None|list)"):
        list(find_images(given))


def test_images_are_found_when_they_are_asked_for():
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield noise(2, 2)

    found = find_images(endless())
    assert (next(found).path, next(found).path) == ("image 0", "image 1")
    assert len(asked) == 2
