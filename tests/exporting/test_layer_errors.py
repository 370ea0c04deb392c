"""The error of each layer of an int8 file, and layers that stay in float32."""

import io
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from networks import small_inception, with_drawn_weights

import keras_inception
from keras_inception.cli import main
from keras_inception.exporting import exporter
from keras_inception.exporting.convert import convert
from keras_inception.exporting.layer_origins import LayerOrigins, recorded_scopes
from keras_inception.exporting.rewrites import rewrite
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.variants import VARIANTS
from keras_inception.layers import FakeQuantization, LocalResponseNormalization
from keras_inception.models.flat import flat
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite.operations import MULTIPLYING, nodes
from keras_inception.utils import files

PREPROCESSING = DEFAULT.replace(size=(32, 32))


@pytest.fixture(scope="module")
def hard():
    """A network that is hard to quantize: layer ``three`` has large weights for a channel that is always zero."""
    import keras

    keras.utils.set_random_seed(0)
    model = with_drawn_weights(small_inception((32, 32, 3), 3, dropout=0.2))
    gamma, beta, *rest = model.get_layer("reduce_bn").get_weights()
    gamma[0] = beta[0] = rest[0][0] = 0
    model.get_layer("reduce_bn").set_weights([gamma, beta, *rest])
    (kernel,) = model.get_layer("three").get_weights()
    kernel[:, :, 0] *= 1500
    model.get_layer("three").set_weights([kernel])
    return model


@pytest.fixture(scope="module")
def options(pictures):
    return {
        "quantize": ["int8"],
        "preprocessing": "unit",
        "calibration": pictures / "validation",
        "min_agreement": 0,
        "layer_errors": True,
    }


@pytest.fixture(scope="module")
def rounded(hard, options, tmp_path_factory):
    """A report of `hard`, its folder, and a folder with the converter's file of each variant."""
    made, folder = (tmp_path_factory.mktemp(name) for name in ("made", "rounded"))

    def spied(saved_model, variant, output, *others):
        convert(saved_model, variant, output, *others)
        shutil.copy(output, made / variant.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "convert", spied)
        return keras_inception.export(hard, folder, **options), folder, made


@pytest.fixture(scope="module")
def kept(hard, pictures, tmp_path_factory):
    """A report of `hard` with ``three`` kept in float32, its folder, and what the command line printed."""
    folder = tmp_path_factory.mktemp("kept")
    hard.save(folder / "hard.keras")
    arguments = [
        folder / "hard.keras",
        "--output",
        folder,
        "--calibration",
        pictures / "validation",
        "--min-agreement",
        0,
    ]
    options = ["--preprocessing", "unit", "--quantize", "int8", "--layer-errors", "--keep-float", "three"]
    with redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit) as stop:
        main(["export", *map(str, arguments), *options])
    assert not stop.value.code
    return files.read_json(folder / "report.json"), folder, shown.getvalue()


def errors(folder: Path) -> list[dict]:
    """Return the rows of an export's ``layer_errors.json``."""
    return files.read_json(folder / "layer_errors.json")


def test_the_layer_that_is_hard_to_quantize_is_the_worst(hard, rounded):
    rows = errors(rounded[1])
    worst, second = sorted(rows, key=lambda row: row["own_error"], reverse=True)[:2]
    assert (worst["layer"], worst["operation"]) == ("three", "CONV_2D")
    assert worst["own_error"] > 0.5 > 5 * second["own_error"]
    assert worst["error"] ** 2 == pytest.approx(10 ** (-worst["sqnr_db"] / 10))
    assert {row["layer"] for row in rows} <= {layer.name for layer in hard.layers}
    assert [row["layer"] for row in rows if row["operation"] in MULTIPLYING] == [
        "stem",
        "one",
        "reduce",
        "three",
        "left",
        "right",
        "predictions",
    ]
    assert {row["type"] for row in rows} == {"int8", "uint8"}
    assert "keep_float" not in rounded[0]["variants"]["int8"]


@pytest.mark.full
@pytest.mark.versions
def test_a_layer_kept_in_float32_has_no_error(rounded, kept):
    before, after = ({row["layer"]: row for row in errors(folder)} for folder in (rounded[1], kept[1]))
    assert after["three"]["type"] == "float32"
    assert after["three"]["own_error"] < 1e-5
    assert all(after[layer]["own_error"] < 0.1 for layer in after)
    for layer in ("three", "module", "left", "right", "sum", "predictions"):
        assert after[layer]["error"] < before[layer]["error"] / 3
    rows = rounded[0]["variants"]["int8"], kept[0]["variants"]["int8"]
    assert rows[1]["agreement"] >= rows[0]["agreement"]
    assert rows[1]["max_difference"] < rows[0]["max_difference"]


@pytest.mark.full
@pytest.mark.versions
def test_only_the_kept_layer_has_float32_weights(kept):
    report, folder, _ = kept
    row = report["variants"]["int8"]
    assert row["keep_float"] == ["three"]
    assert "refused" not in row
    assert "In int8 these layers stay in float32: three." in (folder / "README.md").read_text(encoding="utf-8")
    operations = nodes(folder / row["path"])
    kernels = {
        node.outputs[0]["name"].split(";")[0].split("/")[2]: node.inputs[1]["dtype"]
        for node in operations
        if node.kind in MULTIPLYING
    }
    assert len(kernels) == 7
    assert kernels.pop("three_relu_1") is np.float32
    assert set(kernels.values()) == {np.int8}
    assert operations[0].inputs[0]["dtype"] is operations[-1].outputs[0]["dtype"] is np.uint8


@pytest.mark.parametrize("layer", ["three_bn", "three_relu", "pool", "three"])
def test_a_layer_that_does_not_stay_in_float32_is_an_error(layer, hard, rounded, options, tmp_path, monkeypatch):
    """Cover layers that have no operation or only move values, and a converter that ignores the request."""
    monkeypatch.setattr(
        exporter, "convert", lambda _, variant, output, *others: shutil.copy(rounded[2] / variant.name, output)
    )
    kind = type(hard.get_layer(layer)).__name__
    with pytest.raises(ValueError, match=rf"must be layers that compute something .* Received: '{layer}', a {kind}"):
        keras_inception.export(hard, tmp_path / "new", keep_float=[layer], **options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_float": ["thre"]}, r"must be layers of small_inception.* Did you mean three\? Received: 'thre'"),
        ({"keep_float": ["dropout"]}, r"not of auxiliary heads, dropout .* Received: 'dropout'"),
        ({"keep_float": "three"}, "must be a list of layers. Received: 'three'"),
        (
            {"keep_float": ["three"], "quantize": ["float32"]},
            r"`keep_float` requires int8 in `quantize`.* Received: quantize=\['float32'\]",
        ),
        ({"layer_errors": True, "quantize": ["float32"]}, "`layer_errors` requires int8"),
    ],
)
def test_wrong_arguments_are_named(hard, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_inception.export(hard, tmp_path / "new", **{"preprocessing": "unit", **arguments})
    assert not (tmp_path / "new").exists()


@pytest.fixture
def trained():
    """A network as it is after quantization-aware training."""
    import keras
    from keras import layers

    image = layers.Input((32, 32, 3))
    x = FakeQuantization(-1, 1, name="pixels")(image)
    x = layers.ReLU(name="conv_relu")(layers.Conv2D(8, 3, name="conv")(x))
    x = FakeQuantization(0, 2, name="conv_after")(x)
    x = FakeQuantization(0, 1, name="pool_range")(layers.GlobalAveragePooling2D(name="pool")(x))
    x = FakeQuantization(-2, 2, name="logits_before")(layers.Dense(3, name="logits")(x))
    return keras.Model(image, layers.Softmax(name="softmax")(x), name="trained")


@pytest.mark.full
def test_a_network_trained_for_int8_has_layer_errors_but_keeps_no_layers(trained, tmp_path):
    with pytest.raises(
        ValueError, match=r"`keep_float` does not apply to a network trained for int8. Received: \['conv'\]"
    ):
        keras_inception.export(trained, tmp_path, preprocessing="unit", keep_float=["conv"])
    keras_inception.export(trained, tmp_path, preprocessing="unit", layer_errors=True, min_agreement=0)
    rows = errors(tmp_path)
    assert [row["layer"] for row in rows] == ["conv", "pool", "logits", "softmax"]
    assert all(row["error"] < 0.1 for row in rows)


def test_every_operation_finds_its_layer(tmp_path):
    """Cover layer names that are another layer's scope, nested models, and fused, rewritten and stray operations."""
    import keras
    from keras import layers

    def unit(x, name):
        x = layers.Conv2D(8, 3, padding="same", use_bias=False, name=name)(x)
        return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))

    image = layers.Input((32, 32, 3))
    x = unit(unit(unit(image, "conv"), "conv_1"), "conv_1_1")
    inner = layers.Input((32, 32, 8))
    block = keras.Model(inner, layers.MaxPooling2D(name="pool")(layers.Conv2D(8, 1, name="conv")(inner)), name="block")
    x = LocalResponseNormalization(name="lrn")(layers.ReLU(name="after")(block(x)))
    x = layers.AveragePooling2D(3, strides=1, padding="same", name="average")(x)
    x = layers.ReLU(name="narrow_relu")(layers.Conv2D(4, 1, use_bias=False, name="narrow")(x))
    x = layers.BatchNormalization(name="alone")(layers.Concatenate(name="both")([x, x * 2]))
    x = layers.Dense(8, name="dense")(layers.Flatten(name="flat")(layers.ReLU(name="alone_relu")(x)))
    x = layers.Dropout(0.5, name="dropout")(layers.ReLU(name="dense_relu")(x))
    model = with_drawn_weights(keras.Model(image, layers.Dense(3, "softmax", name="last")(x), name="model"))

    model = flat(model)
    rewritten = rewrite(model)
    input_preprocessing = PREPROCESSING.replace(mean=(1.0, 2.0, 3.0))  # needs a normalization in the graph
    with recorded_scopes(rewritten) as scopes:
        save(deployed(rewritten, PREPROCESSING, input_preprocessing), tmp_path / "saved_model")
    path = tmp_path / "model.tflite"
    convert(tmp_path / "saved_model", VARIANTS["float32"], path, None, input_preprocessing)
    found = LayerOrigins(model, rewritten, scopes, (32, 32)).operations(path)
    assert [(layer, node.kind) for layer, node in found] == [
        (None, "CONV_2D"),
        ("conv", "CONV_2D"),
        ("conv_1", "CONV_2D"),
        ("conv_1_1", "CONV_2D"),
        ("block_conv", "CONV_2D"),
        ("pool", "MAX_POOL_2D"),
        ("lrn", "SQUARE"),
        ("lrn", "CONV_2D"),
        ("lrn", "SQRT"),
        ("lrn", "SQRT"),
        ("lrn", "DIV"),
        ("lrn", "MUL"),
        ("narrow", "CONV_2D"),
        ("average", "DEPTHWISE_CONV_2D"),
        ("average", "MUL"),
        ("average", "ADD"),
        (None, "MUL"),
        ("both", "CONCATENATION"),
        ("alone", "MUL"),
        ("alone", "ADD"),
        ("flat", "RESHAPE"),
        ("dense", "FULLY_CONNECTED"),
        ("last", "FULLY_CONNECTED"),
        ("last", "SOFTMAX"),
    ]
    assert "call" not in vars(rewritten.get_layer("conv"))


@pytest.mark.full
def test_the_command_shows_the_ten_worst_layers(rounded, kept):
    _, folder, shown = kept
    assert f"Relative to float32. All layers: {folder / 'layer_errors.json'}" in shown
    rows = sorted(errors(folder), key=lambda row: row["own_error"], reverse=True)
    assert len(rows) > 10
    for place, row in enumerate(rows):
        starts = [row["layer"], row["operation"], row["type"], f"{row['own_error']:.1%}"]
        assert any(line.split()[:4] == starts for line in shown.splitlines()) == (place < 10)


def test_the_command_reports_an_unknown_layer_in_one_line(run, tmp_path, capfd):
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run), "--output", str(tmp_path / "new"), "--keep-float", "predictons"])
    message = capfd.readouterr().err
    assert stop.value.code == 1
    assert "Did you mean predictions? Received: 'predictons'" in message.splitlines()[-1]
    assert "Traceback" not in message
    assert not (tmp_path / "new").exists()
