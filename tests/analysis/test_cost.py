"""Cost of networks: compared with counts by hand, by brute force, and as published."""

import itertools
import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_inception import GoogLeNet, features
from keras_inception.analysis import Cost, cost
from keras_inception.layers import LocalResponseNormalization
from keras_inception.models import blocks
from keras_inception.models.googlenet import MODULES

SUMS = ("parameters", "trainable", "macs", "lrn_macs", "activations")


def chain(shape, *steps):
    """Return a model of consecutive layers."""
    x = inputs = keras.Input(shape)
    for step in steps:
        x = step(x)
    return keras.Model(inputs, x, name="chain")


def assert_parts_add_up(result):
    for parts in (result.layers, result.modules, result.stages):
        for figure in SUMS:
            assert sum(getattr(part, figure) for part in parts) == getattr(result, figure)
        assert max(part.peak for part in parts) == result.peak
        assert max(part.depth for part in parts) == result.depth
    assert sorted(name for module in result.modules for name in module.layers) == sorted(
        layer.name for layer in result.layers
    )
    assert [name for stage in result.stages for name in stage.modules] == [module.name for module in result.modules]


@pytest.mark.parametrize(
    ("shape", "layer", "macs", "parameters"),
    [
        ((28, 28, 192), layers.Conv2D(32, 5, padding="same"), 28 * 28 * 5 * 5 * 192 * 32, 5 * 5 * 192 * 32 + 32),
        ((9, 8, 6), layers.Conv2D(4, (3, 1), strides=2, use_bias=False), 4 * 4 * 3 * 6 * 4, 3 * 6 * 4),
        ((9, 9, 6), layers.Conv2D(4, 3, groups=2), 7 * 7 * 9 * 3 * 4, 9 * 3 * 4 + 4),
        ((9, 9, 2), layers.Conv2D(4, 3, dilation_rate=2), 5 * 5 * 9 * 2 * 4, 9 * 2 * 4 + 4),
        ((3, 8, 8), layers.Conv2D(4, 3, data_format="channels_first"), 6 * 6 * 9 * 3 * 4, 9 * 3 * 4 + 4),
        ((9, 9, 6), layers.DepthwiseConv2D(3, depth_multiplier=2), 7 * 7 * 9 * 6 * 2, 9 * 12 + 12),
        ((9, 9, 6), layers.SeparableConv2D(4, 3), 7 * 7 * (9 * 6 + 6 * 4), 9 * 6 + 6 * 4 + 4),
        ((5, 5, 6), layers.Conv2DTranspose(4, 3, strides=2), 5 * 5 * 9 * 6 * 4, 9 * 6 * 4 + 4),
        ((9, 6), layers.Conv1D(4, 3), 7 * 3 * 6 * 4, 3 * 6 * 4 + 4),
        ((5, 5, 5, 2), layers.Conv3D(4, 3), 27 * 27 * 2 * 4, 27 * 2 * 4 + 4),
        ((100,), layers.Dense(10), 1000, 1010),
        ((7, 7, 100), layers.Dense(10), 49 * 1000, 1010),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else str(value),
)
def test_a_convolution_or_dense_layer_is_counted_by_hand(shape, layer, macs, parameters):
    result = cost(chain(shape, layer))
    assert (result.macs, result.parameters, result.trainable) == (macs, parameters, parameters)
    assert result.activations == math.prod(layer.output.shape[1:])
    assert not result.uncounted


@pytest.mark.parametrize(
    "layer",
    [
        layers.MaxPooling2D(2),
        layers.AveragePooling2D(3, strides=1),
        layers.GlobalAveragePooling2D(),
        layers.ReLU(),
        layers.PReLU(),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.ZeroPadding2D(1),
        layers.UpSampling2D(2),
        layers.BatchNormalization(),
    ],
    ids=lambda layer: layer.name,
)
def test_nothing_else_multiplies(layer):
    result = cost(chain((8, 8, 4), layer))
    assert (result.macs, result.lrn_macs, result.activations, result.depth, result.uncounted) == (0, 0, 0, 0, ())
    assert result.parameters == layer.count_params()


def test_batch_norm_has_parameters_that_are_not_trained():
    result = cost(chain((8, 8, 4), layers.BatchNormalization()))
    assert (result.parameters, result.trainable) == (16, 8)


def test_frozen_layers_are_not_trainable():
    model = chain((8, 8, 3), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2))
    model.layers[1].trainable = False
    result = cost(model)
    assert result.parameters - result.trainable == 3 * 3 * 3 * 4 + 4


def test_lrn_is_counted_separately():
    result = cost(chain((8, 8, 3), layers.Conv2D(16, 3, padding="same"), LocalResponseNormalization()))
    assert result.macs == 8 * 8 * 9 * 3 * 16
    assert result.lrn_macs == 8 * 8 * 16 * 16
    assert "not counted: 16,384 MACs of LRN" in result.table()


def brute_force(height, width, channels, convolutions):
    """Count the multiply-adds of a stack of convolutions one by one."""
    macs = 0
    for filters, (kernel_height, kernel_width), stride, padding in convolutions:
        rows, columns = (
            range(0, side if padding == "same" else side - kernel + 1, stride)
            for side, kernel in ((height, kernel_height), (width, kernel_width))
        )
        for _ in itertools.product(rows, columns, range(filters), range(kernel_height), range(kernel_width)):
            for _ in range(channels):
                macs += 1
        height, width, channels = len(rows), len(columns), filters
    return macs


convolutions = st.tuples(
    st.integers(1, 4),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 2),
    st.sampled_from(["same", "valid"]),
)


@settings(max_examples=25)
@given(st.integers(15, 18), st.integers(15, 18), st.integers(1, 3), st.lists(convolutions, min_size=1, max_size=3))
def test_stacks_of_convolutions_equal_a_brute_force_count(height, width, channels, stack):
    made = [
        layers.Conv2D(filters, kernel, strides=stride, padding=padding) for filters, kernel, stride, padding in stack
    ]
    result = cost(chain((height, width, channels), *made))
    assert result.macs == brute_force(height, width, channels, stack)
    assert result.depth == len(stack)
    assert_parts_add_up(result)


@pytest.mark.parametrize("stride", [1, 2])
def test_ones_convolved_with_ones_sum_to_the_multiply_adds(stride):
    layer = layers.Conv2D(4, (3, 2), strides=stride, use_bias=False, kernel_initializer="ones")
    model = chain((9, 7, 5), layer)
    assert cost(model).macs == np.sum(model(np.ones((1, 9, 7, 5))))


steps = st.sampled_from(
    [
        blocks.Conv("1x1", 2),
        blocks.Conv("3x3", 3, 3),
        blocks.Conv("1x7", 2, (1, 7), relu=False),
        blocks.Pool("max"),
        blocks.Pool("average", name="average"),
    ]
)
branches = st.lists(st.lists(steps, min_size=1, max_size=3, unique_by=lambda step: step.name), min_size=2, max_size=4)


@settings(max_examples=10)
@given(st.lists(branches, min_size=1, max_size=3), st.booleans())
def test_groups_add_up_to_the_network(modules, batch_norm):
    x = inputs = keras.Input((8, 8, 2))
    for index, spec in enumerate(modules):
        name = f"inception_{index + 3}a"
        named = [[step._replace(name=f"{number}_{step.name}") for step in branch] for number, branch in enumerate(spec)]
        unit = blocks.conv
        if batch_norm:
            unit = lambda *args, **kw: blocks.conv(*args, batch_norm=blocks.BatchNorm(), **kw)  # noqa: E731
        x = blocks.module(x, named, conv_block=unit, name=name)
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{index + 3}")(x)
    result = cost(keras.Model(inputs, x))
    assert_parts_add_up(result)
    expected = [name for index in range(len(modules)) for name in (f"inception_{index + 3}a", f"pool{index + 3}")]
    assert [module.name for module in result.modules] == expected
    convolved = [layer for layer in keras.Model(inputs, x).layers if isinstance(layer, layers.Conv2D)]
    assert result.macs == sum(math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape) for layer in convolved)


@pytest.fixture(scope="module")
def googlenet():
    return cost(GoogLeNet(auxiliary=True))


def test_googlenet_by_module_and_stage(googlenet):
    stem = ["conv1", "pool1", "conv2", "pool2", "inception_3a", "inception_3b", "pool3"]
    fours = [f"inception_{key}" for key in MODULES if key[0] == "4"]
    tail = ["pool4", "inception_5a", "inception_5b", "googlenet-global_pool", "predictions"]
    assert [module.name for module in googlenet.modules] == [*stem, *fours, *tail, "aux_4a", "aux_4d"]
    assert {stage.name: len(stage.modules) for stage in googlenet.stages} == {
        "112×112": 1, "56×56": 2, "28×28": 3, "14×14": 6, "7×7": 3, "head": 2, "aux_4a": 1, "aux_4d": 1,
    }  # fmt: skip
    by_name = {module.name: module for module in googlenet.modules}
    assert by_name["conv2"].layers == ("conv2_reduce", "conv2_reduce_relu", "conv2", "conv2_relu", "conv2_norm")
    assert by_name["inception_4e"].output_shape == (14, 14, 832)
    assert (by_name["inception_3a"].macs, by_name["inception_3a"].parameters) == (128_049_152, 163_696)
    assert by_name["aux_4a"].parameters == 512 * 128 + 128 + 2048 * 1024 + 1024 + 1024 * 1000 + 1000
    assert googlenet.trainable == googlenet.parameters == 13_378_280
    assert googlenet.depth == 22
    assert googlenet.output_shape == (1000,)
    assert googlenet.lrn_macs == 56 * 56 * (64**2 + 192**2)
    layer = next(layer for layer in googlenet.layers if layer.name == "inception_4e_5x5")
    assert (layer.kind, layer.module, layer.stage) == ("Conv2D", "inception_4e", "14×14")


def named(kind, name, *args, **options):
    return kind(*args, name=name, **options)


def conv(name, **options):
    return named(layers.Conv2D, name, 4, 3, padding="same", **options)


@pytest.mark.parametrize(
    ("names", "modules"),
    [
        (["block1_conv1", "block1_conv2", "block1_pool", "block2_conv1", "block2_pool"], ["block1", "block2"]),
        (["conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2"], ["conv1", "pool1", "conv2", "pool2"]),
        (["conv2_1_1", "conv2_1_1_bn", "conv2_1_2", "conv2_2_1", "conv2_2_2"], ["conv2_1", "conv2_2"]),
        (["conv2_1_1", "conv2_1_2", "conv2_1", "conv2_2_1", "conv2_2_2", "conv2_2"], ["conv2_1", "conv2_2"]),
        (["conv1_pad", "conv1", "conv1_bn", "conv1_relu", "pool1_pad", "pool1"], ["conv1", "pool1"]),
        (["conv2d_1a", "conv2d_1a_bn", "conv2d_2a", "maxpool_3a"], ["conv2d_1a", "conv2d_2a", "maxpool_3a"]),
        (["conv_dw_1", "conv_pw_1", "conv_dw_2", "conv_pw_2"], ["conv_dw_1", "conv_pw_1", "conv_dw_2", "conv_pw_2"]),
        (["a", "b", "a_1", "c"], ["a", "b", "a_1", "c"]),
        (["first", "first_relu", "some_bn", "other"], ["first", "other"]),
    ],
    ids=lambda names: "-".join(names[:2]),
)
def test_single_layers_are_grouped_by_name(names, modules):
    kinds = {"bn": layers.BatchNormalization, "relu": layers.ReLU, "pad": layers.ZeroPadding2D}
    made = []
    for name in names:
        end = name.rpartition("_")[2]
        if "pool" in name and end != "pad":
            made.append(layers.MaxPooling2D(2, padding="same", name=name))
        else:
            made.append(kinds[end](name=name) if end in kinds else conv(name))
    result = cost(chain((16, 16, 3), *made))
    assert [module.name for module in result.modules] == modules
    assert_parts_add_up(result)


def test_automatic_names_are_ignored():
    conv1, conv2, dense1, dense2 = layers.Conv2D(4, 3), layers.Conv2D(4, 3), layers.Dense(4), layers.Dense(2)
    pad, norm, relu1, relu2 = layers.ZeroPadding2D(), layers.BatchNormalization(), layers.ReLU(), layers.ReLU()
    pool, flat, drop = layers.MaxPooling2D(2), layers.Flatten(), layers.Dropout(0.5)
    result = cost(chain((16, 16, 3), pad, conv1, norm, relu1, conv2, relu2, pool, flat, dense1, drop, dense2))
    groups = [[pad, conv1, norm, relu1], [conv2, relu2], [pool], [flat], [dense1, drop], [dense2]]
    assert [module.layers for module in result.modules] == [tuple(layer.name for layer in group) for group in groups]
    ends = [conv1, conv2, pool, flat, dense1, dense2]
    assert [module.name for module in result.modules] == [layer.name for layer in ends]
    assert [stage.name for stage in result.stages] == ["16×16", "14×14", "7×7", "head"]


@pytest.mark.parametrize(
    ("branch", "end", "after", "module"),
    [
        ("conv2_1", "conv2_1", "conv2_1_relu", "conv2_1"),  # an addition with the name of its block
        ("conv2_1", "conv2_1_add", "conv2_1", "conv2_1"),
        ("conv2_block1", "conv2_block1_add", "conv2_block1_out", "conv2_block1"),  # keras.applications' ResNet
        ("branch", "mixed_5b", "activation_7", "mixed_5b"),  # branches without a common name
    ],
)
def test_a_residual_block_is_a_module(branch, end, after, module):
    inputs = keras.Input((8, 8, 4))
    x = conv("stem")(inputs)
    y = layers.ReLU(name=f"{branch}_1_relu")(conv(f"{branch}_1_conv")(x))
    y = conv(f"{branch}_2_conv" if branch != "branch" else "other")(y)
    x = layers.Activation("relu", name=after)(layers.Add(name=end)([x, y]))
    result = cost(keras.Model(inputs, layers.Flatten(name="flatten")(x)))
    assert [part.name for part in result.modules] == ["stem", module, "flatten"]
    assert len(result.modules[1].layers) == 5
    assert result.depth == 3


def test_models_inside_a_model_are_counted_layer_by_layer():
    inner = keras.Sequential([keras.Input((None, None, 3)), conv("conv1"), layers.ReLU(name="conv1_relu")], name="body")
    model = keras.Sequential([keras.Input((8, 6, 3)), inner, layers.Flatten(name="flat"), layers.Dense(2, name="end")])
    result = cost(model)
    assert [layer.name for layer in result.layers] == ["body/conv1", "body/conv1_relu", "flat", "end"]
    assert [module.name for module in result.modules] == ["body/conv1", "flat", "end"]
    assert result.macs == 8 * 6 * 27 * 4 + 8 * 6 * 4 * 2
    assert result.parameters == model.count_params()


def test_a_layer_used_twice_has_twice_the_macs_and_one_set_of_weights():
    shared = conv("shared")
    inputs = keras.Input((8, 8, 4))
    result = cost(keras.Model(inputs, shared(layers.MaxPooling2D(2)(shared(inputs)))))
    assert result.macs == (8 * 8 + 4 * 4) * 9 * 4 * 4
    assert result.parameters == 9 * 4 * 4 + 4
    assert result.depth == 2
    assert_parts_add_up(result)


def test_several_inputs_and_outputs():
    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    x = layers.Concatenate(name="both")([conv("left")(left), conv("right")(right)])
    model = keras.Model([left, right], {"a": conv("a")(x), "b": layers.Dense(2, name="b")(layers.Flatten()(x))})
    result = cost(model)
    assert {module.name for module in result.modules} >= {"both", "a"}
    assert result.parameters == model.count_params()
    assert_parts_add_up(result)


def test_stages_as_outputs_are_not_auxiliary_heads():
    model = features(GoogLeNet(include_top=False, input_shape=(64, 64, 3)), ["inception_3b", "inception_4e"])
    result = cost(model)
    assert result.output_shape == (4, 4, 832)
    assert "inception_3b" in [module.name for module in result.modules]


class Mixing(layers.Layer):
    """A layer with a multiplication that cannot be counted."""

    def build(self, shape):
        self.matrix = self.add_weight((shape[-1], shape[-1]))

    def call(self, x):
        return keras.ops.matmul(x, self.matrix)


def test_uncounted_layers_are_named():
    inputs = keras.Input((8, 8, 4))
    x = Mixing(name="mixing")(conv("known")(inputs))
    result = cost(keras.Model(inputs, keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2)))))
    assert result.uncounted[0] == "mixing"
    assert len(result.uncounted) == 2
    assert result.macs == 8 * 8 * 9 * 4 * 4
    assert "not counted because unknown: the MACs of mixing" in str(result)


def test_the_peak_of_a_chain_is_a_layers_input_and_output():
    result = cost(chain((8, 8, 3), conv("conv"), layers.ReLU(name="relu"), layers.MaxPooling2D(2, name="pool")))
    assert [layer.peak for layer in result.layers] == [64 * 3 + 64 * 4, 64 * 4, 64 * 4 + 16 * 4]
    assert result.peak == 64 * 7
    assert result.memory() == (4 * result.parameters, 4 * 64 * 7)
    assert result.memory("int8") == (result.parameters, 64 * 7)


def test_tensors_that_are_read_again_stay_in_memory():
    inputs = keras.Input((8, 8, 4))
    x = conv("first")(inputs)
    y = layers.ReLU(name="relu")(x)  # not in place, since `x` is read again
    y = conv("second")(y)
    result = cost(keras.Model(inputs, layers.Add(name="add")([x, y])))
    assert [layer.peak for layer in result.layers] == [512, 512, 768, 768]


@pytest.mark.parametrize("built_for", [None, 32])
def test_a_given_size_replaces_the_models_own(built_for):
    def network(height, width):
        pooled = layers.GlobalAveragePooling2D(name="pooled")
        return chain(
            (height, width, 3), conv("conv"), layers.MaxPooling2D(name="pool"), pooled, layers.Dense(2, name="d")
        )

    assert cost(network(built_for, built_for), input_shape=(96, 65, 3)) == cost(network(96, 65))


def test_the_model_is_left_unchanged():
    inner = keras.Sequential([keras.Input((8, 8, 3)), conv("conv")], name="inner")
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, layers.Flatten(), layers.Dense(2)])
    before = [len(layer._inbound_nodes) for layer in (*model.layers, *inner.layers)]
    weights = model.get_weights()
    cost(model)
    cost(model, input_shape=(8, 8, 3))
    assert [len(layer._inbound_nodes) for layer in (*model.layers, *inner.layers)] == before
    for got, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, expected)


def unknown_sides():
    return chain((None, None, 3), conv("conv"))


def two_inputs():
    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([left, right], layers.Add()([left, right]), name="two")


def flattened():
    return chain((8, 8, 3), layers.Flatten(), layers.Dense(2, name="dense"))


def nothing():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, inputs)


@pytest.mark.parametrize(
    ("model", "shape", "says"),
    [
        (
            unknown_sides,
            None,
            r"`input_shape` must be given as \(height, width, channels\).* Received: input_shape=None",
        ),
        (unknown_sides, (8, 8), r"must be 3 positive integers. Received: input_shape=\(8, 8\)"),
        (unknown_sides, (0, 8, 3), r"must be 3 positive integers. Received: input_shape=\(0, 8, 3\)"),
        (unknown_sides, (8, 8, 1), r"must end in 3 channels. Received: input_shape=\(8, 8, 1\)"),
        (two_inputs, (8, 8, 3), "requires a model with one input: two has 2"),
        (
            flattened,
            (9, 9, 3),
            r"one that dense can work with: it expects 192 inputs, not 243\. Received: input_shape=\(9, 9, 3\)",
        ),
        (lambda: chain((8, 8, 3), layers.Conv2D(4, 5, name="c")), (3, 3, 3), r"one that c can work with.*\(3, 3, 3\)"),
        (lambda: chain((8, 8, 3), layers.MaxPooling2D(2, name="p")), (1, 1, 3), "one that p can work with"),
        (lambda: keras.Sequential([layers.Dense(2)]), None, "`model` must be a functional Keras model"),
        (lambda: "googlenet", None, "`model` must be a functional Keras model. Received: str"),
        (nothing, None, "`model` must have at least one layer"),
    ],
)
def test_unsuitable_models_are_refused(model, shape, says):
    with pytest.raises(ValueError, match=says):
        cost(model(), input_shape=shape)


def test_wrong_arguments(googlenet):
    with pytest.raises(ValueError, match=r"`by` must be one of 'layers', 'modules', 'stages'\. Did you mean modules\?"):
        googlenet.table("module")
    with pytest.raises(ValueError, match="`dtype` must be one of 'float32', 'float16', 'int8'"):
        googlenet.memory("int4")
    for budget in (0, -1.0, math.nan, math.inf, "1.5e9"):
        with pytest.raises(ValueError, match=r"`budget` must be a positive number of multiply-adds. Received"):
            googlenet.within(budget)


def test_a_budget_holds_or_does_not():
    paper, fewer = cost(GoogLeNet()), cost(GoogLeNet(normalization="batch_norm"))
    over, kept = paper.within(1.5e9), fewer.within(1.5e9)
    assert (over.holds, bool(over), kept.holds, bool(kept)) == (False, False, True, True)
    assert str(over) == (
        "Over the budget: 1,582,671,872 of 1,500,000,000 MACs, 105.5% of it\n"
        "by stage: 14×14 34.7%, 28×28 27.3%, 56×56 22.7%, 7×7 7.7%, 112×112 7.5%, head 0.1%"
    )
    assert str(kept).startswith("Within the budget: 1,498,376,192 of 1,500,000,000 MACs, 99.9% of it\n")
    assert sum(share.macs for share in over.stages) == paper.macs
    assert sum(share.share for share in over.stages) == pytest.approx(1)
    assert paper.within(paper.macs).holds
    assert json.loads(json.dumps(over.to_dict()))["stages"][0] == {
        "stage": "14×14", "macs": 549_878_784, "share": pytest.approx(0.3474, abs=1e-4),
    }  # fmt: skip


def test_the_tables(googlenet):
    modules = googlenet.table().splitlines()
    assert modules[0] == "googlenet, input 224×224×3"
    assert modules[1].split() == ["module", "output", "parameters", "MACs", "share", "activations", "peak"]
    (conv1,) = [line for line in modules if line.startswith("conv1 ")]
    assert conv1.split()[:5] == ["conv1", "112×112×64", "9,472", "118,013,952", "7.4%"]
    assert str(googlenet) == googlenet.table("modules")
    assert len({len(line) for line in modules[1:23]}) == 1, "columns are aligned"
    for by in ("layers", "modules", "stages"):
        lines = googlenet.table(by).splitlines()
        (total,) = [line.split() for line in lines if line.startswith("all ")]
        assert total[1:5] == ["1000", "13,378,280", "1,591,044,096", "100.0%"]
        assert len(lines) == len(getattr(googlenet, by)) + 8


def test_everything_as_json(googlenet):
    values = json.loads(json.dumps(googlenet.to_dict()))
    assert values["macs"] == googlenet.macs
    assert values["memory"]["int8"] == {"weights": googlenet.parameters, "activations": googlenet.peak}
    assert [layer["name"] for layer in values["layers"]] == [layer.name for layer in googlenet.layers]
    assert values["modules"][0]["layers"] == ["conv1", "conv1_relu"]


def test_a_cost_is_immutable(googlenet):
    assert isinstance(googlenet, Cost)
    with pytest.raises(AttributeError):
        googlenet.macs = 0


NETWORKS = """
import json, keras
from keras_inception import GoogLeNet
from keras_inception.analysis import cost

made = {name: getattr(keras.applications, name) for name in ("InceptionV3", "MobileNetV2", "ResNet50", "VGG19")}
results = {}
with keras.StatelessScope(initialize_variables=False):  # the shapes alone
    for name, factory in made.items():
        results[name] = cost(factory(weights=None)).to_dict()
    for options in ({}, {"normalization": "batch_norm"}, {"module": "naive"}):
        for auxiliary in (False, True):
            named = {**options, "auxiliary": auxiliary}
            results[str(named)] = cost(GoogLeNet(**named)).to_dict()
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def networks():
    """Return costs of whole networks from another process, since uninitialized variables affect what follows."""
    done = subprocess.run(
        [sys.executable, "-c", NETWORKS], capture_output=True, encoding="utf-8", timeout=300, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("options", "trainable", "macs"),
    [
        ({"auxiliary": False}, 6_998_552, 1_582_671_872),
        ({"auxiliary": True}, 13_378_280, None),
        ({"normalization": "batch_norm", "auxiliary": False}, 6_624_904, 1_498_376_192),
        ({"normalization": "batch_norm", "auxiliary": True}, 13_004_888, None),
        ({"module": "naive", "auxiliary": False}, 97_526_008, 12_568_061_056),
    ],
    ids=str,
)
def test_googlenet_costs_what_is_published(networks, options, trainable, macs):
    result = networks[str(options)]
    assert result["trainable"] == trainable
    assert macs in (result["macs"], None)


@pytest.mark.parametrize(
    ("name", "trainable", "macs", "activations"),
    [
        # Millions of activations: outputs of the convolution and linear layers in timm's networks of these names.
        ("InceptionV3", 23_817_352, 5_713_216_096, 9.0),
        ("VGG19", 143_667_240, 19_632_062_464, 14.9),
        ("MobileNetV2", 3_504_872, 300_774_272, 6.7),
    ],
)
def test_other_networks_cost_what_is_published(networks, name, trainable, macs, activations):
    result = networks[name]
    assert (result["trainable"], result["macs"]) == (trainable, macs)
    assert round(result["activations"] / 1e6, 1) == activations
    assert not result["uncounted"]


def test_modules_of_other_networks(networks):
    modules = {name: [module["name"] for module in result["modules"]] for name, result in networks.items()}
    assert [name for name in modules["InceptionV3"] if name.startswith("mixed")] == [f"mixed{i}" for i in range(11)]
    assert modules["VGG19"] == [*(f"block{i}" for i in range(1, 6)), "flatten", "fc1", "fc2", "predictions"]
    blocks_of = {2: 3, 3: 4, 4: 6, 5: 3}
    expected = [f"conv{stage}_block{i + 1}" for stage, count in blocks_of.items() for i in range(count)]
    assert modules["ResNet50"] == ["conv1", "pool1", *expected, "avg_pool", "predictions"]
    assert [f"block_{i}" for i in range(1, 17)] == modules["MobileNetV2"][2:18]


def test_dense_layers_hold_most_of_vgg_19_and_there_are_three(networks):
    dense = [layer for layer in networks["VGG19"]["layers"] if layer["kind"] == "Dense"]
    assert len(dense) == 3
    share = sum(layer["parameters"] for layer in dense) / networks["VGG19"]["parameters"]
    assert round(100 * share, 1) == 86.1


def test_inception_v2_costs_a_quarter_of_vgg_19(networks):
    # v3 with one 7×7/2 valid convolution of 64 in place of the first three.
    first_three = sum(layer["macs"] for layer in [x for x in networks["InceptionV3"]["layers"] if x["macs"]][:3])
    stem = cost(chain((299, 299, 3), layers.Conv2D(64, 7, strides=2)))
    assert stem.output_shape == (147, 147, 64)
    v2 = networks["InceptionV3"]["macs"] - first_three + stem.macs
    assert v2 == 5_299_886_272
    assert round(v2 / networks["VGG19"]["macs"], 2) == 0.27
