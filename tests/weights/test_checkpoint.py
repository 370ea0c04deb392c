import json
import logging

import keras
import numpy as np
import pytest
from keras import layers
from networks import in_full_but
from safetensors.numpy import save_file

from keras_inception import GoogLeNet
from keras_inception.weights import read_weights


def small_model(head=False, classes=5):
    """A convolution and a classifier on its flattened map, with names that Caffe's GoogLeNet also has."""
    inputs = keras.Input((4, 6, 3))
    x = layers.Flatten()(layers.Conv2D(2, 3, padding="same", name="conv1")(inputs))
    outputs = [layers.Dense(classes, name="predictions")(x)]
    if head:
        outputs.append(layers.Dense(classes, name="aux_4a")(x))
    return keras.Model(inputs, outputs)


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    shapes = {
        "conv1/7x7_s2/0": (2, 3, 3, 3),
        "conv1/7x7_s2/1": (2,),
        "loss3/classifier/0": (5, 2 * 4 * 6),
        "loss3/classifier/1": (5,),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def checkpoint(tmp_path):
    def write(tensors):
        save_file(tensors, tmp_path / "weights.safetensors")
        return read_weights(tmp_path / "weights.safetensors", "googlenet")

    return write


def refused(checkpoint, model, tensors, match):
    """Check that loading raises an error and does not change the model."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=match):
        checkpoint(tensors).load_into(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_kernels_are_transposed_and_a_flattened_map_is_reordered(checkpoint, tensors):
    model = small_model()
    checkpoint(tensors).load_into(model)
    kernel, bias, dense, dense_bias = tensors.values()
    x = np.random.default_rng(1).normal(size=(1, 4, 6, 3)).astype(np.float32)
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))  # y, x, in, row, column
    feature_map = np.einsum("yxirc,oirc->oyx", windows, kernel) + bias[:, None, None]
    np.testing.assert_allclose(model(x)[0], dense @ feature_map.ravel() + dense_bias, rtol=1e-4, atol=1e-5)


def test_blobs_of_four_axes_load_as_those_of_two(checkpoint, tensors):
    plain, old = small_model(), small_model()
    checkpoint(tensors).load_into(plain)
    checkpoint({k: v.reshape((1,) * (4 - v.ndim) + v.shape) for k, v in tensors.items()}).load_into(old)
    for one, other in zip(plain.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_head_that_is_not_asked_for_is_skipped_and_logged(checkpoint, tensors, caplog):
    tensors["loss1/classifier/0"] = np.ones((5, 48), np.float32)
    with caplog.at_level(logging.INFO, logger="keras_inception"):
        checkpoint(tensors).load_into(small_model())
    assert "loss1/classifier/0" in caplog.text


def test_a_head_that_is_asked_for_must_be_there(checkpoint, tensors):
    refused(checkpoint, small_model(head=True), tensors, r"missing: aux_4a/kernel, aux_4a/bias$")


def test_a_missing_tensor_is_named(checkpoint, tensors):
    del tensors["conv1/7x7_s2/1"]
    refused(checkpoint, small_model(), tensors, r"weights\.safetensors does not fit.* missing: conv1/bias$")


def test_tensors_left_over_are_named_and_counted(checkpoint, tensors):
    tensors |= {f"inception_3{key}/1x1/0": np.ones(1, np.float32) for key in "abcdefg"}
    refused(checkpoint, small_model(), tensors, r"left over: (inception_3./1x1/0, ){5}… \(7 in all\)")


def test_a_tensor_that_no_publisher_has_is_left_over(checkpoint, tensors):
    refused(checkpoint, small_model(), {**tensors, "iteration": np.ones(1, np.float32)}, "left over: iteration$")


def test_another_number_of_classes_shows_both_shapes(checkpoint, tensors):
    match = (
        r"of another shape: loss3/classifier/0 \(5, 48\) for predictions/kernel \(48, 7\), loss3/classifier/1 \(5,\)"
    )
    refused(checkpoint, small_model(classes=7), tensors, match)


@pytest.mark.parametrize("shape", [(2, 3, 3, 5), (2, 3, 9), (1, 2, 3, 3, 3, 1), (0, 3, 3, 3), ()])
def test_a_kernel_of_another_shape_is_refused(checkpoint, tensors, shape):
    tensors["conv1/7x7_s2/0"] = np.ones(shape, np.float32)
    refused(checkpoint, small_model(), tensors, r"of another shape: conv1/7x7_s2/0")


def test_a_dense_kernel_without_outputs_is_refused(checkpoint, tensors):
    tensors["loss3/classifier/0"] = np.ones((0, 48), np.float32)
    refused(checkpoint, small_model(), tensors, r"of another shape: loss3/classifier/0 \(0, 48\) for predictions")


def test_two_tensors_for_one_variable_are_refused(checkpoint):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 1, use_bias=False, name="conv1")(inputs))
    kernel = np.ones((2, 3, 1, 1), np.float32)
    refused(checkpoint, model, {"conv1.conv.weight": kernel, "conv1.weight": kernel}, "left over: conv1")


def test_unknown_names_are_shown_with_the_known_publishers(checkpoint):
    match = r"from one of torchvision, caffe, tf_slim, keras_inception\. Received: blocks\.0\.attn, fc\.bias$"
    with pytest.raises(ValueError, match=match):
        checkpoint({"blocks.0.attn": np.ones(3, np.float32), "fc.bias": np.ones(3, np.float32)})


def test_a_file_without_tensors_is_refused(checkpoint):
    with pytest.raises(ValueError, match="Received: none"):
        checkpoint({})


def test_skip_mismatch_sets_what_fits_and_logs_the_rest(checkpoint, tensors, caplog):
    """With another number of classes, the convolution is set and the classifier does not change."""
    model, whole = small_model(classes=7), small_model()
    before = model.get_layer("predictions").get_weights()
    checkpoint(tensors).load_into(whole)
    with caplog.at_level(logging.WARNING, logger="keras_inception"):
        checkpoint(tensors).load_into(model, skip_mismatch=True)
    for got, want in zip(model.get_layer("conv1").get_weights(), whole.get_layer("conv1").get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)
    for got, want in zip(model.get_layer("predictions").get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, want)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "weights.safetensors does not fully fit the network and was loaded in part" in record.message
    assert "loss3/classifier/0 (5, 48) for predictions/kernel (48, 7)" in record.message
    assert "missing" not in record.message


def test_skip_mismatch_accepts_missing_and_left_over_tensors(checkpoint, tensors, caplog):
    del tensors["conv1/7x7_s2/1"]
    tensors["inception_3a/1x1/0"] = np.ones((1, 1, 1, 1), np.float32)
    model = small_model()
    bias = np.array([3.0, 4.0], np.float32)
    model.get_layer("conv1").bias.assign(bias)
    checkpoint(tensors).load_into(model, skip_mismatch=True)
    kernel, got = model.get_layer("conv1").get_weights()
    np.testing.assert_array_equal(kernel, tensors["conv1/7x7_s2/0"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(got, bias)
    assert "missing: conv1/bias; left over: inception_3a/1x1/0" in caplog.text


def test_skip_mismatch_logs_nothing_if_all_fits(checkpoint, tensors, caplog):
    model, plain = small_model(), small_model()
    checkpoint(tensors).load_into(model, skip_mismatch=True)
    checkpoint(tensors).load_into(plain)
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not caplog.records


@pytest.mark.parametrize("name", in_full_but({"caffe_googlenet"}, ["tv_googlenet", "caffe_googlenet"]))
def test_every_tensor_is_used_once_and_every_variable_set(name, golden, weight_file):
    model = GoogLeNet(weights=weight_file(name), auxiliary=True)
    for variable in model.weights:
        variable.assign(np.full(variable.shape, np.nan))
    read_weights(weight_file(name), "googlenet").load_into(model)
    # The same numbers, sorted: nothing twice, nothing left out.
    got = np.sort(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    want = np.sort(np.concatenate([tensor.ravel() for tensor in golden(name).weights.values()]))
    assert len(want) == golden(name).count["all"]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("name", "contradiction", "needed"),
    [
        ("tv_googlenet", {"normalization": "lrn"}, "'batch_norm'"),
        ("tv_googlenet", {"five_kernel": 5}, "3"),
        ("tv_googlenet", {"module": "naive"}, "'reduced'"),
        ("caffe_googlenet", {"normalization": "batch_norm"}, "'lrn'"),
        ("caffe_googlenet", {"five_kernel": 3}, "5"),
    ],
)
def test_an_option_that_contradicts_the_weights_is_refused(name, contradiction, needed, weight_file):
    [(argument, value)] = contradiction.items()
    with pytest.raises(ValueError, match=rf"`{argument}` must be {needed} with .* Received: {argument}={value!r}"):
        GoogLeNet(weights=weight_file(name), **contradiction)


def test_options_that_agree_with_the_weights_are_accepted(weight_file, caplog):
    with caplog.at_level(logging.INFO, logger="keras_inception"):
        model = GoogLeNet(False, weight_file("caffe_googlenet"), normalization="lrn", five_kernel=5, module="reduced")
    assert model.count_params() == 6_998_552 - 1_025_000
    assert "(14 in all)" in caplog.text


def test_another_number_of_classes_is_refused_by_the_network(weight_file):
    with pytest.raises(ValueError, match=r"fc\.weight \(1000, 1024\) for predictions/kernel \(1024, 19\)"):
        GoogLeNet(weights=weight_file("tv_googlenet"), classes=19)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        GoogLeNet(weights=tmp_path / "nowhere.safetensors")


def test_the_format_of_a_file_is_recognized_by_its_content(tmp_path, tensors):
    save_file(tensors, tmp_path / "weights.pth")
    assert read_weights(tmp_path / "weights.pth", "googlenet").publisher == "caffe"
    (tmp_path / "text.safetensors").write_text(json.dumps({"not": "weights"}))
    with pytest.raises(ValueError, match=r"text\.safetensors is not a supported weights file"):
        read_weights(tmp_path / "text.safetensors", "googlenet")
