import csv
import json
import re

import pytest
from images import scene
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

import keras_inception
from keras_inception import datasets
from keras_inception.cli import main

SIZE = (150, 120)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def disc(color, ground="white", size=SIZE):
    image = Image.new("RGB", size, ground)
    ImageDraw.Draw(image).ellipse((30, 20, 100, 90), fill=color)
    return image


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs in two classes for training and four for test, all different."""
    for split, count in (("train", 12), ("test", 2)):
        for label in ("apple", "birch"):
            for number in range(count):
                image = scene((split == "train", label == "apple", number), SIZE)
                save(image, tmp_path / "images" / split / label / f"{number:02}.png")
    return tmp_path / "images"


def photo(folder, path):
    return Image.open(folder / path).convert("RGB")


def test_different_images_are_in_no_group(folder):
    found = keras_inception.check(folder)
    assert found.groups == []
    assert found.splits == {"train": {"apple": 12, "birch": 12}, "test": {"apple": 2, "birch": 2}}
    assert "Nothing was found." in str(found)
    assert "28 images in 2 classes (train 24, test 4)" in str(found)


def test_equal_pixels_are_found_in_other_formats_classes_and_splits(folder):
    image = photo(folder, "train/apple/03.png")
    save(image, folder / "train/birch/other.bmp")
    save(image, folder / "test/apple/other.webp", lossless=True)
    (group,) = keras_inception.check(folder).groups
    assert group.kind == "same"
    assert group.paths == ["train/apple/03.png", "train/birch/other.bmp", "test/apple/other.webp"]
    assert (group.labels, group.splits) == (["apple", "birch", "apple"], ["train", "train", "test"])
    assert group.across_classes
    assert group.across_splits
    assert group.copies == [group.paths]


CHANGES = {
    "smaller": lambda image: image.resize((100, 80), Image.Resampling.LANCZOS),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.85),
    "softer": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nearly_equal_images_are_found(change, folder):
    save(CHANGES[change](photo(folder, "train/apple/03.png")), folder / "test/apple/copy.jpg", quality=80)
    (group,) = keras_inception.check(folder).groups
    assert (group.kind, group.paths) == ("near", ["train/apple/03.png", "test/apple/copy.jpg"])
    assert group.across_splits
    assert not group.across_classes
    assert group.copies == []


def test_a_group_with_equal_and_nearly_equal_images_says_which_are_equal(folder):
    image = photo(folder, "train/apple/03.png")
    save(image, folder / "train/apple/equal.bmp")
    save(image, folder / "train/apple/near.jpg", quality=70)
    (group,) = keras_inception.check(folder).groups
    assert group.kind == "near"
    assert set(group.paths) == {"train/apple/03.png", "train/apple/equal.bmp", "train/apple/near.jpg"}
    assert group.copies == [["train/apple/03.png", "train/apple/equal.bmp"]]


PAIRS = {
    "other colors of one form": (disc("blue"), disc("red")),
    "another gray of one form": (disc((0, 0, 0)), disc((130, 130, 130))),
    "another ground": (disc("blue"), disc("blue", "yellow")),
    "single colors": (Image.new("RGB", SIZE, (90, 90, 90)), Image.new("RGB", SIZE, (91, 91, 91))),
    "a gray copy": (scene(7, SIZE), scene(7, SIZE).convert("L")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_similar_images_are_not_nearly_equal(name, folder):
    for number, image in enumerate(PAIRS[name]):
        save(image, folder / f"train/apple/pair{number}.png")
    assert keras_inception.check(folder).groups == []


def test_the_threshold_is_a_choice(folder):
    image = photo(folder, "train/apple/03.png")
    save(image.crop((4, 3, 150, 120)), folder / "train/apple/cut.png")
    assert keras_inception.check(folder, near=0).groups == []
    (group,) = keras_inception.check(folder, near=16).groups
    assert group.paths == ["train/apple/03.png", "train/apple/cut.png"]


@pytest.mark.parametrize("near", [-1, 17, 2.5])
def test_the_threshold_has_a_range(near, folder):
    with pytest.raises(ValueError, match=f"`near` must be a number of bits, 0 to 16. Received: near={near}"):
        keras_inception.check(folder, near=near)


def test_unreadable_images_are_named_and_not_counted(folder):
    (folder / "train/apple/cut.png").write_bytes((folder / "train/apple/00.png").read_bytes()[:500])
    (folder / "train/apple/notes.txt").write_text("not an image")
    save(scene(9, SIZE), folder / "train" / "loose.png")
    found = keras_inception.check(folder)
    assert found.unreadable == ["train/apple/cut.png"]
    assert "truncated" in found.reasons["train/apple/cut.png"]
    assert found.left_out == {"train/loose.png": "is not in a class folder"}
    assert found.splits["train"]["apple"] == 12


def test_a_dataset_without_a_readable_image_is_described(tmp_path):
    for name in ("one/1.png", "two/2.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).write_bytes(b"no image")
    found = keras_inception.check(tmp_path / "images", output=tmp_path / "checked")
    assert found.unreadable == ["one/1.png", "two/2.png"]
    assert "0 images in 2 classes" in str(found)


def test_names_that_differ_in_case_or_blanks_are_named(folder):
    for name in ("apple ", "bir ch"):
        save(scene((5, ord(name[-2])), SIZE), folder / "train" / name / "0.png")
    save(scene(6, SIZE), folder / "test" / "BIRCH" / "0.png")
    found = keras_inception.check(folder)
    assert found.similar_names == [["apple", "apple "], ["BIRCH", "bir ch", "birch"]]
    assert "'BIRCH', 'bir ch', 'birch'" in str(found)
    assert found.few == {"bir ch": 1}
    assert found.splits["test"]["birch"] == 3
    save(scene(7, SIZE), folder / "train" / "Apple" / "0.png")
    assert keras_inception.check(folder).similar_names[0] == ["Apple", "apple", "apple "]


def test_classes_that_training_lacks_are_named(folder):
    save(scene(6, SIZE), folder / "test" / "cedar" / "0.png")
    found = keras_inception.check(folder)
    assert found.unknown_classes == {"test": ["cedar"]}
    assert found.few == {}
    assert "cedar (only in test)" in str(found)


def test_images_that_show_little_are_named(folder):
    image = photo(folder, "train/apple/03.png")
    poor = {
        "single_color": Image.new("RGB", SIZE, (90, 90, 90)),
        "tiny": scene(20, (16, 12)),
        "dark": ImageEnhance.Brightness(scene(21, SIZE)).enhance(0.15),
        "overexposed": Image.eval(scene(22, SIZE), lambda level: min(2 * level + 110, 255)),
        "blurry": scene(23, SIZE).filter(ImageFilter.GaussianBlur(6)),
        "odd_shape": scene(24, (480, 60)),
    }
    save(disc("red"), folder / "train/birch/white-ground.png")
    for name, image in poor.items():
        save(image, folder / "train/birch" / f"{name}.png")
    found = keras_inception.check(folder)
    assert {name: found[name] for name in poor} == {name: [f"train/birch/{name}.png"] for name in poor}


@pytest.mark.parametrize("kind", ["white ground", "night"])
def test_what_is_usual_is_not_reported(kind, tmp_path):
    for label in ("one", "two"):
        for number in range(6):
            small = scene((label == "one", number), (40, 40))
            image = Image.new("RGB", (120, 100), "white" if kind == "white ground" else "black")
            image.paste(small if kind == "white ground" else ImageEnhance.Brightness(small).enhance(0.2), (40, 30))
            save(image, tmp_path / label / f"{number}.png")
    found = keras_inception.check(tmp_path)
    assert found.splits == {"train": {"one": 6, "two": 6}}
    assert [*found.dark, *found.overexposed, *found.tiny, *found.blurry, *found.odd_shape, *found.groups] == []


def test_the_report_and_what_to_go_on_with(folder, tmp_path):
    image = photo(folder, "train/apple/03.png")
    save(image, folder / "test/apple/copy.bmp")
    save(photo(folder, "train/apple/05.png"), folder / "train/birch/<b>.bmp")
    save(photo(folder, "train/apple/07.png"), folder / "train/apple/twice.bmp")
    save(Image.new("RGB", SIZE), folder / "train/apple/black.png")
    (folder / "test/apple/broken.png").write_bytes(b"no image")
    keras_inception.check(folder, output=tmp_path / "checked")
    page = (tmp_path / "checked/report.html").read_text(encoding="utf-8")
    assert "train/birch/&lt;b&gt;.bmp" in page
    assert page.count('<img src="data:image/jpeg') == 7
    with open(tmp_path / "checked/suggested.csv", encoding="utf-8", newline="") as file:
        assert {row["path"]: row["reason"] for row in csv.DictReader(file)} == {
            "test/apple/broken.png": "cannot be read: not a readable image",
            "train/apple/05.png": "is the same as train/birch/<b>.bmp of another class, birch",
            "train/birch/<b>.bmp": "is the same as train/apple/05.png of another class, apple",
            "train/apple/03.png": "is the same as test/apple/copy.bmp in test",
            "train/apple/twice.bmp": "is the same as train/apple/07.png",
            "train/apple/black.png": "is of a single color",
        }
    with open(tmp_path / "checked/pairs.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {
        "path": "train/apple/03.png",
        "other": "test/apple/copy.bmp",
        "kind": "same",
        "across_classes": "False",
        "across_splits": "True",
    }
    assert len(rows) == 3
    keras_inception.check(folder, output=tmp_path / "checked")  # an earlier check is replaced
    with pytest.raises(FileExistsError, match="exists and is no folder of an earlier check"):
        keras_inception.check(folder, output=folder)


def test_the_strict_command_accepts_the_pairs_of_an_earlier_check(folder, tmp_path, capsys):
    save(photo(folder, "train/apple/03.png"), folder / "test/apple/copy.bmp")

    def check(*options):
        try:
            main(["check", str(folder), *options])
        except SystemExit as stop:
            return stop.code or 0
        return 0

    assert check("--output", str(tmp_path / "checked")) == 0
    assert check("--strict") == 1
    assert "same: train/apple/03.png, test/apple/copy.bmp" in capsys.readouterr().err
    assert check("--strict", "--accept", str(tmp_path / "checked/pairs.csv")) == 0
    (tmp_path / "pairs.csv").write_text(f"test/apple/copy.bmp, {folder / 'train/apple/03.png'}\n")
    assert check("--strict", "--accept", str(tmp_path / "pairs.csv")) == 0
    (tmp_path / "pairs.csv").write_text("test/apple/copy.bmp, test/apple/01.png\n")
    assert check("--strict", "--accept", str(tmp_path / "pairs.csv")) == 1
    (folder / "test/apple/broken.png").write_bytes(b"no image")
    assert check("--strict", "--accept", str(tmp_path / "checked/pairs.csv")) == 1
    assert capsys.readouterr().err.endswith("error: --strict: test/apple/broken.png: not a readable image\n")
    (tmp_path / "pairs.csv").write_text("path,other\na.png\n")
    assert check("--accept", str(tmp_path / "pairs.csv")) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'pairs.csv'}, line 2 must have two paths, separated by a comma. Received: a.png\n"
    )


def test_the_command_prints_json(folder, capsys):
    save(photo(folder, "train/apple/03.png"), folder / "test/apple/copy.bmp")
    with pytest.raises(SystemExit) as stop:
        main(["check", str(folder), "--json"])
    assert not stop.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["groups"] == [
        {
            "kind": "same",
            "paths": ["train/apple/03.png", "test/apple/copy.bmp"],
            "labels": ["apple", "apple"],
            "splits": ["train", "test"],
            "copies": [["train/apple/03.png", "test/apple/copy.bmp"]],
            "across_classes": False,
            "across_splits": True,
            "accepted": False,
        }
    ]
    assert found["splits"]["test"] == {"apple": 3, "birch": 2}


@pytest.mark.parametrize(
    ("given", "reason"),
    [("missing", "missing does not exist"), ("file.png", "file.png is a file, not a folder")],
)
def test_what_is_no_dataset_is_one_line(given, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(scene(1, SIZE), tmp_path / "file.png")
    with pytest.raises(SystemExit) as stop:
        main(["check", given])
    assert stop.value.code == 1
    assert re.fullmatch(f"error: {reason}.*\n", capsys.readouterr().err)


def test_shards_are_checked_by_record(folder, tmp_path):
    save(photo(folder, "train/apple/03.png"), folder / "test/apple/copy.bmp")
    datasets.write_shards(folder, tmp_path / "shards", shards=1)
    (group,) = keras_inception.check(tmp_path / "shards", output=tmp_path / "checked").groups
    assert (group.kind, group.across_splits) == ("same", True)
    assert re.fullmatch(r"train-00000-of-00001\S*#\d+", group.paths[0])
    assert (tmp_path / "checked/report.html").exists()


def test_a_table_is_checked_by_its_labels_and_splits(folder, tmp_path):
    save(photo(folder, "train/apple/03.png"), folder / "test/apple/copy.bmp")
    (folder / "train/apple/broken").write_bytes(b"no image")
    rows = ["train/apple/03.png,07,train", "test/apple/copy.bmp,7,test", "train/birch/00,7,train"]
    rows += ["train/apple/broken,7,train", "gone.png,7,test"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,class,split", *rows]), encoding="utf-8")
    found = keras_inception.check(tmp_path / "labels.csv", root=folder)
    (group,) = found.groups
    assert (group.paths, group.labels) == (["train/apple/03.png", "test/apple/copy.bmp"], ["07", "7"])
    assert found.unreadable == ["gone.png", "train/apple/broken"]
    assert found.splits == {"train": {"07": 1, "7": 1}, "test": {"07": 0, "7": 1}}


def test_images_that_belong_together_are_counted_and_named_in_several_splits(folder, tmp_path):
    found = keras_inception.check(folder, group=r"/(\d+)")
    assert found.named_groups == 12
    assert found.divided_groups == {"00": ["train", "test"], "01": ["train", "test"]}
    assert "12 groups that belong together\n" in str(found)
    assert "2 groups of images that belong together in several splits\n  00: train, test\n" in str(found)
    rows = ["train/apple/00,a,one", "train/birch/00,b,one", "train/birch/01,b,"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,class,group", *rows]), encoding="utf-8")
    found = keras_inception.check(tmp_path / "labels.csv", root=folder)
    assert (found.named_groups, found.divided_groups) == (1, {})
    with pytest.raises(ValueError, match="`group` must match some"):
        keras_inception.check(folder, group="patient")


def test_images_are_left_out_and_the_report_says_how(folder, tmp_path, capsys):
    save(photo(folder, "train/apple/03.png"), folder / "test/apple/copy.bmp")
    keras_inception.check(folder, group=r"/(0\d)", output=tmp_path / "checked")
    command = ["check", str(folder), "--group", r"/(0\d)", "--exclude", str(tmp_path / "checked/suggested.csv")]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--json"])
    assert not stop.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["groups"] == []
    assert found["splits"]["train"]["apple"] == 11
    assert found["named_groups"] == 10
    page = (tmp_path / "checked/report.html").read_text(encoding="utf-8")
    assert f"keras-inception train {folder} --group &#x27;/(0\\d)&#x27; --exclude {tmp_path}" in page


def test_no_split_is_cut_and_none_is_needed(folder):
    (folder / "train").rename(folder / "val")
    found = keras_inception.check(folder)
    assert list(found.splits) == ["validation", "test"]
