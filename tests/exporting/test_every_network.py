"""Export of every network: rewritten, as float32, as int8, and trained for int8."""

import keras
import numpy as np
import pytest
import tf_keras
from networks import with_drawn_weights

from keras_inception import registry
from keras_inception.compression import quantization
from keras_inception.compression import tf_keras_bridge as bridge
from keras_inception.exporting.convert import convert
from keras_inception.exporting.rewrites import rewrite
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.variants import VARIANTS
from keras_inception.models.inference import inference_model
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.delegate import delegation, outside_delegate

pytestmark = [pytest.mark.slow, pytest.mark.versions]
CLASSES = 4
# Small, except where TILE would repeat smaller maps to make them large enough for a dense layer.
SIDES = {name: 75 if registry.NETWORKS[name].size == 299 else 64 for name in registry.NETWORKS}
SIDES |= dict.fromkeys(("alexnet", "vgg16", "vgg19"), 224)
INT8 = ["QUANTIZE", "SOFTMAX", "QUANTIZE"]


@pytest.fixture(params=[*registry.NETWORKS, "googlenet with batch norm"])
def network(request) -> keras.Model:
    name, _, normalized = request.param.partition(" ")
    options = {"normalization": "batch_norm"} if normalized else {}
    if registry.NETWORKS[name].heads:
        options["auxiliary"] = True
    side = SIDES[name]
    return with_drawn_weights(registry.create(name, classes=CLASSES, input_shape=(side, side, 3), **options))


def tflite(model: keras.Model, folder, variant: str, images: np.ndarray | None):
    """Convert a network as an export does, and return the path of the file."""
    preprocessing = DEFAULT.replace(size=model.input_shape[1:3])
    path, calibration = folder / f"{variant}.tflite", None
    save(deployed(model, preprocessing, preprocessing), folder / f"model_{variant}")
    if images is not None:
        calibration = folder / "images.npy"
        np.save(calibration, images)
    convert(folder / f"model_{variant}", VARIANTS[variant], path, calibration, preprocessing)
    return path


def test_a_converted_network_stays_in_the_delegate(network, tmp_path):
    model = inference_model(network)
    images = np.random.default_rng(0).integers(0, 256, (8, *model.input_shape[1:]), np.uint8)
    expected = model.predict(images / 127.5 - 1, verbose=0)
    for variant, outside, difference in (("float32", [], 1e-4), ("int8", INT8, 0.2)):
        path = tflite(rewrite(model), tmp_path, variant, images)
        assert outside_delegate(path) == outside
        assert len(delegation(path).partitions) == 1
        np.testing.assert_allclose(TFLiteClassifier(path).predict(images), expected, atol=difference)


def test_a_network_can_be_quantized_trained_converted_and_run(network, tmp_path):
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (16, *network.input_shape[1:]), np.uint8)
    x, y = (images / 127.5 - 1).astype(np.float32), np.eye(CLASSES)[chance.integers(0, CLASSES, 16)]
    model = quantization.quantize_aware(bridge.to_tf_keras(rewrite(network)), [x])
    kept = inference_model(quantization.quantized(model, (-1, 1)))
    expected = inference_model(network).predict(x, verbose=0)
    np.testing.assert_allclose(kept.predict(x, verbose=0), expected, atol=0.2)
    heads = list(model.output) if isinstance(model.output, dict) else []
    loss = "categorical_crossentropy"
    model.compile(tf_keras.optimizers.SGD(1e-5), {head: loss for head in heads} if heads else loss)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.fit(x, {head: y for head in heads} if heads else y, batch_size=8, verbose=0)
    assert any((weight.numpy() != first).any() for weight, first in zip(model.trainable_weights, before, strict=True))
    kept = inference_model(quantization.quantized(model, (-1, 1)))
    path = tflite(kept, tmp_path, "int8", None)
    assert outside_delegate(path) == INT8
    assert len(delegation(path).partitions) == 1
    np.testing.assert_allclose(TFLiteClassifier(path).predict(images), kept.predict(x, verbose=0), atol=0.1)
