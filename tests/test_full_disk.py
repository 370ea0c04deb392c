"""A disk that gets full is one line in every command, and no file is half-written, whichever library is writing."""

import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from safetensors.numpy import save_file

import keras_inception
from keras_inception.cli import main
from keras_inception.exporting.signature import save
from keras_inception.training import Recipe
from keras_inception.utils import files, subprocesses

ROOM = 50_000  # bytes
NOISE = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)


def model() -> keras.Model:
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Dense(300)(keras.layers.Flatten()(image)))


def save_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("noise", NOISE.tobytes())


def save_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["noise"] = NOISE


def save_records(path: Path) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(NOISE.tobytes())


def save_figure(path: Path) -> None:
    figure, axes = plt.subplots()
    axes.imshow(NOISE)
    figure.savefig(path, dpi=300)
    plt.close(figure)


WRITERS = {
    "model.keras": lambda path: model().save(path),
    "model.weights.h5": lambda path: model().save_weights(path),
    "noise.h5": save_hdf5,
    "noise.png": lambda path: Image.fromarray(NOISE).save(path),
    "figure.png": save_figure,
    "noise.npy": lambda path: np.save(path, NOISE),
    "noise.zip": save_zip,
    "noise.safetensors": lambda path: save_file({"noise": NOISE}, path),
    "noise.tfrecord": save_records,
    "noise.txt": lambda path: path.write_text("noise" * ROOM),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_any_library_is_whole_or_not_there(name, small_disk, tmp_path):
    def write():
        with files.replacing(tmp_path / name) as beside:
            WRITERS[name](beside)

    with small_disk(ROOM), pytest.raises(OSError, match=r"cannot be written: (File too large|No space left)") as error:
        write()
    assert error.value.filename == str(tmp_path / name)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())
    write()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def in_a_child(folder: Path) -> None:
    write = f"open({str(folder / 'noise')!r}, 'wb').write(bytes({2 * ROOM}))"
    subprocesses.run_program([sys.executable, "-c", write], {}, "a child")


def in_tensorflow(folder: Path) -> None:
    save(model(), folder / "saved")


@pytest.mark.parametrize("write", [in_tensorflow, in_a_child])
def test_a_full_temporary_folder_is_named(write, small_disk, monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # it would write a file of its own in the child

    def fill():
        with files.temporary_folder() as folder:
            write(folder)

    with small_disk(ROOM), pytest.raises(OSError, match=r"cannot be written: .*; the variable TMPDIR"):
        fill()


def test_an_export_without_room_is_one_line(small_disk, tmp_path, capsys):
    model().save(tmp_path / "model.keras")
    options = ["--preprocessing", "raw", "--quantize", "float32", "--client", "none"]
    with small_disk(ROOM), pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path / "model.keras"), "--output", str(tmp_path / "exported"), *options])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "cannot be written: File too large" in line
    assert not list(tmp_path.rglob("*.tflite"))
    options = {"preprocessing": "raw", "quantize": ["float32"], "clients": ()}
    with small_disk(ROOM), pytest.raises(OSError, match="cannot be written: File too large"):  # in TensorFlow
        keras_inception.export(model(), tmp_path / "exported", **options)
    assert not list(tmp_path.rglob("*.tflite"))


def test_a_training_without_room_names_the_file_and_says_what_to_do(small_disk, pictures, tmp_path, capsys):
    recipe = Recipe(network="network_in_network", options={"form": "cifar"}, size=32, epochs=1, batch_size=8)
    recipe.save(tmp_path / "recipe.json")
    options = ["--output", str(tmp_path / "run"), "--recipe", str(tmp_path / "recipe.json")]
    with small_disk(200_000), pytest.raises(SystemExit) as stop:
        main(["train", str(pictures), *options])
    assert stop.value.code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {tmp_path / 'run'}")
    assert "cannot be written: File too large" in line
    assert "has no weights yet: free some space, then resume" in line
    assert not list(tmp_path.rglob(f"{files.WRITING}*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_to_a_full_disk_is_one_line():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "keras_inception.cli", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: the output cannot be written: No space left on device\n")
