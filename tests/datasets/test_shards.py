"""Shards: writing, resuming, damage, those of other tools, and the same training data as from the folder."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from images import photograph, save_photographs

from keras_inception.cli import main
from keras_inception.datasets import (
    Augmentation,
    Records,
    evaluation_batches,
    open_data,
    open_labelled,
    read_picture,
    records,
    training_batches,
    write_shards,
    writing,
)
from keras_inception.datasets.records import INDEX
from keras_inception.datasets.shards import is_shard_folder
from keras_inception.preprocessing import DEFAULT

PREPROCESSING = DEFAULT.replace(size=(16, 24))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images in train and test, including a broken image and a table."""
    root = tmp_path_factory.mktemp("pictures")
    save_photographs(root / "train", 8)
    save_photographs(root / "test", 2, seed=50)
    (root / "train" / "a" / "broken.jpg").write_bytes(b"words")
    (root / "train" / "a" / "table.csv").write_bytes(b"words")
    return root


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "out"
    write_shards(folder, out, shards=4)
    return out


@pytest.fixture
def copy(shards, tmp_path):
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def seen(examples):
    """Return what two epochs of training and an evaluation see, as bytes."""
    batches = training_batches(
        examples, PREPROCESSING, batch_size=5, seed=3, first_epoch=0, epochs=2, augmentation=Augmentation()
    )
    every = [*batches, *evaluation_batches(examples, PREPROCESSING, 8)]
    return [(x.numpy().tobytes(), y.numpy().tobytes()) for x, y in every]


def test_the_files_of_a_folder_of_shards(shards, folder):
    assert names(shards) == [
        INDEX,
        "labels.txt",
        "shards.json",
        *(f"test-{number:05}-of-00004.tfrecord" for number in range(4)),
        *(f"train-{number:05}-of-00004.tfrecord" for number in range(4)),
    ]
    assert (shards / "labels.txt").read_text(encoding="utf-8") == "a\nb\né\n"
    manifest = json.loads((shards / "shards.json").read_text())
    assert manifest["complete"]
    assert manifest["skipped"] == [[str(folder / "train" / "a" / "broken.jpg"), "not a readable image"]]
    counts = [entry["pictures"] for name, entry in sorted(manifest["files"].items())]
    assert counts == [2, 2, 1, 1, 6, 6, 6, 6]


def test_records_have_the_keys_of_tf_slim(shards, folder):
    features = {
        "image/encoded": tf.io.FixedLenFeature((), tf.string),
        "image/format": tf.io.FixedLenFeature((), tf.string),
        "image/class/label": tf.io.FixedLenFeature((), tf.int64),
        "image/class/text": tf.io.FixedLenFeature((), tf.string),
        "image/filename": tf.io.FixedLenFeature((), tf.string),
    }
    keys = set()
    for path in shards.glob("train*.tfrecord"):
        labels = set()
        for record in tf.data.TFRecordDataset(str(path)):
            values = {key: value.numpy() for key, value in tf.io.parse_single_example(record, features).items()}
            key = values["image/filename"].decode()
            keys.add(key)
            labels.add(values["image/class/label"])
            assert ("a", "b", "é")[values["image/class/label"]] == values["image/class/text"].decode() == key[0]
            file = folder / "train" / key
            assert values["image/format"] == (b"png" if int(file.stem) % 4 > 1 else b"jpeg")
            same_bytes = values["image/encoded"] == file.read_bytes()
            assert same_bytes == (int(file.stem) % 4 != 3), "only images that are not plain should be encoded again"
            picture = tf.io.decode_image(values["image/encoded"], channels=3)
            assert picture.shape == read_picture(file).shape
        assert len(labels) > 1, "a shard should be a sample of all classes"
    assert len(keys) == 24


def test_a_run_sees_the_same_as_on_the_folder(shards, folder):
    ours, theirs = (open_data(source, validation=0.25, seed=2) for source in (shards, folder))
    assert isinstance(ours.train, Records)
    assert ours.labels == theirs.labels
    assert [len(split) for split in (ours.train, ours.validation, ours.test)] == [18, 6, 6]
    for split in ("train", "validation", "test"):
        here, there = getattr(ours, split), getattr(theirs, split)
        assert here.keys.tolist() == there.keys.tolist()
        assert seen(here) == seen(there)


def test_known_class_names_determine_the_labels(shards):
    splits = open_data(shards, labels=("é", "x", "b", "a"), validation=0)
    assert splits.labels == ("é", "x", "b", "a")
    assert set(zip((key[0] for key in splits.train.keys), splits.train.labels.tolist(), strict=True)) == {
        ("é", 0),
        ("b", 2),
        ("a", 3),
    }
    test, _ = open_labelled(shards, ["É", "B", "A"])
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="'b' is not one of the 2 classes: a, é"):
        open_labelled(shards, ["a", "é"])


def test_shards_are_the_same_every_time(shards, folder, tmp_path):
    write_shards(folder, tmp_path / "again", shards=4)
    for path in shards.glob("*.tfrecord"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_complete_folder_is_verified_and_unchanged(folder, copy):
    before = {path: path.stat().st_mtime_ns for path in copy.glob("*.tfrecord")}
    seen = []
    write_shards(folder, copy, shards=4, on_write=lambda done, total: seen.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in copy.glob("*.tfrecord")} == before
    assert seen[-1] == (30, 30)


def test_a_damaged_shard_is_written_anew(shards, folder, copy):
    (copy / "train-00001-of-00004.tfrecord").write_bytes(b"")
    write_shards(folder, copy, shards=4)
    name = "train-00001-of-00004.tfrecord"
    assert (copy / name).read_bytes() == (shards / name).read_bytes()
    open_data(copy, strict=True)


KILLED = """
import os, sys
import tensorflow as tf
from keras_inception.datasets import write_shards
class Writer(tf.io.TFRecordWriter):
    def write(self, record):
        super().write(record)
        if "train-00002" in self.path and len(os.listdir(sys.argv[2])) > 3:
            self.flush()
            os._exit(9)
    def __init__(self, path):
        self.path = path
        super().__init__(path)
tf.io.TFRecordWriter = Writer
write_shards(sys.argv[1], sys.argv[2], shards=4)
"""


def test_a_killed_call_is_resumed(shards, folder, tmp_path):
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, folder, out], capture_output=True, check=False, timeout=120)
    assert killed.returncode == 9, killed.stderr.decode()[-500:]
    assert not (out / "train-00002-of-00004.tfrecord").exists()
    with pytest.raises(ValueError, match=r"not all written yet: run keras-inception shard again to continue"):
        open_data(out)
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    recorded = json.loads((out / "shards.json").read_text())["files"]
    write_shards(folder, out, shards=4)
    assert names(out) == names(shards)
    for path in shards.glob("*.tfrecord"):
        assert path.read_bytes() == (out / path.name).read_bytes()
    for path, time in written.items():
        assert path.name not in recorded or path.stat().st_mtime_ns == time


def test_changed_images_are_noticed(folder, tmp_path, monkeypatch):
    source = shutil.copytree(folder, tmp_path / "source")
    out = tmp_path / "out"
    monkeypatch.setattr(writing, "_write", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_shards(source, out, shards=2)
    monkeypatch.undo()
    with open(source / "test" / "b" / "0.jpg", "ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=r"started with other images: they have changed since, in test\. Remove"):
        write_shards(source, out, shards=2)
    with pytest.raises(ValueError, match=r"started with 2 shards\. Received: 3"):
        write_shards(source, out, shards=3)


@pytest.mark.parametrize("shards", [0, 100000])
def test_a_number_of_shards_out_of_range_is_refused(folder, tmp_path, shards):
    with pytest.raises(ValueError, match=r"`shards` must be from 1 to 99999\. Received: shards="):
        write_shards(folder, tmp_path / "out", shards=shards)


def test_folders_with_other_files_are_refused(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("words")
    with pytest.raises(ValueError, match="is not empty and holds no unfinished shards"):
        write_shards(folder, tmp_path)
    with pytest.raises(ValueError, match=r"`output` must be outside of the images in .* Received: .*train/new"):
        write_shards(folder, folder / "train" / "new")
    assert names(tmp_path) == ["mine.txt"]


def test_there_are_at_most_as_many_shards_as_images(tmp_path):
    manifest = write_shards(save_photographs(tmp_path / "in", 1), tmp_path / "out", shards=9)
    assert sorted(manifest["files"]) == [f"train-{number:05}-of-00003.tfrecord" for number in range(3)]


def test_a_full_disk_leaves_no_partial_shard(small_disk, folder, tmp_path):
    refused = pytest.raises(OSError, match=r"cannot be written: File too large: .*of-00002\.tfrecord")
    with refused, small_disk(6000):
        write_shards(folder, tmp_path / "out", shards=2)
    left = names(tmp_path / "out")
    assert "shards.json" in left
    whole = json.loads((tmp_path / "out" / "shards.json").read_text())["files"]
    assert [name for name in left if name.endswith(".tfrecord")] == sorted(whole)
    assert not any(name.startswith(".writing") for name in left)
    write_shards(folder, tmp_path / "out", shards=2)
    assert len(open_data(tmp_path / "out", validation=0, strict=True).train) == 24


def test_wrongly_written_records_are_noticed(folder, tmp_path, monkeypatch):
    example = writing._example
    monkeypatch.setattr(
        writing, "_example", lambda content, label, text, key: example(content, (label + 1) % 3, text, key)
    )
    with pytest.raises(ValueError, match=r"does not hold the images that were written: remove it and call again"):
        write_shards(folder, tmp_path / "out", shards=1)
    assert not json.loads((tmp_path / "out" / "shards.json").read_text())["complete"]


def test_a_missing_shard_is_named(copy):
    (copy / "train-00002-of-00004.tfrecord").unlink()
    with pytest.raises(ValueError, match=r"train-00002-of-00004\.tfrecord is missing: shards.json lists it"):
        open_data(copy)
    (copy / "shards.json").unlink()
    with pytest.raises(ValueError, match="lacks 1 of 4 train shards, such as number 2"):
        open_data(copy)


def test_a_shard_of_another_size_is_named(copy):
    path = copy / "test-00000-of-00004.tfrecord"
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(ValueError, match=rf"test-00000.* must have {size} bytes. Received: {size - 1}"):
        open_data(copy)
    (copy / "shards.json").unlink()
    with pytest.raises(ValueError, match=r"test-00000-of-00004\.tfrecord#1: the record is corrupted"):
        open_data(copy)


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_strict_finds_a_single_bit(copy):
    examples = open_data(copy, validation=0).train
    index = int(np.flatnonzero((examples.record == 3) & (examples.shard == examples.shard.min()))[0])
    name = Path(examples.shards[examples.shard[index]]).name
    flip(copy / name, int(examples.offset[index] + examples.length[index] // 2))
    damaged = open_data(copy, validation=0).train
    with pytest.raises(ValueError, match=rf"{name}#3: the record is corrupted"):
        damaged.read(index)
    with pytest.raises(ValueError, match=rf"{name}#3: the record is corrupted"):
        open_data(copy, strict=True)


def test_strict_compares_hashes(copy):
    manifest = json.loads((copy / "shards.json").read_text())
    manifest["files"]["test-00000-of-00004.tfrecord"]["sha256"] = "0" * 64
    (copy / "shards.json").write_text(json.dumps(manifest))
    open_data(copy)
    with pytest.raises(ValueError, match=r"test-00000.* is not the file that was written: its SHA-256 differs"):
        open_data(copy, strict=True)


def test_the_index_is_made_once(copy, monkeypatch):
    (copy / INDEX).unlink()
    before = seen(open_data(copy).train)
    assert (copy / INDEX).is_file()
    monkeypatch.setattr(records, "make_index", None)
    assert seen(open_data(copy).train) == before


def test_in_a_read_only_folder_the_index_is_made_every_time(copy, monkeypatch):
    def refuse(index):
        raise PermissionError

    (copy / INDEX).unlink()
    monkeypatch.setattr(records, "save_index", refuse)
    assert len(open_data(copy, validation=0).train) == 24
    assert INDEX not in names(copy)


@pytest.mark.parametrize("content", [b"", b"words", b"PK\x03\x04", "others", "pickle", "short"])
def test_an_index_that_does_not_fit_is_made_anew(copy, content):
    path = copy / INDEX
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with np.load(path) as stored:
            values = dict(stored)
        if content == "others":
            values["rest"] = np.array(str(values["rest"]).replace("00004", "00005"))
        elif content == "pickle":
            values["rest"] = np.array({"files": []}, object)
        else:
            values["crc"] = values["crc"][1:]
        np.savez(path, **values)
    assert len(open_data(copy, validation=0, strict=False).train) == 24
    with np.load(path) as stored:
        assert len(stored["crc"]) == 30


def test_a_shard_that_was_replaced_is_noticed_on_reading(copy):
    """The shard has the same size, so the index seems to fit."""
    (copy / "shards.json").unlink()
    path = copy / "train-00000-of-00004.tfrecord"
    path.write_bytes(path.read_bytes()[::-1])
    examples = open_data(copy, validation=0).train
    index = int(np.flatnonzero(examples.shard == examples.shards.index(str(path)))[0])
    with pytest.raises(ValueError, match="the record is corrupted, or has changed since it was indexed"):
        examples.read(index)


def feature(value):
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write(path, rows, **options):
    """Write records with these values."""
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path), **options) as writer:
        for row in rows:
            values = {f"image/{key}": feature(value) for key, value in row.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString())


def rows(tmp_path, *labels, **others):
    """Return rows with a JPEG each."""
    path = tmp_path / "one.jpg"
    photograph(0).save(path)
    return [{"encoded": path.read_bytes(), "class/label": label, **others} for label in labels]


def test_tf_slims_imagenet(tmp_path):
    """Labels from 1, names in the records (two of them equal), shards without a suffix, and one WebP image."""
    data = tmp_path / "data"
    crane, tench = b"crane", b"tench, Tinca tinca"
    picture = tmp_path / "one.webp"
    photograph(1).save(picture, lossless=True)
    odd = {"encoded": picture.read_bytes(), "class/label": 1, "class/text": tench}
    write(data / "train-00000-of-00002", [*rows(tmp_path, 135, **{"class/text": crane}), odd])
    write(data / "train-00001-of-00002", rows(tmp_path, 1, 1, **{"class/text": tench}))
    write(data / "validation-00000-of-00001", rows(tmp_path, 517, 135, **{"class/text": crane}))
    with pytest.raises(ValueError, match=r"validation.*: train has no images of the class 'crane \(517\)'"):
        open_data(data)
    write(data / "train-00001-of-00002", rows(tmp_path, 1, 517, **{"class/text": crane})[1:])
    splits = open_data(data)
    assert splits.labels == ("tench, Tinca tinca", "crane (135)", "crane (517)")
    assert splits.train.labels.tolist() == [0, 1, 2]
    assert splits.validation.labels.tolist() == [1, 2]
    assert splits.train.plain.tolist() == [False, True, True]
    np.testing.assert_array_equal(splits.train.read(0), photograph(1))
    assert len(seen(splits.train)) == 3


def test_tf_slims_flowers(tmp_path):
    data = tmp_path / "data"
    for split in ("train", "validation"):
        write(data / f"flowers_{split}_00000-of-00001.tfrecord", rows(tmp_path, 0, 1, 0, 1))
    (data / "labels.txt").write_text("0:daisy\n1:rose\n2:tulip\n")
    splits = open_data(data)
    assert splits.labels == ("daisy", "rose")
    assert (len(splits.train), len(splits.validation)) == (4, 4)
    assert open_data(data, labels=("daisy", "tulip", "rose")).train.labels.tolist() == [0, 0, 2, 2]
    (data / "labels.txt").write_text("daisy\n")
    with pytest.raises(ValueError, match="data has no name for the class with label 1"):
        open_data(data)


def test_records_without_names(tmp_path):
    write(tmp_path / "data" / "train.tfrecord", rows(tmp_path, 3, 5, 5))
    assert open_data(tmp_path / "data").labels == ("class 3", "class 5")
    assert len(open_data(tmp_path / "data").validation) == 1


def test_unusable_records_are_skipped(tmp_path):
    broken = {"encoded": b"words", "class/label": 1}
    write(tmp_path / "data" / "train.tfrecord", [*rows(tmp_path, 0, 1, -1), broken])
    for _ in range(2):  # the second time from the index
        splits = open_data(tmp_path / "data", validation=0)
        assert len(splits.train) == 2
        path = tmp_path / "data" / "train.tfrecord"
        assert splits.skipped == ((f"{path}#2", "it has no label"), (f"{path}#3", "not a readable image"))
    with pytest.raises(ValueError, match=r"2 of the records cannot be used:\n.*#2: it has no label\n.*#3: not a read"):
        open_data(tmp_path / "data", strict=True)


def test_other_files_are_refused(tmp_path):
    data = tmp_path / "data"
    write(data / "train.tfrecord", [*rows(tmp_path, 1), {"height": 3}])
    wanted = "#1: the record must be a tf.train.Example with image/encoded, bytes, and image/class/label, an integer"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        open_data(data)
    (data / "train.tfrecord").write_bytes(b"words and more of them")
    with pytest.raises(ValueError, match=r"train\.tfrecord#0: the record is corrupted, or this is not a TFRecord file"):
        open_data(data)
    (data / "train.tfrecord").write_bytes(gzip.compress(b"words"))
    with pytest.raises(ValueError, match=r"train\.tfrecord#0: "):
        open_data(data)


def test_other_json_is_not_a_manifest(copy):
    empty = {"complete": True, "shards": 1, "pictures": {}, "files": {}, "skipped": []}
    for path in copy.glob("*.tfrecord"):
        path.unlink()
    for content, message in (
        ("[]", "is not a manifest of shards"),
        (json.dumps(empty | {"files": {"train.tfrecord": 3}}), "is not a manifest of shards"),
        ("{", "is not a JSON file"),
        (json.dumps(empty), "copy has no shards"),
    ):
        (copy / "shards.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            open_data(copy)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (["test-00000-of-00001"], "has test, but no train split"),
        (["train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"], "more than one set of train shards"),
        (["train.tfrecord", "x-train.tfrecord"], "more than one set of train shards"),
        (["a_val-00001-of-00003.tfrecord"], "lacks 2 of 3 validation shards, such as number 0"),
        (["train.tfrecord"], "must have training images of two or more classes"),
    ],
)
def test_folders_that_are_refused(tmp_path, made, message):
    for name in made:
        write(tmp_path / "data" / name, rows(tmp_path, 1, 1))
    with pytest.raises(ValueError, match=message):
        open_data(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("train.tfrecord", True),
        ("train-00000-of-00008", True),
        ("stl10-test.tfrecord-00000-of-00001", True),
        ("flowers_train_00000-of-00005.tfrecord", True),
        ("VALID-00000-of-00001.tfrecords", True),
        ("train", False),
        ("train.txt", False),
        ("strain.tfrecord", False),
        (".writing-ab_train-00000-of-00008.tfrecord", False),
        ("unlabelled-00000-of-00001.tfrecord", False),
    ],
)
def test_names_of_shards(tmp_path, name, is_one):
    (tmp_path / name).write_bytes(b"")
    assert is_shard_folder(tmp_path) == is_one


def command(*arguments):
    """Run `keras-inception shard` and return its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(["shard", *map(str, arguments)])
    return stop.value.code


def test_the_command(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(folder, out, "--shards", 2) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "train: 24 images, 0.1 MB in 2 shards",
        "test: 6 images, 0.0 MB in 2 shards",
        f"Shards: {out}",
    ]
    assert printed.err == f"left out {folder / 'train' / 'a' / 'broken.jpg'}: not a readable image\n"
    assert command(folder, out, "--shards", 2, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["output"] == str(out)
    assert sorted(entry["pictures"] for entry in result["files"].values()) == [3, 3, 12, 12]


def test_mistakes_are_reported(folder, tmp_path, capsys):
    assert command(folder, tmp_path / "out", "--shards", 0) == 1
    assert "`shards` must be from 1 to 99999. Received: shards=0" in capsys.readouterr().err
    assert command("fashion_mist", tmp_path / "out") == 1
    assert "Did you mean fashion_mnist?" in capsys.readouterr().err
