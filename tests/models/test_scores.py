"""What the output of a classifier means: found by its last layer and its values."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_inception
from keras_inception.layers import FakeQuantization
from keras_inception.models.scores import ending

X = np.random.default_rng(0).normal(size=(4, 4, 4, 3)).astype(np.float32)


def model_of(*after, units=3, activation=None):
    """Return a dense layer called "last", and the layers after it."""
    x = image = keras.Input((4, 4, 3))
    for layer in (layers.Flatten(), layers.Dense(units, activation=activation, name="last"), *after):
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (model_of(activation="softmax"), "probabilities"),
        (model_of(layers.Softmax()), "probabilities"),
        (model_of(layers.Activation("softmax"), layers.Reshape((3,))), "probabilities"),
        (model_of(), "logits"),
        (model_of(layers.Activation("linear"), layers.Dropout(0.2)), "logits"),
        (model_of(layers.Reshape((1, 1, 3))), "logits"),
        (model_of(activation="sigmoid", units=1), "binary"),
        (model_of(layers.Activation("sigmoid"), layers.Reshape((1,)), units=1), "binary"),
        (model_of(activation="sigmoid"), "independent"),
        (model_of(layers.Activation("sigmoid"), layers.Reshape((3,))), "independent"),
        (model_of(layers.Lambda(keras.ops.sigmoid)), "independent"),
        (model_of(layers.Lambda(keras.ops.softmax)), "probabilities"),
        (model_of(layers.Lambda(lambda x: x)), "logits"),
        (model_of(layers.Lambda(keras.ops.sigmoid), layers.Reshape((1, 1, 1)), units=1), "binary"),
        (model_of(layers.Lambda(keras.ops.hard_sigmoid)), "independent"),
        (model_of(lambda x: x / 2), "logits"),
        (model_of(layers.Reshape((1, 1, 3)), layers.GlobalAveragePooling2D()), "logits"),
    ],
)
def test_scores_follow_from_the_last_layer(model, kind):
    found = ending(model, X)
    assert found.kind == kind
    outputs = np.asarray(model(X)).reshape(4, -1)
    expected = {
        "probabilities": lambda: outputs,
        "logits": lambda: np.asarray(keras.ops.softmax(outputs)),
        "binary": lambda: np.hstack([1 - outputs, outputs]),
        "independent": lambda: outputs,
    }[kind]()
    np.testing.assert_allclose(found.scores(outputs), expected, atol=1e-6)
    np.testing.assert_allclose(found.scoring(model)(X), expected, atol=1e-6)


def test_operations_count_like_layers():
    image = keras.Input((4, 4, 3))
    x = layers.Dense(3)(layers.Flatten()(image))
    assert ending(keras.Model(image, keras.ops.sigmoid(x)), X).kind == "independent"
    assert ending(keras.Model(image, keras.ops.softmax(x)), X).kind == "probabilities"


def test_a_mean_of_two_softmaxes_counts_as_probabilities():
    image = keras.Input((4, 4, 3))
    heads = [layers.Dense(3, activation="softmax")(layers.Flatten()(image)) for _ in range(2)]
    assert ending(keras.Model(image, layers.Average()(heads)), X).kind == "probabilities"


@pytest.mark.parametrize("join", [layers.Average(), layers.Maximum(), layers.Concatenate()])
def test_sigmoids_that_are_joined_stay_independent(join):
    image = keras.Input((4, 4, 3))
    heads = [layers.Dense(3, activation="sigmoid")(layers.Flatten()(image)) for _ in range(2)]
    assert ending(keras.Model(image, join(heads)), X).kind == "independent"


def test_small_logits_of_a_dense_layer_are_no_probabilities():
    model = model_of(layers.Reshape((3,)))
    model.get_layer("last").set_weights([np.zeros((48, 3)), np.array([0.1, 0.2, 0.3])])
    assert ending(model, X).kind == "logits"


def test_a_softmax_in_bfloat16_gets_no_other_softmax(mixed_bfloat16):
    model = model_of(layers.Activation("linear", dtype="float32"), units=10, activation="softmax")
    x = np.random.default_rng(0).normal(size=(50, 4, 4, 3)).astype(np.float32)
    assert np.abs(np.asarray(model(x)).sum(axis=1) - 1).max() > 1e-3
    assert ending(model, x).kind == "probabilities"


def test_a_fixed_batch_is_kept():
    image = keras.Input(batch_shape=(1, 4, 4, 3))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(keras.ops.reshape(image, (1, 48))))
    assert ending(model, X).kind == "probabilities"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (model_of(units=1), "must end in a sigmoid if it has one output: a single value of last"),
        (model_of(activation="softmax", units=1), "a single value of last"),
        (model_of(layers.Lambda(keras.ops.hard_sigmoid, name="end"), units=1), "a single value of end"),
        (model_of(activation=layers.LeakyReLU()), "Received: last, which ends in LeakyReLU"),
        (model_of(activation="relu"), r"must end in softmax, sigmoid or logits\. Received: last, which ends in relu"),
        (model_of(layers.ReLU(name="end")), "Received: end, which ends in ReLU"),
        (
            model_of(layers.Reshape((3, 1))),
            r"must give \(batch, classes\)\. Received: \(None, 3, 1\), of its layer last",
        ),
    ],
)
def test_other_outputs_are_refused_by_the_name_of_the_layer(model, says):
    with pytest.raises(ValueError, match=says):
        ending(model, X)


def test_broken_weights_are_refused():
    model = model_of(activation="softmax")
    model.get_layer("last").bias.assign([np.nan, 0, 0])
    with pytest.raises(ValueError, match="NaN or infinity"):
        ending(model, X)


@pytest.mark.parametrize(("units", "kind"), [(1, "binary"), (3, "independent")])
def test_the_last_operation_of_a_saved_model_tells(units, kind, tmp_path):
    model_of(layers.Reshape((units,)), units=units, activation="sigmoid").export(tmp_path / "saved", verbose=False)
    assert ending(keras_inception.load(tmp_path / "saved"), X).kind == kind


def test_scores_in_8_bits_are_probabilities_and_names_are_not_taken_twice():
    image = keras.Input((4, 4, 3))
    p = layers.Dense(1, activation="sigmoid", name="scores")(layers.Flatten()(image))
    binary = ending(keras.Model(image, p), X).scoring(keras.Model(image, p))
    assert binary.layers[-1].name == "scores_1"
    rounded = FakeQuantization(0.0, 0.995)(binary.output)  # as after training for int8
    assert not np.allclose(keras.ops.sum(keras.Model(image, rounded)(X), axis=1), 1, atol=1e-3)
    assert ending(keras.Model(image, rounded), X).kind == "probabilities"
