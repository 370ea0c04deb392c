"""`android`: the project that it writes, and what it leaves alone."""

import pytest

from keras_inception.android.project import ASSETS, PACKAGE, TEMPLATE, WRITTEN, android
from keras_inception.exporting.variants import VARIANTS
from keras_inception.utils import files


@pytest.fixture
def project(exported, tmp_path):
    """The folder of a project of all files."""
    android(exported[0], tmp_path / "app", package="org.example.color_finder", name='Bob\'s "<Colors>"')
    return tmp_path / "app"


def test_the_project_has_the_chosen_files_and_their_answers(exported, tmp_path):
    folder, _ = exported
    described = android(folder, tmp_path / "app", variants=["float16", "int8"])
    assert described["default"] == "float16"
    assert described["name"] == "Colours"
    assert described["kept"] == []
    assets = tmp_path / "app" / ASSETS
    samples = [each["picture"] for each in files.read_json(folder / "sample.json")["pictures"]]
    copied = ["colours_float16.tflite", "colours_int8.tflite", "sample.json", *samples]
    assert sorted(path.name for path in assets.iterdir()) == sorted([*copied, "export.json"])
    for name in copied:
        assert (assets / name).read_bytes() == (folder / name).read_bytes()
    content = files.read_json(assets / "export.json")
    assert content == {key: value for key, value in described.items() if key != "kept"}
    assert content["variants"]["int8"] == {"file": "colours_int8.tflite", "half_precision": False}


def test_all_files_are_taken_and_int8_comes_first(exported, tmp_path):
    described = android(exported[0], tmp_path / "app")
    assert next(iter(described["variants"])) == described["default"] == "int8"
    assert set(described["variants"]) == set(VARIANTS)


def test_package_and_name_are_the_users(project):
    texts = [path.read_text(encoding="utf-8") for path in project.rglob("*") if path.suffix in (".kt", ".kts", ".xml")]
    assert texts
    assert not any(PACKAGE in text for text in texts)
    assert not any("com/example/classifier" in path.as_posix() for path in project.rglob("*"))
    settings = (project / "settings.gradle.kts").read_text(encoding="utf-8")
    assert 'rootProject.name = "Bob\'s \\"<Colors>\\""' in settings
    assert 'include(":classifier")' in settings


def test_tests_stay_out_unless_they_are_asked_for(exported, tmp_path):
    android(exported[0], tmp_path / "without")
    android(exported[0], tmp_path / "with", with_tests=True)
    found = {path.relative_to(tmp_path / "with").as_posix() for path in (tmp_path / "with").rglob("*")}
    less = {path.relative_to(tmp_path / "without").as_posix() for path in (tmp_path / "without").rglob("*")}
    assert "classifier/pom.xml" in found - less
    assert "classifier/src/main/kotlin/kerasinception/Classifier.kt" in less
    assert not any("src/test" in place or place.endswith("pom.xml") for place in less)


def test_what_the_user_changed_is_kept(exported, project):
    changed = project / "settings.gradle.kts"
    changed.write_text("// mine\n", encoding="utf-8")
    (project / "mine.txt").write_text("mine")
    again = {"package": "org.example.color_finder", "name": "Other"}
    assert android(exported[0], project, variants=["int8"], **again)["kept"] == ["settings.gradle.kts"]
    assert changed.read_text(encoding="utf-8") == "// mine\n"
    assert files.read_json(project / ASSETS / "export.json")["name"] == "Other"
    assert [path.name for path in (project / ASSETS).glob("*.tflite")] == ["colours_int8.tflite"]
    assert android(exported[0], project, **again)["kept"] == ["settings.gradle.kts"]  # still changed
    assert android(exported[0], project, overwrite=True, **again)["kept"] == []
    assert 'rootProject.name = "Other"' in changed.read_text(encoding="utf-8")
    assert (project / "mine.txt").read_text() == "mine"


def test_the_template_has_nothing_that_a_build_leaves(project):
    names = {path.name for path in TEMPLATE.rglob("*")}
    assert not names & {"target", "build", ".gradle", ".idea", "local.properties", "gradle-wrapper.jar"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"package": "flowers"}, "`package` must be"),
        ({"package": "com.example.new"}, "`package` must be"),
        ({"package": "com.Example.app"}, "`package` must be"),
        ({"name": " "}, "`name` must be"),
        ({"name": "a\nb"}, "`name` must be"),
        ({"variants": ["int4"]}, "int4"),
    ],
)
def test_invalid_arguments_are_refused_and_nothing_is_written(exported, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        android(exported[0], tmp_path / "app", **options)
    assert not (tmp_path / "app").exists()


def test_other_folders_are_not_overwritten(exported, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=WRITTEN):
        android(exported[0], tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_hostile_record_reaches_nothing_outside(exported, project, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    files.write_json(project / WRITTEN, {"../outside.txt": files.sha256(outside)})
    with pytest.raises(ValueError, match="must list files of the project"):
        android(exported[0], project)
    assert outside.read_text() == "mine"


def test_runs_and_other_folders_have_no_files_for_an_app(run, tmp_path):
    with pytest.raises(ValueError, match="keras-inception export"):
        android(run, tmp_path / "app")
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        android(tmp_path, tmp_path / "app")
