"""All kinds of `Examples` behave alike: reading, decoding in a graph, selection, fingerprint."""

import shutil
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from images import photograph, save_photographs
from PIL import Image

from keras_inception.datasets import Arrays, Files, open_data, open_labelled, read_picture, write_shards

SIZES = [(67, 45), (96, 80), (33, 61), (5, 9), (40, 3)]


def whole(shape):
    return tf.zeros(3, tf.int32), shape


def box(top, left, height, width):
    return lambda shape: (tf.constant([top, left, 0]), tf.constant([height, width, 3]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_photographs(tmp_path_factory.mktemp("pictures"), 4)


@pytest.fixture(scope="module")
def kinds(folder, tmp_path_factory):
    """The same twelve images as each kind of `Examples`."""
    out = tmp_path_factory.mktemp("shards") / "out"
    write_shards(folder, out, shards=3)
    files = open_data(folder, validation=0).train
    pictures = np.empty(12, object)
    pictures[:] = [files.read(index) for index in range(12)]
    arrays = Arrays(labels=files.labels, keys=files.keys, pictures=pictures, source="memory")
    return {"files": files, "records": open_data(out, validation=0).train, "arrays": arrays}


@pytest.fixture(params=["files", "records", "arrays"])
def examples(kinds, request):
    return kinds[request.param]


def test_all_kinds_hold_the_same(kinds, examples):
    files = kinds["files"]
    assert len(examples) == 12
    assert examples.labels.dtype == np.int32
    assert examples.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert examples.keys.tolist() == files.keys.tolist()
    for index in range(12):
        picture = examples.read(index)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, files.read(index))


def test_a_graph_decodes_what_read_gives(examples):
    decode = examples.decoder()
    in_graph = tf.function(lambda index, top, left: decode(index, lambda shape: ([top, left, 0], [11, 13, 3])))
    for index in range(12):
        picture = examples.read(index)
        np.testing.assert_array_equal(decode(tf.constant(index), whole), picture)
        np.testing.assert_array_equal(in_graph(index, 5, 16), picture[5:16, 16:29])


def test_heic_is_decoded_like_any_other_image(tmp_path):
    pillow_heif.register_heif_opener()
    for name in ("cat", "dog"):
        (tmp_path / "in" / name).mkdir(parents=True)
        photograph(len(name)).save(tmp_path / "in" / name / "0.heic")
    files = open_data(tmp_path / "in", validation=0).train
    write_shards(tmp_path / "in", tmp_path / "out", shards=1)
    records = open_data(tmp_path / "out", validation=0).train
    for index in range(2):
        expected = read_picture(files.name(index))
        for examples in (files, records):
            decoded = examples.decoder()(tf.constant(index), box(5, 7, 20, 22))
            np.testing.assert_array_equal(decoded, expected[5:25, 7:29])
            np.testing.assert_array_equal(examples.read(index), expected)


def test_the_crop_is_called_with_the_shape(examples):
    shapes = []

    def crop(shape):
        shapes.append(tuple(shape.numpy()))
        return whole(shape)

    for index in range(12):
        examples.decoder()(tf.constant(index), crop)
    assert set(shapes) == {examples.read(index).shape for index in range(12)}


def test_some_can_be_selected(examples):
    some = examples.select([7, 2])
    assert type(some) is type(examples)
    assert some.keys.tolist() == [examples.keys[7], examples.keys[2]]
    assert some.labels.tolist() == [1, 0]
    assert some.name(0) == examples.name(7)
    np.testing.assert_array_equal(some.read(1), examples.read(2))
    np.testing.assert_array_equal(some.decoder()(tf.constant(1), whole), examples.read(2))
    assert len(examples.select([])) == 0


def test_other_labels_can_be_given(examples):
    assert examples.relabelled(range(12)).labels.tolist() == list(range(12))
    assert examples.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_the_fingerprint_depends_on_keys_labels_and_order(examples):
    fingerprint = examples.fingerprint()
    assert examples.select(range(12)).fingerprint() == fingerprint
    assert examples.select([1, 0, *range(2, 12)]).fingerprint() != fingerprint
    assert examples.select(range(11)).fingerprint() != fingerprint
    assert examples.relabelled([1, *examples.labels[1:]]).fingerprint() != fingerprint


def test_the_fingerprint_of_files_depends_on_their_content_and_not_on_the_folder(tmp_path):
    before, moved = (open_data(save_photographs(tmp_path / name, 2), validation=0).train for name in "xy")
    assert before.fingerprint() == moved.fingerprint()
    with open(before.name(3), "ab") as file:
        file.write(b"\0")
    assert before.fingerprint() != moved.fingerprint()


def test_the_fingerprint_of_arrays_depends_on_their_pixels():
    pictures = np.zeros((2, 4, 4), np.uint8)
    rest = {"labels": np.array([0, 1]), "keys": np.array(["a", "b"], object), "source": "memory"}
    before = Arrays(pictures=pictures.copy(), **rest).fingerprint()
    pictures[1, 2, 3] = 1
    assert Arrays(pictures=pictures, **rest).fingerprint() != before


def test_encoded_images_are_plain_and_lossless(kinds):
    for examples in kinds.values():
        for index in range(12):
            content = examples.encoded(index)
            decoded = tf.io.decode_image(content, expand_animations=False)
            if content.startswith(b"\xff\xd8"):
                decoded = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE")
            np.testing.assert_array_equal(decoded, examples.read(index))
    files = kinds["files"]
    as_they_are = [files.encoded(index) == Path(files.name(index)).read_bytes() for index in range(12)]
    assert as_they_are == [True, True, True, False] * 3


def test_gray_arrays_are_read_as_rgb():
    gray = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for pictures in (gray, gray[..., None]):
        examples = Arrays(
            labels=np.array([0, 1]), keys=np.array(["a", "b"], object), pictures=pictures, source="memory"
        )
        np.testing.assert_array_equal(examples.read(1), np.stack([gray[1]] * 3, -1))
        assert examples.name(1) == "memory#b"


def one_file(path):
    return Files(
        labels=np.array([0]), keys=np.array([path.name], object), base=str(path.parent), plain=np.array([True])
    )


@pytest.mark.parametrize("name", ["one.bmp", "one.png"])
def test_an_image_with_the_same_number_of_bytes_has_another_fingerprint(name, tmp_path):
    marks = []
    for gray in (10, 200):
        Image.new("RGB", (4, 4), (gray, gray, gray)).save(tmp_path / name, compress_level=0)
        marks.append(((tmp_path / name).stat().st_size, one_file(tmp_path / name).fingerprint()))
    (size, before), (same, after) = marks
    assert size == same
    assert before != after


@pytest.mark.parametrize(
    ("ending", "mode", "options"),
    [
        ("jpg", "RGB", {"quality": 75}),
        ("jpg", "RGB", {"quality": 95, "subsampling": 0}),
        ("jpg", "RGB", {"subsampling": 1, "progressive": True}),
        ("jpg", "L", {}),
        ("png", "RGB", {}),
        ("png", "L", {}),
    ],
)
def test_tensorflow_decodes_plain_images_as_pillow_does(tmp_path, ending, mode, options):
    path = tmp_path / f"a.{ending}"
    photograph(0, width=67, height=45).convert(mode).save(path, **options)
    examples = one_file(path)
    assert examples.decodable().tolist() == [True]
    np.testing.assert_array_equal(examples.decoder()(tf.constant(0), whole), read_picture(path))


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    """JPEGs of every size and chroma subsampling: the image, and a function that decodes a crop of it."""
    root = tmp_path_factory.mktemp("jpegs")
    found = []
    kinds = {"444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"subsampling": 2}, "gray": {}}
    for (width, height), (name, options) in ((size, kind) for size in SIZES for kind in kinds.items()):
        path = root / f"{width}x{height}-{name}.jpg"
        noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).convert("L" if name == "gray" else "RGB").save(path, progressive=width == 96, **options)
        found.append((read_picture(path), one_file(path).decoder()))
    return found


@settings(max_examples=400)
@given(st.data())
def test_any_part_of_a_jpeg_has_the_colors_of_the_whole(jpegs, data):
    """They also agree at the edges, where libjpeg smooths across the border of the crop."""
    picture, decode = data.draw(st.sampled_from(jpegs))
    top, left = (data.draw(st.integers(0, side - 1)) for side in picture.shape[:2])
    height = data.draw(st.integers(1, picture.shape[0] - top))
    width = data.draw(st.integers(1, picture.shape[1] - left))
    part = decode(tf.constant(0), box(top, left, height, width))
    np.testing.assert_array_equal(part, picture[top : top + height, left : left + width])


def test_an_image_that_became_unreadable_is_named(tmp_path):
    out = tmp_path / "out"
    write_shards(save_photographs(tmp_path / "pictures", 2), out, shards=1)
    records = open_data(out, validation=0).train
    with open(records.shards[0], "r+b") as file:
        file.seek(records.offset[4] + 20)
        file.write(bytes(7))
    name = rf"train-00000-of-00001\.tfrecord#{records.record[4]}: the record is corrupted"
    with pytest.raises(ValueError, match=name):
        records.read(4)
    decode = records.decoder()
    in_graph = tf.data.Dataset.range(4, 5).map(lambda index: decode(index, whole))
    with pytest.raises(tf.errors.OpError, match=name):
        next(iter(in_graph))
    records.read(3)


def test_images_are_recognized_among_others_by_their_content(pictures, tmp_path):
    splits = open_data(pictures, validation=0)
    shutil.copytree(pictures / "test", tmp_path / "renamed" / "test")
    for path in sorted((pictures / "train" / "red").iterdir())[:3]:
        shutil.copyfile(path, tmp_path / "renamed" / "test" / "blue" / f"red_{path.name}")
    held_out, _ = open_labelled(tmp_path / "renamed", splits.labels)
    same = held_out.among(splits.train)
    assert [held_out.keys[index] for index in np.flatnonzero(same)] == [f"blue/red_{index}.png" for index in range(3)]
    write_shards(pictures, tmp_path / "shards")
    shards, _ = open_labelled(tmp_path / "shards", splits.labels, prefer=("train",))
    assert held_out.among(shards).tolist() == same.tolist()
    arrays = Arrays(labels=np.zeros(3, int), keys=np.arange(3), pictures=np.arange(12).reshape(3, 2, 2), source="x")
    assert arrays.select([0, 2]).among(arrays.select([1, 2])).tolist() == [False, True]
