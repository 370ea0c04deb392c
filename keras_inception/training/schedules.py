"""Learning rate schedules, phases, and the number of epochs that a time budget allows."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import keras
import tensorflow as tf

from keras_inception.training.recipe import Recipe

T = TypeVar("T")
Rate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


class Phase(NamedTuple):
    """Epochs `first` to `last` - 1 of a training run, which share an optimizer.

    Attributes:
        first: first epoch, from 0.
        last: epoch at which the phase ends, exclusive.
        learning_rate: the peak learning rate of the phase.
        frozen: whether only the classifier and the auxiliary heads are trained.
    """

    first: int
    last: int
    learning_rate: float
    frozen: bool = False


class Plan:
    """The number of epochs to train, updated after each epoch if the recipe has a time budget.

    Args:
        recipe: provides `epochs` and `minutes`.
        seconds: duration of each finished epoch.

    Attributes:
        epochs: the total number of epochs.
    """

    def __init__(self, recipe: Recipe, seconds: Sequence[float] = ()):
        self.recipe = recipe
        self.seconds = list(seconds)
        self.epochs = recipe.epochs
        self._ends: list[tuple[keras.Variable, Callable[[], float]]] = []
        self._plan()

    def add(self, seconds: float) -> None:
        """Record the duration of an epoch and update the plan."""
        self.seconds.append(seconds)
        self._plan()
        for variable, steps in self._ends:
            variable.assign(steps())

    def steps(self, phase: Phase, each: int, *, after: int = 0) -> float | keras.Variable:
        """Return the number of steps in a phase of `each` steps per epoch, excluding the first `after` steps.

        With a time budget, return a variable that is updated with the plan.
        """

        def steps() -> float:
            return float(max(1, (min(phase.last, self.epochs) - phase.first) * each - after))

        if self.recipe.minutes is None:
            return steps()
        variable = keras.Variable(steps(), trainable=False, dtype="float32", name="steps")
        self._ends.append((variable, steps))
        return variable

    def _plan(self) -> None:
        if self.recipe.minutes is None or not self.seconds:
            return
        left = self.recipe.minutes * 60 - sum(self.seconds)
        # Assume that building the graph took half of the first epoch.
        an_epoch = statistics.mean(self.seconds[1:] or [self.seconds[0] / 2])
        self.epochs = min(self.recipe.epochs, len(self.seconds) + max(0, int(left / an_epoch)))


def phases(recipe: Recipe) -> list[Phase]:
    """Return the phases of a training: one, or two if the recipe freezes the body first.

    Where an extended run went on, another phase begins, with a schedule of its own.
    """
    if not recipe.freeze_epochs:
        planned = [Phase(0, recipe.epochs, recipe.learning_rate)]
    else:
        frozen = Phase(0, recipe.freeze_epochs, recipe.learning_rate, frozen=True)
        thawed = Phase(frozen.last, recipe.epochs, recipe.thaw_learning_rate or recipe.learning_rate / 10)
        planned = [frozen, thawed]
    at = recipe.extended_at
    before = [phase._replace(last=min(phase.last, at)) for phase in planned]
    after = [phase._replace(first=max(phase.first, at)) for phase in planned]
    return [phase for phase in (*before, *after) if phase.first < phase.last]


def once_per_graph(function: Callable[..., T]) -> Callable[..., T]:
    """Wrap a function to add its operations to a TensorFlow graph once and return the same tensors afterwards.

    Optimizers request shared values, such as the learning rate, once per weight.
    """
    last: tuple[Any, Any] = (None, None)

    def once(*args) -> T:
        nonlocal last
        if tf.executing_eagerly():
            return function(*args)
        graph = tf.compat.v1.get_default_graph()
        if last[0] is not graph:
            last = graph, function(*args)
        return last[1]

    return once


class OncePerGraph(keras.optimizers.schedules.LearningRateSchedule):
    """Wrapper of a schedule that adds its operations to each graph only once."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule):
        self._rate = once_per_graph(schedule)

    def __call__(self, step):
        return self._rate(step)


def learning_rate(recipe: Recipe, phase: Phase, plan: Plan, steps: int) -> Rate:
    """Return a phase's learning rate in a form that Keras' optimizers accept: a number or a schedule.

    Args:
        recipe: provides the schedule.
        phase: the phase to train.
        plan: the number of epochs to train.
        steps: batches per epoch, whether or not gradients are accumulated.
    """
    rate = _learning_rate(recipe, phase, plan, steps)
    return rate if isinstance(rate, float) or keras.backend.backend() != "tensorflow" else OncePerGraph(rate)


def _learning_rate(recipe: Recipe, phase: Phase, plan: Plan, steps: int) -> Rate:
    schedules = keras.optimizers.schedules
    highest = float(phase.learning_rate)  # given an integer, Keras would compute in integers
    if recipe.schedule == "cosine":
        began = recipe.extended_at if phase.first >= recipe.extended_at else 0
        warmup = min(recipe.warmup_epochs, (recipe.epochs - began) / 2) + began - phase.first  # epochs
        warmup = int(max(0.0, warmup) * steps)
        end = plan.steps(phase, steps, after=warmup)
        if not warmup:
            return schedules.CosineDecay(highest, end)
        return schedules.CosineDecay(highest / warmup, end, warmup_target=highest, warmup_steps=warmup)
    if recipe.schedule == "exponential":
        return schedules.ExponentialDecay(highest, recipe.decay_epochs * steps, recipe.decay, staircase=True)
    if recipe.schedule == "steps":
        ahead = [milestone for milestone in recipe.milestones if milestone > phase.first]
        passed = len(recipe.milestones) - len(ahead)
        values = [highest * recipe.decay ** (passed + place) for place in range(len(ahead) + 1)]
        boundaries = [round((each - phase.first) * steps) for each in ahead]
        return schedules.PiecewiseConstantDecay(boundaries, values) if ahead else values[0]
    return highest


def plateaus(accuracies: Iterable[tuple[int, float]], patience: float) -> int:
    """Count the plateaus: how often `patience` epochs passed without a better accuracy.

    Args:
        accuracies: (epoch, accuracy) in order.
        patience: epochs without improvement that count as a plateau.
    """
    best, since, count = -1.0, 0, 0
    for epoch, accuracy in accuracies:
        if accuracy > best:
            best, since = accuracy, epoch
        elif epoch - since >= patience:
            count, since = count + 1, epoch
    return count
