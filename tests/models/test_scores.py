"""What the output of a classifier means: found by its last layer and its values."""

import keras
import numpy as np
import pytest
from keras import layers

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


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (model_of(units=1), "must end in a sigmoid if it has one output: a single value of last"),
        (model_of(activation="softmax", units=1), "a single value of last"),
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


def test_scores_in_8_bits_are_probabilities_and_names_are_not_taken_twice():
    image = keras.Input((4, 4, 3))
    p = layers.Dense(1, activation="sigmoid", name="scores")(layers.Flatten()(image))
    binary = ending(keras.Model(image, p), X).scoring(keras.Model(image, p))
    assert binary.layers[-1].name == "scores_1"
    rounded = FakeQuantization(0.0, 0.995)(binary.output)  # as after training for int8
    assert not np.allclose(keras.ops.sum(keras.Model(image, rounded)(X), axis=1), 1, atol=1e-3)
    assert ending(keras.Model(image, rounded), X).kind == "probabilities"
