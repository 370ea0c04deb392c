"""`train`: from a folder of pictures to a run directory, by `model.fit`."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_inception import datasets, evaluation, files
from keras_inception.datasets.augmentation import apply_to_batch
from keras_inception.models import GoogLeNet
from keras_inception.preprocessing import DEFAULT
from keras_inception.runs import CHECKPOINTS, DATA, LABELS, METRICS, PREPROCESSING, RECIPE, Run
from keras_inception.training.callbacks import CosineSchedule, DropoutSeeds, Keeper, checkpoints, read_rows
from keras_inception.training.fused import FusedAdamW, fuse
from keras_inception.training.recipe import Recipe

log = logging.getLogger(__name__)


def train(
    pictures: str | os.PathLike | None,
    output: str | os.PathLike,
    *,
    recipe: Recipe | None = None,
    resume: bool = False,
    validation: float = 0.15,
    strict: bool = False,
    verbose: int | str = "auto",
    on_scan: Callable[[int, int], None] | None = None,
) -> Run:
    """Train GoogLeNet on a folder of pictures and keep everything in a run directory.

    Killed at any moment, ``resume=True`` goes on from the last finished epoch and ends where the uninterrupted run
    would have: order, augmentation and dropout follow from the seed, the epoch and the picture.

    Args:
        pictures: a folder of class folders, or of ``train``, ``validation`` and ``test`` with such; see
            `keras_inception.datasets.open_folder`. On resuming None, since the run knows.
        output: the run directory: a new one, or with ``resume=True`` the one to go on with.
        recipe: how to train; None is ``Recipe()``. On resuming None, since the run knows.
        resume: go on with a run that was interrupted. A complete one is left as it is.
        validation: share of the training pictures that is cut out if there is no validation split.
        strict: a picture that cannot be read is an error; else it is logged and left out.
        verbose: as in `model.fit`; "auto" is a progress bar on a terminal and a line an epoch elsewhere.
        on_scan: called with the numbers of pictures looked at so far and in all, for a progress bar.

    Returns:
        The `keras_inception.runs.Run`, whose ``model()`` is the network with the best averaged weights.

    Raises:
        FileExistsError: `output` exists and is not to be resumed.
        ValueError: the pictures, the recipe or the run directory are not what they should be.
    """
    if resume:
        run = Run(Path(output))
        if pictures is not None or recipe is not None:
            raise ValueError(f"{output} knows its pictures and its recipe: on resuming, give neither")
        splits = datasets.open_folder(**run.data, strict=strict, progress=on_scan)
        if splits.labels != run.labels:
            raise ValueError(f"{run.data['path']} has changed since: its classes are not those of {run.path / LABELS}")
    else:
        if os.path.lexists(output):
            raise FileExistsError(f"{output} exists. Go on with it by resuming, or name another folder")
        if pictures is None:
            raise ValueError("`pictures` must be a folder, but on resuming. Received: None")
        recipe = recipe or Recipe()
        data: dict[str, Any] = {"path": os.path.abspath(pictures), "validation": validation, "seed": recipe.seed}
        splits = datasets.open_folder(**data, strict=strict, progress=on_scan)
        if not splits.validation:
            raise ValueError(f"{pictures} leaves no pictures to validate with. Received: validation={validation}")
        run = _begin(Path(output), recipe.replace(precision=_precision(recipe.precision)), data, splits.labels)
    for path, reason in splits.skipped:
        log.warning("left out %s: %s", path, reason)
    _fit(run, splits, verbose)
    return run


def build(recipe: Recipe, classes: int, size: int, precision: str) -> keras.Model:
    """The recipe's network for pictures of `size` pixels a side, under a mixed precision policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return GoogLeNet(
            input_shape=(size, size, 3),
            classes=classes,
            auxiliary=recipe.auxiliary,
            normalization=recipe.normalization,
            dropout=recipe.dropout,
            stem_stride=recipe.stem_stride,
        )
    finally:
        keras.config.set_dtype_policy(before)


def _begin(path: Path, recipe: Recipe, data: dict, labels: tuple[str, ...]) -> Run:
    """A new run directory, there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as beside:
        new = Path(beside) / "run"
        (new / CHECKPOINTS).mkdir(parents=True)
        files.write_labels(new / LABELS, labels)
        DEFAULT.replace(size=(recipe.size, recipe.size), crop=recipe.crop).save(new / PREPROCESSING)
        recipe.save(new / RECIPE)
        files.write_json(new / DATA, data)
        os.rename(new, path)
    return Run(path)


def _fit(run: Run, splits: datasets.Splits, verbose: int | str) -> None:
    recipe = Recipe.load(run.path / RECIPE)
    classes = len(splits.labels)
    keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()  # or sums would depend on which thread is done first
    network = build(recipe, classes, recipe.size, "float32")
    trainee = fuse(build(recipe, classes, recipe.training_size or recipe.size, recipe.precision))
    _copy_weights(network, trainee)
    steps = datasets.steps_per_epoch(splits.train, recipe.batch_size)
    _compile(trainee, recipe, steps)
    done = _restore(trainee, run)

    predict = evaluation.keras_predictor(network)
    held_out = datasets.evaluation_batches(splits.validation, run.preprocessing, recipe.batch_size)

    def validate() -> dict[str, float]:
        result = evaluation.evaluate(predict, held_out, splits.labels)
        return {"top1": result.top1, "top5": result.top5, "loss": result.loss}

    schedule = CosineSchedule(recipe, steps)
    keeper = Keeper(run.path, network, validate, schedule, read_rows(run.path / METRICS, done))
    if done >= schedule.epochs:
        log.info("%s is complete: %d epochs", run.path, done)
        return
    trainee.fit(
        _batches(splits, run, recipe, done, trainee),
        steps_per_epoch=steps,
        initial_epoch=done,
        epochs=recipe.epochs,
        callbacks=[DropoutSeeds(recipe.seed), keeper, schedule],
        shuffle=False,
        verbose=(1 if sys.stdout.isatty() else 2) if verbose == "auto" else verbose,
    )


def _batches(splits: datasets.Splits, run: Run, recipe: Recipe, done: int, model: keras.Model) -> tf.data.Dataset:
    """The epochs to come as (pictures, one-hot labels), the labels once for each output."""
    batches = datasets.training_batches(
        splits.train,
        run.preprocessing.replace(size=model.input_shape[1:3]),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        first_epoch=done,
        epochs=recipe.epochs,
        augmentation=recipe.augmentation,
    )

    layers = recipe.augmentation.batch_layers()

    def finished(step, batch):
        x, y = batch
        x, y = apply_to_batch(
            layers, x, tf.one_hot(y, len(splits.labels)), tf.stack([tf.int64.max - recipe.seed, step])
        )
        return x, {name: y for name in model.output} if isinstance(model.output, dict) else y

    first = done * datasets.steps_per_epoch(splits.train, recipe.batch_size)
    return batches.enumerate(first).map(finished, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _compile(model: keras.Model, recipe: Recipe, steps: int) -> None:
    def loss():
        return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)

    heads = [name for name in model.output if name != "predictions"] if isinstance(model.output, dict) else []
    metrics = [keras.metrics.CategoricalAccuracy(name="top1")]
    total = recipe.epochs * steps
    model.compile(
        FusedAdamW(
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            use_ema=recipe.ema > 0,
            # Keras' average begins with the first weights: it must be short enough to forget them.
            ema_momentum=max(0.0, min(recipe.ema, 1 - 10 / total)),
            average_every=max(1, min(8, total // 100)),
        ),
        loss={name: loss() for name in ("predictions", *heads)} if heads else loss(),
        loss_weights={"predictions": 1.0, **dict.fromkeys(heads, recipe.auxiliary_weight)} if heads else None,
        metrics={"predictions": metrics} if heads else metrics,
    )


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    shapes = [[weight.shape for weight in model.weights] for model in (source, target)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`training_size` must give the auxiliary heads maps of the same size as `size` does. "
            f"Received: training_size={target.input_shape[1]}, size={source.input_shape[1]}"
        )
    target.set_weights(source.get_weights())


def _restore(model: keras.Model, run: Run) -> int:
    """Load the latest checkpoint that can be read; the epochs done by then, 0 if there is none."""
    model.optimizer.build(model.trainable_variables)
    for epoch in reversed(checkpoints(run.path)):
        path = run.path / CHECKPOINTS / f"epoch-{epoch}.weights.h5"
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s cannot be read, so the checkpoint before it is used: %s", path, error)
        else:
            return epoch
    return 0


def _precision(asked: str) -> str:
    """The policy that "auto" stands for: bfloat16 if the processor multiplies matrices of it, else float32."""
    if asked != "auto":
        return asked
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return "float32"
    return "mixed_bfloat16" if {"amx_bf16", "avx512_bf16"} & set(flags) else "float32"
