"""What the learning rate is at which step, and how long a training goes on."""

import statistics
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar, cast

import keras

from keras_inception.training.recipe import Recipe

T = TypeVar("T")
Rate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


class Span(NamedTuple):
    """Epochs `first` to `last` - 1 of a training, the body frozen or not, and the highest learning rate in them."""

    first: int
    last: int
    frozen: bool
    learning_rate: float


class Plan:
    """How many epochs there will be. With a budget of minutes that is planned anew after each.

    Attributes:
        epochs: in all.
    """

    def __init__(self, recipe: Recipe, seconds: Sequence[float] = ()):
        """`seconds` are those that each epoch so far has taken."""
        self.recipe = recipe
        self.seconds = list(seconds)
        self.epochs = recipe.epochs
        self._ends: list[tuple[keras.Variable, Callable[[], float]]] = []
        self._plan()

    def add(self, seconds: float) -> None:
        """Take note of an epoch's time."""
        self.seconds.append(seconds)
        self._plan()
        for variable, steps in self._ends:
            variable.assign(steps())

    def steps(self, span: Span, each: int, *, after: int = 0) -> float | keras.Variable:
        """The steps of a span, so many an epoch, from one step on to the end; it changes as the plan does."""

        def steps() -> float:
            return float(max(1, (min(span.last, self.epochs) - span.first) * each - after))

        if self.recipe.minutes is None:
            return steps()
        variable = keras.Variable(steps(), trainable=False, dtype="float32", name="steps")
        self._ends.append((variable, steps))
        return variable

    def _plan(self) -> None:
        if self.recipe.minutes is None or not self.seconds:
            return
        left = self.recipe.minutes * 60 - sum(self.seconds)
        an_epoch = statistics.mean(self.seconds[1:] or [self.seconds[0] / 2])  # half of the first built the graph
        self.epochs = min(self.recipe.epochs, len(self.seconds) + max(0, int(left / an_epoch)))


def spans(recipe: Recipe) -> list[Span]:
    """The parts of a training that have an optimizer of their own."""
    whole = Span(0, recipe.epochs, frozen=False, learning_rate=recipe.learning_rate)
    if not recipe.freeze_epochs:
        return [whole]
    thawed = recipe.thaw_learning_rate or recipe.learning_rate / 10
    parts = [
        whole._replace(last=recipe.freeze_epochs, frozen=True),
        whole._replace(first=recipe.freeze_epochs, learning_rate=thawed),
    ]
    return [part for part in parts if part.first < part.last]


def once_per_graph(function: Callable[..., T]) -> Callable[..., T]:
    """Return a function that adds its operations to a TensorFlow graph once, and from then on gives the same tensors.

    Optimizers ask for what all weights share, such as the learning rate, once for each of them.
    """
    last: tuple[Callable[[], object], T | None] = (lambda: None, None)

    def once(*args) -> T:
        import tensorflow as tf

        nonlocal last
        if tf.executing_eagerly():
            return function(*args)
        graph = tf.compat.v1.get_default_graph()
        if last[0]() is not graph:
            last = weakref.ref(graph), function(*args)
        return cast(T, last[1])

    return once


class OncePerGraph(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of which each graph has the operations once."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule):
        self.schedule = schedule
        self._rate = once_per_graph(schedule)

    def __call__(self, step):
        return self._rate(step)

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule)}


def learning_rate(recipe: Recipe, span: Span, plan: Plan, steps: int) -> Rate:
    """The learning rate by the step, so many an epoch, accumulated or not, as Keras' optimizers take it."""
    rate = _learning_rate(recipe, span, plan, steps)
    return rate if isinstance(rate, float) or keras.backend.backend() != "tensorflow" else OncePerGraph(rate)


def _learning_rate(recipe: Recipe, span: Span, plan: Plan, steps: int) -> Rate:
    schedules = keras.optimizers.schedules
    highest = float(span.learning_rate)  # Keras would calculate in whole numbers if it were one
    if recipe.schedule == "cosine":
        warmup = int(max(0.0, min(recipe.warmup_epochs, recipe.epochs / 2) - span.first) * steps)
        end = plan.steps(span, steps, after=warmup)
        if not warmup:
            return schedules.CosineDecay(highest, end)
        return schedules.CosineDecay(highest / warmup, end, warmup_target=highest, warmup_steps=warmup)
    if recipe.schedule == "exponential":
        return schedules.ExponentialDecay(highest, recipe.decay_epochs * steps, recipe.decay, staircase=True)
    if recipe.schedule == "steps":
        ahead = [milestone for milestone in recipe.milestones if milestone > span.first]
        passed = len(recipe.milestones) - len(ahead)
        values = [highest * recipe.decay ** (passed + place) for place in range(len(ahead) + 1)]
        boundaries = [round((each - span.first) * steps) for each in ahead]
        return schedules.PiecewiseConstantDecay(boundaries, values) if ahead else values[0]
    return highest


def plateaus(accuracies: Iterable[tuple[int, float]], patience: float) -> int:
    """How often no better accuracy was seen for so many epochs, given (epoch, accuracy) in order."""
    best, since, count = -1.0, 0, 0
    for epoch, accuracy in accuracies:
        if accuracy > best:
            best, since = accuracy, epoch
        elif epoch - since >= patience:
            count, since = count + 1, epoch
    return count
