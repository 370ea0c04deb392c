import shutil
import subprocess
import sys
import zipfile
from collections import Counter

import pytest
from PIL import Image

from keras_inception.datasets import bundled, open_folder, pictograms


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pictograms(tmp_path_factory.mktemp("data") / "pictograms")


@pytest.fixture
def small_archive(tmp_path, monkeypatch):
    """Replace the bundled archive with one of two files."""
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.md", "who drew them")
        archive.writestr("train/a/a.jpg", "a picture")
    monkeypatch.setattr(bundled, "ARCHIVE", path)
    return path


def test_all_pictograms_are_there(root):
    splits = open_folder(root, strict=True)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4067, 580, 1202)
    assert len(splits.labels) == 19
    assert splits.train.plain.all()
    assert max(Counter(splits.test.labels.tolist()).values()) / 1202 < 0.12
    with Image.open(splits.test.name(0)) as image:
        assert image.size == (64, 64)


def test_they_come_with_their_attributions(root):
    readme = (root / "README.md").read_text()
    for artist in ("Noto Emoji", "Twemoji", "Fluent Emoji"):
        assert artist in readme


def test_a_second_call_reuses_them(small_archive, tmp_path):
    root = pictograms(tmp_path / "data" / "pictograms")
    (root / "mine.txt").write_text("kept")
    assert pictograms(root) == root
    assert (root / "mine.txt").exists()
    assert [path.name for path in root.parent.iterdir()] == ["pictograms"]


def test_an_empty_folder_is_filled(small_archive, tmp_path):
    (tmp_path / "pictograms").mkdir()
    assert (pictograms(tmp_path / "pictograms") / "README.md").exists()


def test_a_killed_process_leaves_nothing_under_the_final_name(tmp_path):
    program = (
        "import os, sys, zipfile\n"
        "from keras_inception.datasets import pictograms\n"
        "def part_of_it(archive, path):\n"
        "    archive.extract('README.md', path)\n"
        "    os._exit(9)\n"
        "zipfile.ZipFile.extractall = part_of_it\n"
        "pictograms(sys.argv[1])\n"
    )
    root = tmp_path / "here"
    ran = subprocess.run([sys.executable, "-c", program, root], check=False)
    assert ran.returncode == 9
    assert len(list(tmp_path.glob(".writing-here-*/pictograms/README.md"))) == 1
    assert not root.exists()
    assert len(list(pictograms(root).glob("test/*/*.jpg"))) == 1202


def test_an_interrupted_unpacking_cleans_up(small_archive, tmp_path, monkeypatch):
    def interrupted(archive, path):
        archive.extract("README.md", path)
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "extractall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pictograms(tmp_path / "data" / "pictograms")
    assert list((tmp_path / "data").iterdir()) == []


def test_an_incomplete_folder_is_refused(small_archive, tmp_path):
    root = pictograms(tmp_path / "pictograms")
    (root / "train" / "a" / "a.jpg").unlink()
    with pytest.raises(ValueError, match=r"pictograms is not empty and lacks 1 of the pictograms: remove it"):
        pictograms(root)


def test_another_process_may_be_faster(small_archive, tmp_path, monkeypatch):
    root = tmp_path / "pictograms"
    extractall = zipfile.ZipFile.extractall

    def overtaken(archive, path):
        extractall(archive, path)
        shutil.copytree(path, root)

    monkeypatch.setattr(zipfile.ZipFile, "extractall", overtaken)
    assert (pictograms(root) / "README.md").read_text() == "who drew them"


def test_no_file_is_written_outside(small_archive, tmp_path):
    with zipfile.ZipFile(small_archive, "a") as archive:
        archive.writestr("../../outside.txt", "")
    root = tmp_path / "deep" / "pictograms"
    with pytest.raises(ValueError, match="lacks 1 of the pictograms"):
        pictograms(root)
    assert list(tmp_path.glob("**/outside.txt")) == [root / "outside.txt"]
