"""The README and the docs: tables match the result files, and commands and links work."""

import importlib
import json
import re
import shlex
import tomllib
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import typer

import keras_inception
from keras_inception import training
from keras_inception.cli import commands as cli
from keras_inception.training import building

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
DOCS = "\n".join(TEXTS.values())
RESULTS = ROOT / "benchmarks" / "results"
LINES = dict.fromkeys(re.findall(r"^keras-inception (.+)$", DOCS, re.MULTILINE))
COMMANDS = [shlex.split(line, comments=True) for line in LINES]
TRAININGS = [
    arguments for arguments in COMMANDS if arguments[0] == "train" and not {"--distribute", "--resume"} & set(arguments)
]
TASKS = sorted(set(re.findall(r"(?:`|^)make ([a-z0-9-]+)(?=`|\s+#)", DOCS, re.MULTILINE)))
# The test of each row of the tables of what is taken, by page and section.
TAKEN = {
    ("train.md", "Folders"): {
        "class folders": "test_validation_is_cut_out_of_train_alone",
        "`train`, `val` and `test`; `Training` and `Testing`; `TRAIN`, `valid`, `dev`, `train2017`, …": (
            "test_a_name_says_its_split_by_one_of_its_words"
        ),
        "`seg_train/seg_train` and `seg_test/seg_test`, `pets/train`, …": (
            "test_splits_are_found_under_the_names_that_people_give_them"
        ),
        "`flowers_train` and `flowers_val`, `my train` and `their test`, …": (
            "test_splits_of_other_names_are_known_by_the_same_classes"
        ),
        "classes named like splits, such as `bullet_train` and `test_tube`": "test_classes_may_be_named_like_splits",
        "`test` with images but without class folders": "test_an_unlabeled_test_folder_is_left_out",
        "another folder beside the splits": "test_a_folder_beside_the_splits_is_named",
        "folders that could be splits as well as classes": "test_what_could_be_splits_or_classes_is_refused",
        "gray, CMYK, 16-bit and palette images": "test_gray_and_bilevel",
        "transparent images": "test_transparent_parts_become_white",
        "HEIC images of iPhones": "test_heic_is_decoded_like_any_other_image",
        "images that cannot be read": "test_images_left_out_are_summarized_in_the_log_and_listed_in_the_run",
        "a `tf.data.Dataset` or arrays": "test_wrong_arguments_are_named",
    },
    ("train.md", "Tables of labels"): {
        "a column `path`, `file`, `filename`, `image`, `image_id` or `id`, and one `label`, `class` or `category`": (
            "test_columns_are_known_by_their_names"
        ),
        "columns of other names": "test_other_columns_are_chosen_by_their_names",
        "labels such as `07` and `7`": "test_labels_are_text",
        "a name without its ending": "test_the_ending_is_added_if_one_file_fits",
        "relative paths": "test_paths_are_relative_to_the_table_unless_a_folder_is_given",
        "a column `split`": "test_splits_are_named_as_folders_of_them_may_be",
        "missing and unreadable images, and rows that are there twice": (
            "test_missing_unreadable_and_repeated_images_are_left_out_by_name"
        ),
        "commas, semicolons or tabs; UTF-8 with or without a byte order mark; UTF-16": "test_encodings_and_separators",
        "an image with two labels; a row without one; a split of another name": (
            "test_a_table_that_cannot_be_used_is_refused_with_what_is_expected"
        ),
    },
    ("train.md", "Which images are held out"): {
        "`--group REGEX`": "test_a_pattern_finds_groups_in_paths",
        "a column `group` in a table": "test_the_column_group_of_a_table_keeps_images_together",
        "an image without a match, or with an empty cell": "test_a_pattern_that_finds_no_group_is_refused",
        "large groups": "test_groups_stay_together_and_the_share_of_each_class_is_kept",
        "`--exclude FILE`": "test_images_are_excluded_by_a_table_with_a_column_of_paths",
        "`split.csv` of a run": "test_the_table_of_the_splits_gives_the_same_splits",
    },
    ("train.md", "Sizes"): {
        "`--size 96`": "test_sizes_that_are_not_square",
        "`--size 64x192`": "test_sizes_that_are_not_square",
        "`--fitting crop`, the default": "test_a_network_of_another_shape_than_square",
        "`--fitting stretch`": "test_a_network_of_another_shape_than_square",
        "`--fitting pad`": "test_a_network_of_another_shape_than_square",
        "`--set channels=gray`": "test_channels_and_shapes_go_from_training_to_the_file",
        "4, 6 or more channels": "test_any_number_of_channels",
    },
    ("weights.md", "Checkpoints of training scripts"): {
        "the state dict under any key, such as `model_state_dict` or `net`, beside anything else": (
            "test_a_state_dict_is_found_in_a_training_checkpoint"
        ),
        "`state_dict` and `state_dict_ema` (also `model_ema`, `ema`)": "test_the_moving_average_is_read_and_logged",
        "names under `_orig_mod.`, `module.`, `model.`, `backbone.`, `encoder.`, or several of these, in any format": (
            "test_the_prefixes_of_wrappers_are_removed"
        ),
        "a classifier of another name or number of classes": (
            "test_a_classifier_of_another_name_is_refused_with_both_ways_out"
        ),
        "three channels, into a network of one channel": "test_one_channel_sees_gray_as_three_equal_ones",
        "a run directory or its `model.keras`": "test_the_weights_of_a_run_bring_their_preprocessing",
        "a whole pickled model": "test_a_whole_model_is_refused_by_the_name_of_its_class",
    },
    ("models.md", "Sources"): {
        "run directory": "test_a_run",
        "`.keras` of Keras 3": "test_a_file_of_keras_3_with_raw_operations",
        "`.keras` or `.h5` in mixed precision": "test_mixed_precision_opens_as_it_is",
        "`.h5` of Keras 3": "test_a_file_of_keras_3",
        "`.keras` or `.h5` of Keras 2 or tf_keras": "test_a_file_of_tf_keras_that_keras_3_opens",
        "the same, with layers that Keras 3 lacks": "test_what_the_bridge_cannot_rebuild_is_called_as_one_layer",
        "`keras_model.h5` of Teachable Machine": "test_a_file_of_teachable_machine_is_rebuilt_in_keras_3",
        "SavedModel of Keras 3": "test_a_saved_model_of_keras_3",
        "SavedModel of tf_keras": "test_a_saved_model_of_tf_keras",
        "SavedModel of TensorFlow": "test_a_saved_model_of_tensorflow_with_several_outputs",
        "model with your own classes or functions": "test_custom_objects_are_taken_from_a_python_file_with_one_warning",
        "model with your own Lambdas": "test_lambdas_of_ones_own_open_with_custom_objects",
        "model with a Lambda that calls a function by name": "test_a_lambda_of_a_named_function_opens_with_its_import",
        "model in memory": "test_a_model_in_memory_is_taken_as_it_is",
        "weights alone: `.weights.h5`, `.safetensors`, `.pth`": "test_weights_alone_say_that_the_network_is_missing",
    },
    ("models.md", "Preprocessing"): {
        "`--preprocessing NAME`, or a JSON file": "test_arguments_take_precedence_over_the_run",
        "of a run": "test_a_run_knows_everything",
        "of a network of this package": "test_a_networks_own_preprocessing_is_used",
        "inside the network": "test_first_layers_that_normalize_are_found",
        "of an integer input, such as `uint8`": "test_integers_are_raw_pixels",
        "anything else": "test_labeled_images_may_leave_one_choice",
    },
    ("models.md", "Outputs"): {
        "softmax, or nonnegative values that sum to 1": "test_scores_follow_from_the_last_layer",
        "logits: a last layer without activation": "test_scores_follow_from_the_last_layer",
        "one sigmoid, p": "test_one_sigmoid_becomes_two_scores",
        "several sigmoids (multi-label), averaged or concatenated ones too": (
            "test_sigmoids_that_are_joined_stay_independent"
        ),
        "of a `Lambda` or a SavedModel": "test_scores_follow_from_the_last_layer",
        "(batch, 1, 1, classes), or with a `Reshape` behind the classifier": "test_scores_follow_from_the_last_layer",
        "several outputs": "test_an_output_is_chosen_by_name",
        "one unit without a sigmoid, another activation, or another shape": (
            "test_other_outputs_are_refused_by_the_name_of_the_layer"
        ),
    },
}
SNIPPETS = re.findall(r"^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


@pytest.fixture
def script(monkeypatch):
    """Import a script from ``benchmarks`` by name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def result(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def stands(name: str, text: str) -> bool:
    """Return whether exactly one page has the markers of that name, with exactly this text between them."""
    return DOCS.count(f"<!-- {name} -->\n{text}<!-- /{name} -->") == DOCS.count(f"<!-- {name} -->") == 1


def test_the_table_of_the_demo(script):
    assert stands("demo", script("demo_table").table(result("demo")))
    assert result("demo")["top1"] >= 0.5


def test_the_tables_of_trained_networks(script):
    trained = script("train_table")
    for name, cells in trained.TABLES.items():
        assert stands(name, trained.table(name)), (
            f"python benchmarks/train_table.py --readme has not been run for {name}"
        )
        assert set(trained.results(name)) <= set(cells)
    for path in RESULTS.glob("*.json"):
        for row in result(path.stem).values() if path.stem in trained.TABLES else ():
            assert 0 <= row["test_top1"] <= row["test_top5"] <= 1
            assert row["command"].startswith("python benchmarks/train_table.py")


def test_the_table_of_fine_tunings(script):
    tuned = script("finetune_table")
    done = tuned.results()
    assert stands("finetune", tuned.table(done)), "python benchmarks/finetune_table.py --readme has not been run"
    files = {path.stem for path in (RESULTS / "finetune").glob("*.json")}
    assert files == set(map(str, done))


def test_fine_tunings_are_compared_with_the_same_seed_from_random_weights(script):
    tuned = script("finetune_table")
    top1 = {"scratch": (0.5, 0.6, 0.7), "tuned": (0.6, 0.7, 0.8)}
    done = {
        tuned.Cell(name, 20, seed): {"top1": value, "validation_top1": value, "epochs": 20}
        for name, values in top1.items()
        for seed, value in enumerate(values)
    }
    scratch, row = tuned.rows(done)
    assert (row["images"], row["epochs"]) == (20, 20)
    assert row["top1"] == pytest.approx(0.7)
    assert row["top1_interval"] == pytest.approx((0.7 - 0.2484, 0.7 + 0.2484), abs=1e-4)
    assert row["gain_interval"] == pytest.approx((0.1, 0.1))
    assert "gain" not in scratch
    lacking = tuned.table(done).partition("Not measured yet: ")[2]
    assert "from random weights: recipe `small` (all images)" in lacking
    assert f"{tuned.SETTINGS['tuned'].about} " not in lacking


def test_the_tables_of_compressions(script):
    compressed = script("compress_table")
    results = {name: script("readme").kept(name) for name in compressed.TABLES}  # empty if not started
    for name, rows in results.items():
        assert stands(name, compressed.table(name, rows)), (
            f"python benchmarks/compress_table.py --readme has not been run for {name}"
        )
        assert set(rows) <= {*compressed.VARIANTS, *compressed.TABLES[name].cells}
    assert stands("compress_networks", compressed.networks(results, "slim_50"))


SPEEDS = [
    "quantizers",
    "check",
    "training_step",
    "input_pipeline",
    "latency",
    "arm64",
    "predict",
    "startup",
    "tensorflows",
]


@pytest.mark.parametrize("name", SPEEDS)
def test_the_tables_of_speeds(script, name):
    assert stands(name, script(name).table(result(name)))


def test_the_table_of_the_steps_of_an_export(script):
    timed = script("export_time")
    assert stands("export_time", timed.table(script("readme").kept("export_time")))  # empty if not measured
    variants = {"float32": {"convert": 5.0, "verify": 4.0}, "float16": {"convert": 6.0, "half_precision": 2.0}}
    steps = {"open": 4.26, "convert": 11.0, "half_precision": 2.0, "verify": 4.0}
    lines = timed.table({"seconds": 30.0, "images": 1202, "steps": steps, "variants": variants}).splitlines()
    assert lines[0] == "| step | float32 | float16 | in all |"
    assert lines[2] == "| open | – | – | 4.3 |"
    assert lines[4] == "| half precision | – | 2.0 | 2.0 |"
    assert lines[-1] == "The whole took 30.0 s, with 1,202 images for each file."


def test_the_overview(script):
    overview = script("overview")
    networks = overview.listed()
    assert stands("engines", overview.engines_table(result("latency")))
    assert stands("networks", overview.networks_table(networks))
    assert stands("weights", overview.weights_table(networks))
    assert overview.PICTURE.read_text(encoding="utf-8") == overview.picture(result("compress"), result("latency"))


def test_every_marked_place_is_filled_by_a_script(script):
    names = re.findall(r"^<!-- (\w+) -->$", DOCS, re.MULTILINE)
    trained, compressed = script("train_table"), script("compress_table")
    made = {"demo", "export_time", "finetune", "compress_networks", "engines", "networks", "weights", *SPEEDS}
    assert set(names) == made | set(trained.TABLES) | set(compressed.TABLES)


def test_a_table_is_inserted_in_the_one_page_that_has_its_place(script, monkeypatch, tmp_path):
    pages = script("readme")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("no place\n", encoding="utf-8")
    page = tmp_path / "docs" / "results.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n", encoding="utf-8")
    pages.insert("a", r"new \1" + "\n")
    assert page.read_text(encoding="utf-8") == "before\n<!-- a -->\nnew \\1\n<!-- /a -->\nafter\n"
    with pytest.raises(SystemExit, match="Found: none"):
        pages.insert("b", "")
    (tmp_path / "README.md").write_text("<!-- a -->\n<!-- /a -->\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"Found: README.md, results.md"):
        pages.insert("a", "")


def test_a_table_shows_what_was_measured_and_a_list_what_was_not(script):
    assert "not run yet" not in DOCS
    assert script("readme").not_measured([]) == ""
    assert script("readme").not_measured(["one", "two"]) == "\nNot measured yet: one; two.\n"


def test_the_readme_is_short():
    assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 150


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_parse(arguments):
    name, *rest = arguments
    assert typer.main.get_command(cli.app).commands[name].make_context(name, list(rest))


@pytest.mark.full
@pytest.mark.parametrize("arguments", TRAININGS, ids=" ".join)
def test_trainings_can_begin(arguments, monkeypatch, tmp_path):
    recipes = []

    def train(pictures, output, *, recipe, **others):
        recipes.append(building.resolved(recipe.replace(weights=None)))  # published weights are not downloaded
        output.mkdir()
        recipe.save(output / "recipe.json")
        return SimpleNamespace(path=output, metrics=[])

    monkeypatch.chdir(tmp_path)
    for source in ("IMAGES", "shards"):
        Path(source).mkdir()
    for argument in arguments:
        if argument.endswith(".csv"):
            Path(argument).parent.mkdir(exist_ok=True)  # run/split.csv
            Path(argument).write_text("path,label,image_name,diagnosis\n1,a,1,a\n", encoding="utf-8")
    monkeypatch.setattr(training, "train", train)
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert not stop.value.code
    (recipe,) = recipes
    with keras.StatelessScope(initialize_variables=False):  # shapes only
        kept, trained = (
            building.build(recipe, 10, size, "float32") for size in (recipe.size, recipe.training_size or recipe.size)
        )
    assert [weight.shape for weight in kept.weights] == [weight.shape for weight in trained.weights]


@pytest.mark.parametrize("name", TASKS)
def test_tasks_exist(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    assert name in {*importlib.import_module("tasks").TASKS, "help"}


def test_every_task_has_its_target(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^TASKS := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)[1].replace("\\\n", " ").split()
    assert targets == list(importlib.import_module("tasks").TASKS)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_compiles_and_names_what_is_public(snippet):
    compile(snippet, "<docs>", "exec")
    for name in re.findall(r"\bkeras_inception\.(\w+)", snippet):
        assert hasattr(keras_inception, name)


@pytest.mark.parametrize(("page", "section"), TAKEN)
def test_each_row_of_what_is_taken_is_tested(page, section):
    after = TEXTS[ROOT / "docs" / page].partition(f"\n## {section}\n")[2]
    rows = re.findall(r"^\| (.+?) \|", after.partition("\n\n## ")[0], re.MULTILINE)[2:]
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [row.partition(": `Rescaling`")[0] for row in rows] == list(TAKEN[page, section])
    for name in TAKEN[page, section].values():
        assert f"def {name}(" in tests


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", TEXTS[path]):
        assert (path.parent / target).exists() or target == "api.md", target


def test_rooms_import_from_the_rooms_above_them():
    table = re.search(r"\n\| module \|.*?\n\n", TEXTS[ROOT / "docs" / "architecture.md"], re.DOTALL)[0]
    rows = [re.findall(r"`([\w.]+)/?`", row.split("|")[1]) for row in table.strip().splitlines()[2:]]
    rank = {room.removesuffix(".py"): number for number, row in enumerate(rows) for room in row}
    package = ROOT / "keras_inception"
    assert all((package / room).exists() for row in rows for room in row)
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        text = path.read_text(encoding="utf-8")
        names = re.findall(r"^\s*(?:from|import) keras_inception\.(\w+)", text, re.MULTILINE)
        # The bridge to tf_keras, and how a notebook shows a run.
        names = [name for name in names if (room, name) not in (("model_files", "compression"), ("runs", "reports"))]
        upward = {name for name in names if rank.get(name, -1) > rank.get(room, len(rows))}
        assert not upward, f"{path} imports {upward}"


def test_every_public_name_has_its_place_in_the_api_reference():
    listed = re.findall(r"^::: keras_inception\.(\w+)$", TEXTS[ROOT / "docs" / "api.md"], re.MULTILINE)
    assert sorted(listed) == sorted(set(keras_inception.__all__) - {"__version__"})


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert f": {path.name}\n" in navigation


def test_every_extra_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    explained = re.findall(r"^\| `([a-z-]+)` \|", TEXTS[ROOT / "docs" / "install.md"], re.MULTILINE)
    assert sorted(explained) == sorted(set(project["optional-dependencies"]) - {"test", "web"})  # included in dev


def test_the_changelog_and_the_citation_are_of_one_version():
    newest = re.search(r"^## (\S+)", TEXTS[ROOT / "CHANGELOG.md"], re.MULTILINE)[1]
    assert f"\nversion: {newest}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
