"""How the network that a run keeps is trained: as it is, or as something that is made of it."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_inception.preprocessing import Preprocessing
from keras_inception.training import building
from keras_inception.training.callbacks import averaged_weights
from keras_inception.training.distribution import Distribution
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Plan, Span


class Method:
    """The recipe's network, trained as it is by the fastest kernels; what is kept are its averaged weights.

    Attributes:
        command: of the command line, by which a run of this method is begun and resumed.
    """

    command = "train"

    def network(self, recipe: Recipe, classes: int) -> keras.Model:
        """What is kept, in float32, with its first weights."""
        return building.build(recipe, classes, recipe.size, "float32")

    def preprocessing(self, recipe: Recipe, network: keras.Model) -> Preprocessing:
        """What the network is fed with."""
        return building.preprocessing(recipe, network)

    def trainee(self, network: keras.Model, recipe: Recipe, classes: int, distribution: Distribution) -> Any:
        """What is trained, with the weights of `network`."""
        trainee = building.trainee(recipe, classes, distribution)
        building.copy_weights(network, trainee)
        return trainee

    def begin_again(self, trainee, network: keras.Model) -> None:
        """Give the trainee the weights of `network` once more."""
        building.copy_weights(network, trainee)

    def compile(self, trainee, recipe: Recipe, span: Span, plan: Plan, steps: int, distribution: Distribution) -> None:
        """Make it ready for a span of epochs of so many steps."""
        building.compile_for(trainee, recipe, span, plan, steps, distribution)

    def callbacks(self, callbacks: Sequence[keras.callbacks.Callback]) -> Sequence:
        """Those of the training, and the method's own, as the trainee's `fit` takes them."""
        return callbacks

    def kept(self, trainee, network: keras.Model) -> keras.Model:
        """What is evaluated and saved of the trainee as it is now: `network`, or another one made of it."""
        network.set_weights(averaged_weights(trainee))
        return network

    def targets(self, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """What the network is to say of a batch of inputs, given the labels, one-hot or mixed."""
        return labels


class Continued(Method):
    """A network goes on learning, from its labels and from a teacher.

    Args:
        network: what to go on with.
        preprocessing: what it is fed with.
        teacher: a network that gives probabilities of the same inputs, or None.
        distillation: share of what the teacher says in what the network is to say, in [0, 1] (1503.02531).
    """

    command = "compress"

    def __init__(
        self,
        network: keras.Model,
        preprocessing: Preprocessing,
        teacher: keras.Model | None = None,
        distillation: float = 0.5,
    ):
        self._network = network
        self._preprocessing = preprocessing
        self._teacher = teacher
        self._distillation = distillation

    def network(self, recipe: Recipe, classes: int) -> keras.Model:
        return self._network

    def preprocessing(self, recipe: Recipe, network: keras.Model) -> Preprocessing:
        return self._preprocessing

    def trainee(self, network: keras.Model, recipe: Recipe, classes: int, distribution: Distribution) -> Any:
        return building.trainee_of(network, recipe, distribution)

    def targets(self, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        if self._teacher is None:
            return labels
        return (1 - self._distillation) * labels + self._distillation * self._teacher(x, training=False)


AS_IT_IS = Method()
