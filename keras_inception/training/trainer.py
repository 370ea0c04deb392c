"""`train`: from labelled pictures to a run directory, by `model.fit`."""

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import config

from keras_inception import datasets
from keras_inception.datasets.augmentation import apply_to_batch
from keras_inception.datasets.splits import left_out
from keras_inception.evaluation import metrics as evaluation
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import CHECKPOINTS, DATA, LABELS, LEFT_OUT, LOGS, METRICS, PREPROCESSING, RECIPE, Run, locked
from keras_inception.training import building, checkpoints
from keras_inception.training.callbacks import Divergence, DropoutSeeds, Keeper, Plateau, kept_so_far, read_rows
from keras_inception.training.distribution import ALONE, Distribution
from keras_inception.training.method import AS_IT_IS, Method
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Plan, Span, spans
from keras_inception.utils import files

log = logging.getLogger(__name__)

BATCHES = 2**62  # minus the run's seed: of what is done to whole batches, apart from what is done to pictures


@contextmanager
def _deterministic() -> Iterator[None]:
    """In which sums do not depend on which thread is done first; after it they may again, for others' sake."""
    before = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()  # TensorFlow has no public name for it


@_deterministic()
@tf.autograph.experimental.do_not_convert  # which takes seconds, for control flow that is not there
def train(
    pictures: str | os.PathLike | None,
    output: str | os.PathLike,
    *,
    recipe: Recipe | None = None,
    resume: bool = False,
    validation: float = 0.15,
    split_seed: int | None = None,
    strict: bool = False,
    distribution: Distribution = ALONE,
    method: Method = AS_IT_IS,
    verbose: int | str = "auto",
    on_scan: Callable[[int, int], None] | None = None,
) -> Run:
    """Train a network on labelled pictures and keep everything in a run directory.

    Killed at any moment, ``resume=True`` goes on from the last finished epoch and ends where the uninterrupted run
    would have: order, augmentation and dropout follow from the seed, the epoch and the picture. Only a recipe of
    `minutes` ends after as many epochs as the clock allows.

    Args:
        pictures: a folder of class folders, or another source of `keras_inception.datasets.open_data`. On resuming
            None, since the run knows.
        output: the run directory: a new one, or with ``resume=True`` the one to go on with.
        recipe: how to train; None is ``Recipe()``. On resuming None, since the run knows.
        resume: go on with a run that was interrupted. A complete one is left as it is.
        validation: share of the training pictures that is cut out if there is no validation split.
        split_seed: by which it is cut out; None is the recipe's seed.
        strict: a picture that cannot be read is an error; else it is logged and left out.
        distribution: the devices or machines to spread each step over.
        method: of training; on resuming the same as at the beginning.
        verbose: as in `model.fit`; "auto" is a progress bar on a terminal and a line an epoch elsewhere.
        on_scan: called with the numbers of pictures looked at so far and in all, for a progress bar.

    Returns:
        The `keras_inception.runs.Run`, whose ``model()`` is the network with the best averaged weights.

    Raises:
        FileExistsError: `output` exists and is not to be resumed.
        BlockingIOError: another process is training this run.
        ValueError: the pictures, the recipe or the run directory are not what they should be, or have changed since
            the run began; or TensorFlow cannot go on, with a picture that has gone bad, say.
        FloatingPointError: the loss is not a number any more.
    """
    if resume:
        run = Run(Path(output))
        if pictures is not None or recipe is not None:
            raise ValueError(f"{output} knows its pictures and its recipe: on resuming, give neither")
        if run.command != method.command:
            raise ValueError(f"{output} was made by `{run.command}`: go on with it by `{run.command} --resume`")
        recipe = Recipe.load(run.path / RECIPE)
        recipe.check_installed()
        distribution.check(recipe)
        splits = datasets.open_data(**run.data, strict=strict, progress=on_scan)
        _check_unchanged(run, splits)
        networks = _networks(method, recipe, splits, distribution)
    else:
        if distribution.is_chief and os.path.lexists(output):
            raise FileExistsError(f"{output} exists. Go on with it by resuming, or name another folder")
        if pictures is None:
            raise ValueError("`pictures` must be a folder, but on resuming. Received: None")
        recipe = recipe or Recipe()
        recipe.check_installed()
        recipe = Recipe.from_dict(distribution.agree(building.resolved(recipe).to_dict()))
        distribution.check(recipe)
        data: dict[str, Any] = {
            "source": datasets.located(pictures),
            "validation": validation,
            "seed": recipe.seed if split_seed is None else split_seed,
        }
        splits = datasets.open_data(**data, strict=strict, progress=on_scan)
        if not len(splits.validation):
            raise ValueError(f"{pictures} leaves no pictures to validate with. Received: validation={validation}")
        networks = _networks(method, recipe, splits, distribution)
        preprocessing = method.preprocessing(recipe, networks.kept)
        begun = distribution.once(lambda: _begin(Path(output), recipe, data, splits, preprocessing, method))
        run = begun or _seen(Path(output), splits)
    if method is AS_IT_IS:  # a compression's steps have the pictures of the run, which has told of them
        for line in left_out(splits.skipped, run.path / LEFT_OUT):
            log.warning("%s", line)
    with distribution.once(lambda: locked(run.path)) or nullcontext():
        _fit(run, recipe, splits, networks, method, distribution, verbose)
    return run


def _begin(
    path: Path,
    recipe: Recipe,
    data: dict[str, Any],
    splits: datasets.Splits,
    preprocessing: Preprocessing,
    method: Method,
) -> Run:
    """A new run directory, there as a whole or not at all."""
    known = {**data, "fingerprint": _fingerprint(splits), "command": method.command}  # which may take a while
    with files.new_folder(path) as new:
        (new / CHECKPOINTS).mkdir()
        files.write_labels(new / LABELS, splits.labels)
        preprocessing.save(new / PREPROCESSING)
        recipe.save(new / RECIPE)
        files.write_json(new / DATA, known)
        if splits.skipped:
            files.write_csv(new / LEFT_OUT, [skipped._asdict() for skipped in splits.skipped])
    return Run(path)


def _seen(path: Path, splits: datasets.Splits) -> Run:
    """The run directory that the chief has begun, as another worker sees it."""
    if not path.is_dir():
        raise ValueError(f"{path} has been begun by worker 0 and is not here: it must lie where all workers see it")
    run = Run(path)
    _check_unchanged(run, splits)
    return run


def _fingerprint(splits: datasets.Splits) -> dict[str, str]:
    return {name: getattr(splits, name).fingerprint() for name in ("train", "validation")}


def _check_unchanged(run: Run, splits: datasets.Splits) -> None:
    """ValueError if the pictures are not those that the run began with."""
    source = run.data["source"]
    if splits.labels != run.labels:
        raise ValueError(f"{source} has changed since: its classes are not those of {run.path / LABELS}")
    for name, fingerprint in _fingerprint(splits).items():
        if fingerprint != run.fingerprint.get(name, fingerprint):
            raise ValueError(
                f"{source} has changed since {run.path} began: its {name} pictures are others, of which there are now "
                f"{len(getattr(splits, name))}. Put back what was there, or begin another run"
            )


class Networks(NamedTuple):
    """The network that is kept, for pictures of the recipe's `size`, and its copy that is trained."""

    kept: keras.Model
    trainee: Any


def _networks(method: Method, recipe: Recipe, splits: datasets.Splits, distribution: Distribution) -> Networks:
    """Both, with the same first weights; ValueError if the recipe does not give such networks."""
    keras.utils.set_random_seed(recipe.seed)
    classes = len(splits.labels)
    kept = method.network(recipe, classes)
    with distribution.scope():
        trainee = method.trainee(kept, recipe, classes, distribution)
    return Networks(kept, trainee)


def _fit(
    run: Run,
    recipe: Recipe,
    splits: datasets.Splits,
    networks: Networks,
    method: Method,
    distribution: Distribution,
    verbose: int | str,
) -> None:
    network, trainee = networks
    steps = datasets.steps_per_epoch(splits.train, recipe.batch_size)
    with distribution.scope():
        rows, plan, compiled = _restored(networks, run, recipe, steps, method, distribution)

    held_out = datasets.evaluation_batches(splits.validation, run.preprocessing, recipe.batch_size)

    @functools.lru_cache(1)  # of one network the graph is built once
    def predictor(model: keras.Model) -> Callable[..., np.ndarray]:
        return _numbers(evaluation.keras_predictor(model))

    def validate(model: keras.Model) -> dict[str, float]:
        result = evaluation.evaluate_batches(predictor(model), held_out, splits.labels)
        return distribution.agree({"top1": result.top1, "top5": result.top5, "loss": result.loss})

    keeper = Keeper(
        run.path, lambda model: method.kept(model, network), validate, plan, rows, writes=distribution.is_chief
    )
    if keeper.is_complete:
        log.info("%s is complete: %d epochs", run.path, len(rows))
    for span in spans(recipe):
        if keeper.is_complete or len(rows) >= span.last:
            continue
        if span != compiled:
            with distribution.scope():
                method.compile(trainee, recipe, span, plan, steps, distribution)
        callbacks = [DropoutSeeds(recipe.seed), Divergence(run.path), keeper]
        if recipe.schedule == "plateau":
            callbacks.append(Plateau(recipe, span.learning_rate, rows))
        if recipe.tensorboard and distribution.is_chief:
            callbacks.append(keras.callbacks.TensorBoard(run.path / LOGS, write_graph=False))
        try:
            distribution.fit(
                trainee,
                _batches(splits, run, recipe, len(rows), trainee, method, distribution),
                steps_per_epoch=steps,
                initial_epoch=len(rows),
                epochs=span.last,
                callbacks=method.callbacks(callbacks),
                shuffle=False,
                verbose=_verbosity(verbose) if distribution.is_chief else 0,
            )
        except tf.errors.OpError as error:
            raise ValueError(f"{_reason(error)}. {kept_so_far(run.path, len(rows))}") from error


def _restored(
    networks: Networks, run: Run, recipe: Recipe, steps: int, method: Method, distribution: Distribution
) -> tuple[list[dict], Plan, Span | None]:
    """Set the trainee to the latest checkpoint that can be used, or to its first weights if there is none.

    Returns:
        The metrics of the epochs done by then, the plan for the rest, and the span that it is compiled for.
    """
    epochs = checkpoints.epochs(run.path)
    if epochs != (seen := distribution.agree(epochs)):
        raise ValueError(f"{run.path} must be the same for all workers. Worker 0 sees {seen=}. Received: {epochs=}")
    for epoch in reversed(epochs):
        rows = read_rows(run.path / METRICS, epoch)
        if len(rows) < epoch:
            log.warning("%s has %d epochs, not %d", run.path / METRICS, len(rows), epoch)
            continue
        plan = Plan(recipe, [float(row["seconds"]) for row in rows])
        span = next(span for span in spans(recipe) if epoch <= span.last)
        method.compile(networks.trainee, recipe, span, plan, steps, distribution)
        if checkpoints.load(networks.trainee, run.path, epoch):
            return rows, plan, span
    if epochs:
        method.begin_again(networks.trainee, networks.kept)
    return [], Plan(recipe), None


def _batches(
    splits: datasets.Splits,
    run: Run,
    recipe: Recipe,
    done: int,
    model,
    method: Method,
    distribution: Distribution,
) -> tf.data.Dataset:
    """The epochs to come as (pictures, one-hot labels), the labels once for each output, and weights if asked for."""
    classes = len(splits.labels)
    preprocessing = run.preprocessing.replace(size=model.input_shape[1:3])
    batches = datasets.training_batches(
        splits.train,
        preprocessing.without_normalization(),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        first_epoch=done,
        epochs=recipe.epochs,
        augmentation=recipe.augmentation,
        part=distribution.part,
    )
    stages = recipe.augmentation.batch_stages()
    weights = tf.constant(building.class_weights(splits.train.labels, classes), tf.float32)
    worker, workers = distribution.part

    def finished(step, batch):
        pictures, y = batch
        seed = tf.stack([BATCHES - recipe.seed, step * workers + worker])
        pictures, y = apply_to_batch(stages, pictures, tf.one_hot(y, classes), seed)
        x = preprocessing.normalize(pictures)
        targets = method.targets(x, y)
        targets = {name: targets for name in model.output} if isinstance(model.output, dict) else targets
        if not recipe.class_weights:
            return x, targets
        weight = tf.linalg.matvec(y, weights)
        return x, targets, {name: weight for name in targets} if isinstance(targets, dict) else weight

    first = done * datasets.steps_per_epoch(splits.train, recipe.batch_size)
    finished_batches = batches.enumerate(first).map(finished, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    options = tf.data.Options()
    options.autotune.enabled = False  # it would keep `fit` waiting at its end, up to as long as it has taken
    return finished_batches.prefetch(2).with_options(options)


def _reason(error: tf.errors.OpError) -> str:
    """What TensorFlow says, in a line: of an error of ours the message, else the beginning of its own."""
    message = error.message or type(error).__name__
    ours = re.search(r"^\w*Error: (.+)$", message, re.MULTILINE)
    return " ".join((ours[1] if ours else message.partition("\n")[0]).split())[:500]


def _numbers(predict: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`predict`, which must give numbers."""

    def checked(x) -> np.ndarray:
        probabilities = predict(x)
        if not np.isfinite(probabilities).all():
            raise FloatingPointError("what the network makes of the validation pictures is not a number")
        return probabilities

    return checked


def _verbosity(asked: int | str) -> int | str:
    return (1 if sys.stdout.isatty() else 2) if asked == "auto" else asked
