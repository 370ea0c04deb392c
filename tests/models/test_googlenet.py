import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image, trainable

from keras_inception import GoogLeNet
from keras_inception.models.googlenet import MODULES

HEADS = ["predictions", "aux_4a", "aux_4d"]


@pytest.fixture(scope="module")
def paper():
    """Return the paper's network with its heads."""
    return GoogLeNet(auxiliary=True)


@pytest.fixture(scope="module")
def small():
    """Return a network with heads, the smallest input and ten classes."""
    return GoogLeNet(auxiliary=True, input_shape=(32, 32, 3), classes=10)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        pytest.param({"normalization": "batch_norm", "five_kernel": 5}, 7_005_832, marks=pytest.mark.full),
        ({"normalization": "batch_norm", "auxiliary": True}, 13_004_888),
    ],
    ids=str,
)
def test_parameters_of_the_variants(options, parameters):
    assert trainable(GoogLeNet(**options)) == parameters


@pytest.mark.versions
def test_parameters_with_both_heads(paper):
    assert trainable(paper) == paper.count_params() == 13_378_280


@pytest.mark.parametrize(
    ("stage", "shape"),
    [
        ("conv1", (112, 112, 64)),
        ("pool1", (56, 56, 64)),
        ("pool1_norm", (56, 56, 64)),
        ("conv2_reduce", (56, 56, 64)),
        ("conv2", (56, 56, 192)),
        ("conv2_norm", (56, 56, 192)),
        ("pool2", (28, 28, 192)),
        ("inception_3a", (28, 28, 256)),
        ("inception_3b", (28, 28, 480)),
        ("pool3", (14, 14, 480)),
        ("inception_4a", (14, 14, 512)),
        ("inception_4b", (14, 14, 512)),
        ("inception_4c", (14, 14, 512)),
        ("inception_4d", (14, 14, 528)),
        ("inception_4e", (14, 14, 832)),
        ("pool4", (7, 7, 832)),
        ("inception_5a", (7, 7, 832)),
        ("inception_5b", (7, 7, 1024)),
        ("global_pool", (1024,)),
        ("predictions", (1000,)),
        ("aux_4a_pool", (4, 4, 512)),
        ("aux_4a_conv", (4, 4, 128)),
        ("aux_4a", (1000,)),
        ("aux_4d_pool", (4, 4, 528)),
        ("aux_4d_fc", (1024,)),
        ("aux_4d", (1000,)),
    ],
)
def test_stages_have_the_shapes_of_table_1(paper, stage, shape):
    assert paper.get_layer(stage).output.shape == (None, *shape)


def test_layers_are_named_by_their_place_in_the_paper(paper):
    places = ["1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj"]
    modules = [f"inception_{key}_{place}" for key in MODULES for place in places]
    heads = [f"aux_{key}_conv" for key in ("4a", "4d")]
    convolutions = {layer.name for layer in paper.layers if isinstance(layer, layers.Conv2D)}
    assert convolutions == {"conv1", "conv2_reduce", "conv2", *modules, *heads}
    dense = {layer.name for layer in paper.layers if isinstance(layer, layers.Dense)}
    assert dense == {*HEADS, "aux_4a_fc", "aux_4d_fc"}
    assert list(paper.output) == HEADS
    assert paper.name == "googlenet"
    assert [paper.get_layer(f"{name}_dropout").rate for name in HEADS] == [0.4, 0.7, 0.7]


def test_a_head_reads_the_module_it_is_named_after(paper):
    for key in ("4a", "4d"):
        assert paper.get_layer(f"aux_{key}_pool").input is paper.get_layer(f"inception_{key}").output


def test_normalization_is_placed_as_in_the_paper(paper):
    assert paper.get_layer("pool1_norm").input is paper.get_layer("pool1").output
    assert paper.get_layer("conv2_norm").output is paper.get_layer("pool2").input


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"five_kernel": 3}, marks=pytest.mark.full),
        {"normalization": "lrn", "auxiliary": True, "dropout": 0.0},
        pytest.param({"normalization": "batch_norm", "auxiliary": True}, marks=pytest.mark.full),
        pytest.param(
            {"normalization": "batch_norm", "five_kernel": 5, "classifier_activation": "sigmoid"},
            marks=pytest.mark.full,
        ),
        {"module": "naive", "normalization": "batch_norm", "auxiliary": True},
    ],
    ids=str,
)
def test_every_option_builds_and_runs(options):
    model = GoogLeNet(input_shape=(48, 40, 3), classes=7, name="other", **options)
    assert model.name == "other"
    outputs = model(image(48, 40, batch=2))
    assert list(outputs) == HEADS if options.get("auxiliary") else outputs.shape == (2, 7)
    for output in keras.tree.flatten(outputs):
        assert output.shape == (2, 7)
        assert np.isfinite(output).all()


@pytest.mark.parametrize(("stride", "side"), [(8, 64), (4, 32), (2, 16)])
def test_a_stem_of_smaller_stride_makes_large_maps_of_small_images(stride, side):
    gentle = GoogLeNet(input_shape=(side, side, 3), stem_stride=stride, classes=3)
    assert gentle.get_layer("inception_3a").output.shape[1:3] == (8, 8)
    assert gentle.get_layer("inception_5b").output.shape[1:3] == (2, 2)
    smallest = 32 * stride // 8
    with pytest.raises(ValueError, match=rf"at least {smallest} on each side"):
        GoogLeNet(input_shape=(smallest - 1, smallest, 3), stem_stride=stride)


def test_weights_fit_any_stride_of_the_stem(small):
    gentle = GoogLeNet(auxiliary=True, input_shape=(16, 16, 3), stem_stride=4, classes=10)
    gentle.set_weights(small.get_weights())
    every_other = image(32, 32)[:, ::2, ::2]
    assert gentle(every_other)["predictions"].shape == (1, 10)


def test_32_pixels_are_enough_for_the_heads(small):
    for output in small(image(32, 32, batch=3)).values():
        assert output.shape == (3, 10)
        np.testing.assert_allclose(np.sum(output, axis=-1), 1.0, rtol=1e-5)


def test_without_a_top_there_is_no_classifier():
    assert GoogLeNet(include_top=False).count_params() == 6_998_552 - 1_025_000


def test_pooling_is_that_of_the_last_map():
    bodies = {pooling: GoogLeNet(include_top=False, pooling=pooling) for pooling in (None, "avg", "max")}
    x = image(64, 96)
    for pooling in ("avg", "max"):
        bodies[pooling].set_weights(bodies[None].get_weights())
    last_map = np.asarray(bodies[None](x))
    np.testing.assert_allclose(bodies["avg"](x), last_map.mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bodies["max"](x), last_map.max((1, 2)), rtol=1e-6)


def test_a_network_can_be_built_on_a_tensor():
    inputs = keras.Input((64, 64, 3), name="raw")
    model = GoogLeNet(input_tensor=layers.Rescaling(1 / 127.5, offset=-1)(inputs), classes=3)
    plain = GoogLeNet(input_shape=(64, 64, 3), classes=3)
    plain.set_weights(model.get_weights())
    assert model.input is inputs
    pixels = np.abs(image(64, 64)) * 50
    np.testing.assert_allclose(model(pixels), plain(pixels / 127.5 - 1), rtol=1e-4)


def test_without_activation_all_classifiers_return_logits(small):
    logits = GoogLeNet(auxiliary=True, input_shape=(32, 32, 3), classes=10, classifier_activation=None)
    logits.set_weights(small.get_weights())
    x = image(32, 32, batch=2)
    for name, output in logits(x).items():
        np.testing.assert_allclose(keras.ops.softmax(output), small(x)[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"module": "factorized"}, r"`module` must be one of 'reduced', 'naive'\. Received: module='factorized'"),
        (
            {"normalization": "group"},
            "`normalization` must be one of None, 'lrn', 'lrn_builtin', 'batch_norm'. Received: norm",
        ),
        ({"stem_stride": 3}, r"`stem_stride` must be one of 8, 4, 2\. Received: stem_stride=3"),
        ({"five_kernel": 7}, r"`five_kernel` must be one of None, 3, 5\. Received: five_kernel=7"),
        ({"pooling": "sum", "include_top": False}, r"`pooling` must be one of None, 'avg', 'max'\. Received: pooling="),
        ({"pooling": "avg"}, r"`pooling` is for `include_top=False`.* Received: pooling='avg'"),
        (
            {"auxiliary": True, "include_top": False},
            r"`auxiliary=True` needs `include_top=True`.*Received: include_top",
        ),
        ({"auxiliary": True, "input_shape": (None, None, 3)}, r"known height and width\. Received: \(None, None, 3\)"),
        ({"classes": 0}, r"`classes` must be a positive integer\. Received: classes=0"),
        ({"classes": 2.5}, r"`classes` must be a positive integer\. Received: classes=2\.5"),
        ({"classes": "10"}, r"`classes` must be a positive integer\. Received: classes='10'"),
        ({"dropout": 1.5}, r"`dropout` must be in \[0, 1\)\. Received: dropout=1\.5"),
        ({"dropout": -0.1}, r"`dropout` must be in \[0, 1\)"),
        ({"input_shape": (31, 224, 3)}, r"`input_shape` must be at least 32 on each side\. Received: \(31, 224, 3\)"),
        ({"input_shape": (224, 31, 3), "auxiliary": True}, "`input_shape` must be at least 32 on each side"),
        ({"input_shape": (None, 31, 3)}, "`input_shape` must be at least 32 on each side"),
        ({"input_shape": (224, 224, 1)}, r"`input_shape` must be \(height, width, 3\)\. Received: \(224, 224, 1\)"),
        ({"input_shape": (224, 224)}, r"`input_shape` must be \(height, width, 3\)"),
        ({"input_shape": (1, 224, 224, 3)}, r"`input_shape` must be \(height, width, 3\)"),
        ({"input_shape": (3, 224, 224)}, r"`input_shape` must be \(height, width, 3\)"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        GoogLeNet(**arguments)


def test_a_tensor_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 32 on each side"):
        GoogLeNet(input_tensor=keras.Input((31, 64, 3)))


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels last"):
            GoogLeNet()
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.full
@pytest.mark.versions
def test_a_saved_network_opens_in_a_fresh_process(small, tmp_path):
    x = image(32, 32, batch=2)
    np.save(tmp_path / "x.npy", x)
    small.save(tmp_path / "network.keras")
    code = """if True:
        import sys
        import numpy as np
        import keras_inception
        assert "keras" not in sys.modules
        model = keras_inception.load("network.keras")
        np.savez("outputs.npz", **{name: np.asarray(y) for name, y in model(np.load("x.npy")).items()})
        """
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    outputs = np.load(tmp_path / "outputs.npz")
    for name, want in small(x).items():
        np.testing.assert_allclose(outputs[name], want, rtol=1e-5, atol=1e-7)
