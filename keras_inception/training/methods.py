"""Training methods: train a run's network directly, or through a wrapped copy (pruning, clustering, QAT)."""

from collections.abc import Collection, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_inception.preprocessing import Preprocessing
from keras_inception.training import batch_norm, building
from keras_inception.training.callbacks import averaged_weights
from keras_inception.training.distribution import Distribution
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Phase, Plan


class Method:
    """Train the recipe's network directly, with the fastest kernels, and keep its averaged weights.

    Args:
        weights: the initial weights. None: those that the recipe names, if any.

    Attributes:
        command: the CLI command that starts and resumes runs of this method.
    """

    command = "train"

    def __init__(self, weights: building.Weights = None):
        self.weights = weights

    def network(self, recipe: Recipe, classes: int) -> keras.Model:
        """Return the float32 network that the run saves, with its initial weights."""
        return building.build(recipe, classes, recipe.size, "float32", self.weights)

    def preprocessing(self, recipe: Recipe, network: keras.Model) -> Preprocessing:
        """Return the preprocessing of the network's input."""
        return building.preprocessing(recipe, network)

    def trainee(self, network: keras.Model, recipe: Recipe, classes: int, distribution: Distribution) -> Any:
        """Return the model to train, with the weights of `network`."""
        trainee = building.trainee(recipe, classes, distribution, self.weights)
        building.copy_weights(network, trainee)
        return trainee

    def begin_again(self, trainee, network: keras.Model) -> None:
        """Reset the trainee to the weights of `network`."""
        building.copy_weights(network, trainee)

    def compile(
        self, trainee, recipe: Recipe, phase: Phase, plan: Plan, steps: int, distribution: Distribution
    ) -> None:
        """Compile the trainee for a phase with `steps` steps per epoch."""
        building.compile_for(trainee, recipe, phase, plan, steps, distribution)

    def callbacks(self, callbacks: Sequence[keras.callbacks.Callback]) -> Sequence:
        """Return the given callbacks and the method's own, in the form that the trainee's `fit` accepts."""
        return callbacks

    def kept(self, trainee, network: keras.Model) -> keras.Model:
        """Return the network to evaluate and save for the trainee's current state: `network` or a new one."""
        network.set_weights(averaged_weights(trainee))
        return network

    def recalibrated(self, trainee, network: keras.Model) -> Collection[str]:
        """Return the names of the batch norms of the network to save whose statistics are recomputed."""
        return batch_norm.trained_norms(trainee, network)

    def targets(self, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return the targets of a batch, (batch, classes), from its inputs and its one-hot or mixed labels."""
        return labels


class Continued(Method):
    """Continue training an existing network on the labels, optionally with distillation from a teacher.

    Args:
        network: the network to train further.
        preprocessing: the preprocessing of its input.
        teacher: a network that outputs probabilities for the same inputs, or None.
        distillation: weight of the teacher's predictions in the targets, in [0, 1] (1503.02531).
    """

    command = "compress"

    def __init__(
        self,
        network: keras.Model,
        preprocessing: Preprocessing,
        teacher: keras.Model | None = None,
        distillation: float = 0.5,
    ):
        super().__init__()
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


DIRECT = Method()
