"""`export`: files, report, model card, and refusals."""

import dataclasses
import functools
import inspect
import sys
import tempfile

import numpy as np
import pytest
from colours import LABELS, SIDE, color_images, trained, without_archive
from PIL import Image

import keras_inception
from keras_inception.evaluation.metrics import wilson
from keras_inception.exporting import exporter
from keras_inception.exporting import verify as verifying
from keras_inception.exporting.model_card import _samples, not_sure_remark
from keras_inception.exporting.options import ExportOptions
from keras_inception.exporting.variants import VARIANTS
from keras_inception.exporting.verify import Reference
from keras_inception.preprocessing import DEFAULT, NAMED, Preprocessing
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier, interpreter
from keras_inception.tflite.delegate import undelegated
from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError

SIZE = (SIDE, SIDE)


@pytest.fixture
def no_converter(exported, monkeypatch):
    """Replace the converter: it copies the model of the session's float32 file."""
    folder, _ = exported

    def copy(saved_model, variant, output, *others):
        output.write_bytes(without_archive(folder / "colours_float32.tflite"))

    monkeypatch.setattr(exporter, "convert", copy)


@pytest.mark.versions
def test_every_variant_of_a_run_is_written_and_reported(exported):
    folder, said = exported
    report = files.read_json(folder / "report.json")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.md", "labels.txt", "preprocessing.json", "report.json", "sample.json", "sample.png"]
        + [f"sample_{number}.png" for number in (2, 3, 4, 5)]
        + [f"colours_{variant}.tflite" for variant in VARIANTS]
    )
    assert list(report["variants"]) == list(VARIANTS)
    assert report["pictures"] == 90
    assert 0.6 < report["top1"] < 1
    assert report["top5"] == 1
    for variant, row in report["variants"].items():
        assert row["path"] == f"colours_{variant}.tflite"
        assert row["mb"] == (folder / row["path"]).stat().st_size / 1e6
        assert row["top1"] == pytest.approx(report["top1"], abs=0.05)
        assert row["agreement"] >= 0.95
        assert row["latency_ms"] > 0
    rows = report["variants"]
    assert rows["float32"]["max_difference"] < 1e-5
    assert rows["float16"]["max_difference"] < 1e-2
    assert rows["int8"]["max_difference"] < 0.1
    assert rows["float32"]["outside_delegate"] == []
    assert rows["int8"]["outside_delegate"] == ["QUANTIZE", "SOFTMAX", "QUANTIZE"]
    for variant in VARIANTS:
        assert sum(line.startswith(f"{variant}: ") for line in said) == 1


@pytest.mark.tflite_support
def test_the_task_library_gives_the_same_scores(exported):
    rows = files.read_json(exported[0] / "report.json")["variants"]
    for variant in VARIANTS:
        assert rows[variant]["clients"]["task-library"]["max_difference"] <= VARIANTS[variant].client_tolerance


def test_int8_takes_raw_pixels_and_returns_bytes(exported):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exported[0] / "colours_int8.tflite"))
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert image["dtype"] == output["dtype"] == np.uint8
    assert image["shape"].tolist() == [1, SIDE, SIDE, 3]
    assert image["quantization"][0] == pytest.approx(1 / 127.5, rel=1e-4)
    assert image["quantization"][1] in (127, 128)
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["probabilities"]}}


def test_metadata_has_the_callers_texts(exported):
    found = metadata.read(exported[0] / "colours_float32.tflite")
    assert (found["name"], found["description"]) == ("colours", "Tells «colours» apart.")
    assert (found["author"], found["license"]) == ("Zoë", "CC0-1.0")
    assert metadata.normalization_of(found) == ((127.5,) * 3, (127.5,) * 3)
    (output,) = found["subgraph_metadata"][0]["output_tensor_metadata"]
    assert [file["name"] for file in output["associated_files"]] == ["labels.txt"]


def test_the_samples_have_the_answers_of_each_file(exported):
    folder, _ = exported
    pictures = files.read_json(folder / "sample.json")["pictures"]
    assert [each["picture"] for each in pictures] == ["sample.png", *(f"sample_{i}.png" for i in (2, 3, 4, 5))]
    for each in pictures:
        image = np.asarray(Image.open(folder / each["picture"]))
        assert set(each["top5"]) == set(VARIANTS)
        for variant, top5 in each["top5"].items():
            (probabilities,) = TFLiteClassifier(folder / f"colours_{variant}.tflite").predict(image[None])
            assert [row["probability"] for row in top5] == sorted(probabilities.tolist(), reverse=True)
            assert top5[0]["label"] == LABELS[probabilities.argmax()]


def test_the_samples_are_of_spread_confidence_and_clear(exported):
    pictures = files.read_json(exported[0] / "sample.json")["pictures"]
    best = [[row["probability"] for row in each["top5"]["float32"]] for each in pictures]
    confidence = [probabilities[0] for probabilities in best]
    assert confidence == sorted(confidence, reverse=True)
    assert confidence[0] > confidence[-1] + 0.05
    assert all(first - second > 0.09 for first, second, *_ in best)


def test_a_few_unclear_images_are_samples_too():
    labels, probabilities = np.array([0, 1, 0]), np.array([[0.9, 0.1], [0.6, 0.4], [0.52, 0.48]])
    images = np.zeros((3, 2, 2, 3), np.uint8)
    assert _samples(Reference(images, probabilities, labels)) == [0, 1, 2]
    assert _samples(Reference(images[:1], np.ones((1, 1)), None)) == [0]


def test_the_card_names_files_figures_and_license(exported):
    card = (exported[0] / "README.md").read_text(encoding="utf-8")
    for text in (
        "# colours",
        "Tells «colours» apart.",
        "Zoë",
        "CC0-1.0",
        "colours_int8.tflite",
        "keras-inception export",
        DEFAULT.describe(),
    ):
        assert text in card


@pytest.mark.full
@pytest.mark.tflite_support
@pytest.mark.parametrize(
    "preprocessing",
    [
        NAMED["torchvision"].replace(crop=1.0, size=SIZE),
        Preprocessing(size=SIZE, mean=(104, 117, 123), std=(1, 2, 4), channels="BGR"),
    ],
    ids=["imagenet", "wide and unequal BGR"],
)
def test_normalization_that_a_uint8_input_cannot_express_goes_into_the_graph(preprocessing, pictures, tmp_path):
    model = trained(preprocessing)
    report = keras_inception.export(
        model,
        tmp_path,
        labels=LABELS,
        preprocessing=preprocessing,
        calibration=pictures / "train",
        test=pictures / "test",
        quantize=["float32", "int8"],
    )
    float32, int8 = report["variants"]["float32"], report["variants"]["int8"]
    assert float32["max_difference"] < 1e-5
    assert int8["agreement"] >= 0.95
    assert float32["clients"]["task-library"]["max_difference"] < 1e-5
    assert int8["clients"]["task-library"]["max_difference"] <= VARIANTS["int8"].client_tolerance
    assert int8["outside_delegate"] == ["QUANTIZE", "SOFTMAX", "QUANTIZE"]
    classifier = TFLiteClassifier(tmp_path / int8["path"])
    assert classifier.quantization == (1.0, 0)
    held_out, _ = color_images(20, seed=7)
    expected = model.predict(preprocessing.normalize(held_out.astype(np.float32)), verbose=0)
    assert np.abs(classifier.predict(held_out) - expected).max() < 0.12


@pytest.fixture(scope="module")
def paper_network():
    """A GoogLeNet with LRN and auxiliary heads, built under mixed precision, and the same one in float32."""
    import keras

    from keras_inception import GoogLeNet

    def build(policy):
        keras.config.set_dtype_policy(policy)
        return GoogLeNet(input_shape=(64, 64, 3), classes=3, normalization="lrn", auxiliary=True)

    before = keras.config.dtype_policy()
    try:
        mixed, exact = build("mixed_bfloat16"), build("float32")
    finally:
        keras.config.set_dtype_policy(before)
    exact.set_weights(mixed.get_weights())
    return mixed, exact


@pytest.fixture(scope="module")
def of_the_paper(tmp_path_factory, paper_network, pictures):
    """The folder and the report of the network under mixed precision."""
    folder = tmp_path_factory.mktemp("paper")
    return folder, keras_inception.export(
        paper_network[0], folder, quantize=["float32", "int8"], calibration=pictures / "validation", min_agreement=0
    )


@pytest.mark.full
@pytest.mark.versions
def test_a_network_with_auxiliary_heads_lrn_and_mixed_precision_is_exported(of_the_paper, paper_network):
    folder, report = of_the_paper
    row = report["variants"]["float32"]
    assert row["outside_delegate"] == []
    assert row["path"] == "googlenet_float32.tflite"
    images = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), np.uint8)
    _, exact = paper_network
    expected = exact.predict(exact.preprocessing.normalize(images.astype(np.float32)), verbose=0)["predictions"]
    classifier = TFLiteClassifier(folder / row["path"])
    assert np.abs(classifier.predict(images) - expected).max() < 1e-4
    assert row["max_difference"] < 0.02  # the given network computes in half precision
    assert report["top1"] is None


@pytest.mark.full
@pytest.mark.versions
def test_lrn_in_int8_stays_in_the_delegate(of_the_paper):
    _, report = of_the_paper
    assert report["variants"]["int8"]["outside_delegate"] == ["QUANTIZE", "SOFTMAX", "QUANTIZE"]


def test_a_sequential_network_with_logits_gets_a_softmax_and_numbered_classes(tmp_path):
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input((8, 12, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(6)])
    said: list[str] = []
    report = keras_inception.export(model, tmp_path, preprocessing="unit", quantize=["float32"], on_step=said.append)
    assert any("noise" in line for line in said)
    assert report["pictures"] == 0
    classifier = TFLiteClassifier(tmp_path / report["variants"]["float32"]["path"])
    assert classifier.size == (8, 12)
    assert classifier.labels == tuple(f"class {index}" for index in range(6))
    noise = np.random.default_rng(1).integers(0, 256, (4, 8, 12, 3), dtype=np.uint8)
    logits = model.predict(DEFAULT.normalize(noise.astype(np.float32)), verbose=0)
    np.testing.assert_allclose(classifier.predict(noise), keras.ops.softmax(logits), atol=1e-5)


@pytest.mark.full
def test_average_pooling_is_a_convolution_in_int8_only(pictures, tmp_path):
    import keras
    from keras import layers

    image = keras.Input((SIDE, SIDE, 3))
    x = layers.AveragePooling2D(3, strides=1, padding="same")(layers.Conv2D(8, 3, activation="relu")(image))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    variants = ["float32", "int8"]
    keras_inception.export(
        model,
        tmp_path,
        name="pool",
        preprocessing="unit",
        quantize=variants,
        calibration=pictures / "train",
        min_agreement=0,
        labels=LABELS,
    )
    for variant, there in zip(variants, (True, False), strict=True):
        operations = undelegated(tmp_path / f"pool_{variant}.tflite")._get_ops_details()
        assert ("AVERAGE_POOL_2D" in [operation["op_name"] for operation in operations]) == there


@pytest.fixture(scope="module")
def of_types(run, tmp_path_factory):
    """Return a function that exports `run` to int8 with given types of input and output, once for each pair."""

    @functools.cache
    def exported(given, taken):
        folder = tmp_path_factory.mktemp("types")
        report = keras_inception.export(
            run, folder, quantize=["int8"], int8_input=given, int8_output=taken, layer_errors=True
        )
        return folder / report["variants"]["int8"]["path"], report["variants"]["int8"]

    return exported


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("int8", "int8"),
        *(
            pytest.param(*pair, marks=pytest.mark.full)
            for pair in [("uint8", "float32"), ("uint8", "int8"), ("float32", "uint8"), ("float32", "float32")]
        ),
    ],
)
def test_int8_files_take_and_give_the_types_that_were_asked_for(of_types, tiny_model, given, taken):
    path, row = of_types(given, taken)
    (image,), (output,) = (interpreter(path).get_input_details(), interpreter(path).get_output_details())
    assert (image["dtype"].__name__, output["dtype"].__name__) == (given, taken)
    assert row["agreement"] >= 0.95
    assert row["ties"] <= 0.05
    images, _ = color_images(10, seed=9)
    expected = tiny_model.predict(DEFAULT.normalize(images.astype(np.float32)), verbose=0)
    classifier = TFLiteClassifier(path)
    assert np.abs(classifier.predict(images) - expected).max() < 0.1
    assert classifier.latency_ms(runs=1) > 0
    errors = files.read_json(path.with_name("layer_errors.json"))
    assert all(row["error"] < 0.2 for row in errors)
    assert errors[-1]["operation"] == "SOFTMAX"
    card = path.with_name("README.md").read_text(encoding="utf-8")
    assert ("the raw pixels minus 128" in card) == (given == "int8")
    assert ("in steps of 1/256" in card) == (taken != "float32")
    options = {"--int8-input": given, "--int8-output": taken}
    assert all(f"{option} {kind}" in card for option, kind in options.items() if kind != "uint8")


def test_an_int8_input_is_the_raw_pixels_minus_128(of_types):
    classifier = TFLiteClassifier(of_types("int8", "int8")[0])
    images = np.arange(SIDE * SIDE * 3).reshape(1, SIDE, SIDE, 3) % 256
    np.testing.assert_array_equal(classifier.as_input(images), images - 128)
    (image,) = metadata.read(classifier.path)["subgraph_metadata"][0]["input_tensor_metadata"]
    assert (image["stats"]["min"], image["stats"]["max"]) == ([-128], [127])


@pytest.mark.tflite_support
def test_clients_that_do_not_accept_int8_say_so(of_types):
    _, row = of_types("int8", "int8")
    assert "refused" not in row
    assert "got INT8" in row["clients"]["task-library"]["reason"]


@pytest.mark.full
def test_float_output_is_computed_in_float(of_types):
    path, row = of_types("uint8", "float32")
    assert row["outside_delegate"] == ["QUANTIZE"]
    images, _ = color_images(10, seed=9)
    steps = TFLiteClassifier(path).predict(images) * 256
    assert np.abs(steps - np.rint(steps)).max() > 0.1


def test_frequent_ties_are_reported_in_the_progress_and_on_the_card(run, tmp_path, no_converter, monkeypatch):
    monkeypatch.setattr(verifying, "tie_share", lambda probabilities: 0.125)
    said: list[str] = []
    keras_inception.export(run, tmp_path, quantize=["float32"], on_step=said.append)
    assert not any("tie" in line for line in said)
    monkeypatch.setitem(VARIANTS, "float32", dataclasses.replace(VARIANTS["float32"], output_type="uint8"))
    keras_inception.export(run, tmp_path, quantize=["float32"], on_step=said.append, overwrite=True)
    advice = "12.5% of the images: float32 output (`int8_output`, --int8-output float32) avoids that"
    assert advice in said[-1]
    assert advice in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_file_that_falls_short_is_refused_and_an_older_one_removed(run, tmp_path, no_converter):
    stale = tmp_path / "colours_float16.tflite"
    stale.write_bytes(b"old")
    report = keras_inception.export(
        run, tmp_path, name="colours", quantize=["float16"], min_agreement=1.01, overwrite=True
    )
    row = report["variants"]["float16"]
    assert "path" not in row
    assert "agrees with Keras on 100.0% of 90 images, and 101.0% are required" in row["refused"]
    assert not list(tmp_path.glob("*.tflite"))
    assert files.read_json(tmp_path / "report.json") == report
    assert "float16 was refused" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_variant_that_fails_does_not_affect_the_others(run, tmp_path, no_converter, monkeypatch):
    copy = exporter.convert

    def failing(saved_model, variant, *others):
        if variant.calibrated:
            raise ChildError("the converter ended with exit code -11: out of luck")
        copy(saved_model, variant, *others)

    monkeypatch.setattr(exporter, "convert", failing)
    report = keras_inception.export(run, tmp_path, name="colours", quantize=["int8", "float32"])
    assert report["variants"]["int8"]["refused"] == "the converter ended with exit code -11: out of luck"
    assert [path.name for path in tmp_path.glob("*.tflite")] == ["colours_float32.tflite"]


def test_without_tflite_support_the_files_are_the_same_and_the_report_says_so(run, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_support", None)
    report = keras_inception.export(
        run,
        tmp_path,
        name="colours",
        quantize=["float32"],
        description="Tells «colours» apart.",
        author="Zoë",
        licence="CC0-1.0",
    )
    row = report["variants"]["float32"]
    assert "tflite-support" in row["clients"]["task-library"]["reason"]
    alone = TFLiteClassifier(tmp_path / row["path"])
    assert alone.labels == LABELS
    assert alone.preprocessing == DEFAULT.replace(size=SIZE)
    assert metadata.read(alone.path) == metadata.read(exported[0] / row["path"])


def test_a_threshold_for_not_sure_is_in_the_report_and_on_the_card(run, exported, tmp_path, no_converter):
    report = keras_inception.export(run, tmp_path, name="colours", quantize=["float32"], not_sure=0.6, clients=())
    assert report["not_sure"] == files.read_json(tmp_path / "report.json")["not_sure"] == 0.6
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Below a probability of 0.6 of the most likely class, an app should say that it is not sure. Keras" in card
    assert "not sure" not in (exported[0] / "README.md").read_text(encoding="utf-8")


def test_the_accuracy_above_the_threshold_is_that_of_the_reference():
    images, labels = np.zeros((4, 1, 1, 3), np.uint8), np.array([0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.45, 0.55]])
    remark = not_sure_remark(Reference(images, scores, labels), 0.6)
    assert remark == (
        "Below a probability of 0.6 of the most likely class, an app should say that it is not sure. "
        "Keras then answers 75.0% of the held-out images, and 66.7% of its answers are correct."
    )
    assert not_sure_remark(Reference(images, scores, labels), 0.95).endswith("answers 0.0% of the held-out images.")
    for unknown in (Reference(images, scores, None), Reference(images, scores, labels, independent=True)):
        assert not_sure_remark(unknown, 0.6).endswith("an app should say that it is not sure.")
    assert not_sure_remark(Reference(images, scores, labels), None) == ""


def test_files_are_named_after_a_keras_file(tiny_model, pictures, tmp_path):
    tiny_model.save(tmp_path / "flowers.keras")
    counts = {}
    report = keras_inception.export(
        tmp_path / "flowers.keras",
        tmp_path / "exported",
        quantize=("float32",),
        preprocessing="unit",
        test=pictures / "test",
        labels=LABELS,
        verify_pictures=12,
        clients=(),
        on_progress=lambda what, done, total: counts.update({what: (done, total)}),
    )
    assert (tmp_path / "exported" / "flowers_float32.tflite").is_file()
    row = report["variants"]["float32"]
    assert report["pictures"] == 12
    assert row["agreement_interval"] == pytest.approx(wilson(12, 12))
    assert counts == {
        "Reading images": (12, 12),
        "Running Keras": (1, 1),
        "Converting": (1, 1),
        "Verifying": (12, 12),
    }


def test_an_export_that_fails_leaves_no_file(run, tmp_path, no_converter, monkeypatch):
    """Nothing that fails while files are verified leaves half an export, or temporary files."""

    def failing(*arguments, **options):
        raise MemoryError("out of luck")

    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(exporter, "verify", failing)
    with pytest.raises(MemoryError, match="out of luck"):
        keras_inception.export(run, tmp_path / "exported", quantize=["float32"], clients=())
    assert not (tmp_path / "exported").exists()
    assert not list((tmp_path / "temporary").iterdir())


def test_every_option_is_an_argument_of_export():
    arguments = inspect.signature(keras_inception.export).parameters
    options = {field.name: field.default for field in dataclasses.fields(ExportOptions)}
    assert {name: arguments[name].default for name in options} == options
    assert set(arguments) - set(options) == {"source", "output", "on_step", "on_progress"}


def test_an_export_is_not_overwritten_by_default(exported, run):
    with pytest.raises(FileExistsError, match=r"already holds .*report\.json"):
        keras_inception.export(run, exported[0], quantize=["float32"])


def test_a_run_is_not_exported_into_itself(run):
    with pytest.raises(ValueError, match="must not be the source's own folder"):
        keras_inception.export(run, run, overwrite=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantize": ["int4"]}, r"`quantize` must be a list of some of float32, .* Received: quantize=\['int4'\]"),
        ({"quantize": "int8"}, "Received: quantize='int8'"),
        ({"quantize": []}, r"Received: quantize=\[\]"),
        ({"name": "../x"}, "`name` must consist of letters"),
        ({"min_agreement": float("nan")}, "`min_agreement` must be a share"),
        ({"not_sure": 1}, "`not_sure` must be a probability between 0 and 1. Received: not_sure=1"),
        ({"not_sure": 0.0}, "`not_sure` must be a probability between 0 and 1. Received: not_sure=0.0"),
        ({"not_sure": float("nan")}, "`not_sure` must be a probability between 0 and 1. Received: not_sure=nan"),
        ({"not_sure": "0.6"}, "`not_sure` must be a probability between 0 and 1. Received: not_sure='0.6'"),
        (
            {"int8_input": "float16"},
            "`int8_input` must be one of 'uint8', 'int8', 'float32'",
        ),
        ({"int8_output": "int8", "quantize": ["float32"]}, "`int8_output` requires int8 in `quantize`"),
        ({"int8_output": "int8", "litert_sample": True}, "`int8_output` must be float32 with `litert_sample`"),
        ({"clients": "mediapipe"}, "`clients` must be a list of some of task-library, mediapipe, litert-web."),
        ({"clients": ["media-pipe"]}, r"Did you mean mediapipe\? Received: clients=\['media-pipe'\]"),
        ({"labels": ["one"]}, "`labels` must be 3, one for each class. Received: 1: one"),
        ({"labels": ["a", "b\nc", "d"]}, "each of `labels` must be a line of text"),
        ({"preprocessing": "resnet"}, "`preprocessing` must be one of"),
        ({"preprocessing": DEFAULT}, r"must take images, \(batch, 224, 224, 3\)"),
    ],
)
def test_wrong_arguments_are_named(run, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_inception.export(run, tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_int8_needs_calibration_images(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="int8 needs `calibration`"):
        keras_inception.export(tiny_model, tmp_path, preprocessing="unit")
