"""Train a network on labeled images with `model.fit` and keep everything in a run directory."""

import dataclasses
import functools
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import config

from keras_inception import datasets
from keras_inception.datasets.batches import batch_mixing, first_batch
from keras_inception.datasets.copies import copies_across, in_words
from keras_inception.datasets.sources import check_there
from keras_inception.datasets.splits import left_out
from keras_inception.evaluation import metrics as evaluation
from keras_inception.preprocessing import Preprocessing
from keras_inception.reports.run import REPORT
from keras_inception.runs import (
    CHECKPOINTS,
    DATA,
    INITIAL,
    LABELS,
    LEFT_OUT,
    LOGS,
    METRICS,
    PREPROCESSING,
    RECIPE,
    SPLIT,
    Run,
    kept_so_far,
    locked,
)
from keras_inception.training import batch_norm, building, callbacks, epoch_checkpoints
from keras_inception.training.distribution import ALONE, Distribution
from keras_inception.training.generators import generators_kept
from keras_inception.training.initial_weights import unnamed_recipe, ways_out
from keras_inception.training.methods import DIRECT, Method
from keras_inception.training.presets import RECIPES, named_recipe
from keras_inception.training.recipe import Recipe
from keras_inception.training.reporting import ReportRun
from keras_inception.training.schedules import Phase, Plan, phases
from keras_inception.utils import files
from keras_inception.weights import read_weights
from keras_inception.weights.publishers import IMAGENET, is_published

SAFETENSORS = ".safetensors"
log = logging.getLogger(__name__)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Enable TensorFlow's op determinism inside the block and restore the setting afterwards."""
    before = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()  # not in the public API


@generators_kept()
@_deterministic()
@tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds and there is no control flow to convert
def train(
    pictures: str | os.PathLike | None,
    output: str | os.PathLike = "run",
    *,
    recipe: Recipe | str | os.PathLike | None = None,
    resume: bool = False,
    root: str | os.PathLike | None = None,
    columns: str | Sequence[str] | None = None,
    group: str | None = None,
    exclude: datasets.Exclude | None = None,
    validation: float = 0.15,
    split_seed: int | None = None,
    labels: Sequence[str] | None = None,
    strict: bool = False,
    distribution: Distribution = ALONE,
    method: Method = DIRECT,
    verbose: int | str = "auto",
    on_scan: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> Run:
    """Train a network on labeled images and keep everything in a run directory.

    A run killed at any moment continues with ``resume=True`` from its last finished epoch and ends with the same
    weights as an uninterrupted one: order, augmentation and dropout depend only on the seed, the epoch and the image.
    The exception is a recipe with `minutes`, whose number of epochs depends on the clock. The global generators of
    `random`, NumPy, Keras and TensorFlow are left as they were.

    Example::

        run = keras_inception.train("flowers", "run", recipe="small", epochs=20)
        print(run)
        model = run.model()

    Args:
        pictures: a folder with one subfolder of images per class, a table of labels, or any other source that
            `keras_inception.datasets.open_data` accepts. When resuming, None, since the run records it; or the new
            place of the same images, which the run then records.
        output: the run directory to create, or with ``resume=True`` the one to continue.
        recipe: how to train: a `Recipe`, the name of one (`keras_inception.training.RECIPES`) or a JSON file. Default:
            fine-tune GoogLeNet's published weights, which are downloaded once (``"finetune"``); ``weights=None`` or
            ``Recipe()`` begins with random weights. None when resuming: the run records it.
        resume: continue an interrupted run. A complete run is left unchanged, unless `epochs` is given.
        root: the folder that the paths in a table of labels are relative to. Default: that of the table.
        columns: names of the table's columns of paths and of labels. Default: as for `open_data`.
        group: regular expression that finds the name of an image's group in its path, such as ``"^([^_]+)_"``.
            Images of one group stay together when a validation split is cut. Default: the column ``group`` of a table.
        exclude: images to leave out: a CSV file with a column ``path``, or the paths, relative to the folder.
        validation: fraction of the training images to hold out if the source has no validation split.
        split_seed: seed of that split. Default: the recipe's seed.
        labels: names of the classes in the order of the network's outputs. Default: as for `open_data`.
        strict: raise an error for an image that cannot be read, instead of logging it and leaving it out.
        distribution: the devices or machines that share each step.
        method: the training method. When resuming, the method that the run began with.
        verbose: as in `model.fit`. "auto" shows a progress bar on a terminal and one line per epoch elsewhere.
        on_scan: called with (images checked so far, total images), for a progress bar.
        **changes: fields of the recipe to change, such as ``epochs=20``. When resuming, only ``epochs``, the number in
            all: the learning rate schedule is laid anew over the epochs that are left, without the limit of `minutes`.

    Returns:
        The `keras_inception.runs.Run`. Its ``model()`` is the network with the best averaged weights.

    Raises:
        FileExistsError: `output` exists and `resume` is false.
        BlockingIOError: another process is training this run.
        ValueError: the images, the recipe or the run directory are invalid or have changed since the run began, or
            TensorFlow stopped with an error, such as an image that has become unreadable.
        FloatingPointError: the loss or a weight is not finite.
        ConnectionError: published weights cannot be downloaded, or another worker was lost.
    """
    path = _path(output)
    if resume:
        others = (recipe, columns, group, exclude)
        if any(each is not None for each in others) or changes.keys() - {"epochs"}:
            raise ValueError(
                f"{output} records its recipe: when resuming, give none, but `epochs`, or the new place of its images"
            )
        run = Run(path)
        recipe, data = _resumed(run, method, distribution, **changes), _found(run, pictures, root)
    else:
        if distribution.is_chief and os.path.lexists(path):
            raise FileExistsError(f"{output} exists. Resume it, or choose another folder")
        if pictures is None:
            raise ValueError("`pictures` must be given unless a run is resumed. Received: None")
        recipe = _begun(_recipe(recipe, changes), distribution)
        seed = recipe.seed if split_seed is None else split_seed
        data = datasets.recorded(pictures, root=root, columns=columns, group=group, exclude=exclude)
        data |= {"validation": validation, "seed": seed}
        data |= {} if labels is None else {"labels": list(labels)}
    recipe.check_installed()
    distribution.check(recipe)
    splits = datasets.open_data(**data, strict=strict, progress=on_scan)
    if resume:
        _check_unchanged(run, splits, data["source"])
    elif not len(splits.validation):
        raise ValueError(f"{pictures} leaves no images for validation. Received: validation={validation}")
    direct = method is DIRECT
    with ways_out():
        if direct:
            method = Method(_initial_weights(path, recipe, len(splits.labels)))
        training = _Training(recipe, splits, method, distribution)
    if not resume:
        run = training.begin(path, data)
    if direct:  # compression reuses the images of a run that has already reported them
        _log_remarks(splits, path, pictures if distribution.is_chief else None)
    with distribution.on_chief(lambda: locked(run.path)) or nullcontext():
        if resume:
            distribution.on_chief(lambda: _record(run, recipe, data))
        training.fit(run, verbose)
    return run


def _log_remarks(splits: datasets.Splits, path: Path, pictures: str | os.PathLike | None) -> None:
    """Log what there is to know of the images; if `pictures` is given, also that some are in two splits."""
    for line in [*left_out(splits.skipped, path / LEFT_OUT), *splits.remarks()]:
        log.warning("%s", line)
    if pictures is not None and (copies := copies_across(splits)):
        log.warning("%s: keras-inception check %s shows them", in_words(copies), pictures)


def _path(output: str | os.PathLike) -> Path:
    if not isinstance(output, (str, os.PathLike)):
        raise ValueError(f"`output` must be the path of a run directory. Received: {output!r:.100}")
    return Path(output)


def _begun(recipe: Recipe, distribution: Distribution) -> Recipe:
    """Return the recipe that a new run records, the same for all workers and in any working directory."""
    if recipe.weights is not None and not is_published(recipe.weights):
        recipe = dataclasses.replace(recipe, weights=os.path.abspath(recipe.weights))
    return Recipe.from_dict(distribution.broadcast(building.resolved(recipe).to_dict()))


def _resumed(run: Run, method: Method, distribution: Distribution, epochs: int | None = None) -> Recipe:
    """Return the recipe of a run to resume, extended to this number of epochs in all.

    Raises:
        ValueError: another method began the run, or as for `extended`.
    """
    if run.command != method.command:
        raise ValueError(f"{run.path} was made by `{run.command}`: continue it with `{run.command} --resume`")
    recipe = Recipe.load(run.path / RECIPE)
    if epochs is None:
        return recipe
    done = max(run.checkpoints, default=0)
    return Recipe.from_dict(distribution.broadcast(extended(recipe, epochs, done).to_dict()))


def _found(run: Run, pictures: str | os.PathLike | None, root: str | os.PathLike | None) -> dict[str, Any]:
    """Return the arguments of `open_data` for the images of a run, which may have been moved to a new place."""
    if pictures is None and root is None:
        check_there(run, run.data)
        return run.data
    source = run.data["source"] if pictures is None else pictures
    return run.data | datasets.recorded(source, root=root, columns=run.data.get("columns"))


def relocate(runs: Sequence[Run], pictures: str | os.PathLike, root: str | os.PathLike | None = None) -> None:
    """Let runs record the new place of the images that they share.

    Raises:
        ValueError: the images there are not those that the runs began with.
    """
    data = _found(runs[0], pictures, root)
    splits = datasets.open_data(**data)
    for run in runs:
        _check_unchanged(run, splits, data["source"])
        moved = run.data | {key: data[key] for key in ("source", "root") if key in data}
        if moved != run.data:
            run.record(moved)


def _record(run: Run, recipe: Recipe, data: dict[str, Any]) -> None:
    """Record what has changed since a run began: the number of its epochs, or the place of its images."""
    if recipe != Recipe.load(run.path / RECIPE):
        recipe.save(run.path / RECIPE)
    if data != run.data:
        run.record(data)


def _initial_weights(path: Path, recipe: Recipe, classes: int) -> building.Weights:
    """Return the weights that a run began with: those in its folder, once it has begun, or else the recipe's."""
    for kept in path.glob(f"{INITIAL}.*"):
        return read_weights(kept, str(recipe.network)) if kept.suffix == SAFETENSORS else kept
    return building.initial_weights(recipe, classes)


def _recipe(recipe: Recipe | str | os.PathLike | None, changes: dict[str, Any]) -> Recipe:
    """Return the recipe that `train` was given, with its fields changed."""
    if isinstance(recipe, (str, os.PathLike)):
        recipe = named_recipe(os.fspath(recipe))
    if not isinstance(recipe, Recipe | None):
        allowed = f"a Recipe, one of {', '.join(RECIPES)}, or a JSON file"
        raise ValueError(f"`recipe` must be {allowed}. Received: {recipe!r:.100}")
    if isinstance(changes.get("weights"), os.PathLike):
        changes = {**changes, "weights": os.fspath(changes["weights"])}
    if recipe is None:
        recipe = unnamed_recipe(changes.get("network"), changes.get("weights", IMAGENET))
    return recipe.replace(**changes)


def extended(recipe: Recipe, epochs: int, done: int) -> Recipe:
    """Return a run's recipe for another number of epochs in all, of which `done` are finished.

    Raises:
        ValueError: so many epochs are finished already, or `epochs` is not a number of epochs.
    """
    if epochs == recipe.epochs and recipe.minutes is None:
        return recipe
    longer = recipe.replace(epochs=epochs, freeze_epochs=0, extended_at=0)  # checks `epochs`
    if epochs <= done:
        raise ValueError(f"`epochs` must be more than the {done} that the run has finished. Received: epochs={epochs}")
    return dataclasses.replace(longer, freeze_epochs=min(recipe.freeze_epochs, epochs), extended_at=done, minutes=None)


def _check_unchanged(run: Run, splits: datasets.Splits, source: str) -> None:
    """Raise ValueError if the images at a place are not those that the run began with."""
    if splits.labels != run.labels:
        raise ValueError(f"{source} has changed: its classes differ from {run.path / LABELS}")
    moved = source != run.data["source"]
    changed = splits.changed(run.fingerprint) if run.fingerprint or not moved else ["train"]
    for name in changed:
        count = len(getattr(splits, name))
        if moved:
            raise ValueError(
                f"{source} must have the images that {run.path} began with. Received: {count} {name} images, which are "
                "not the same"
            )
        raise ValueError(
            f"{source} has changed since {run.path} began: its {name} images differ, and there are now {count}. "
            "Restore them, or begin another run"
        )


class _Training:
    """The networks, images and settings of one training run.

    Attributes:
        network: the network that the run saves, with inputs of the recipe's `size`.
        trainee: the copy to train, with the same initial weights.
        steps: steps per epoch.
        validated: the latest evaluation on the validation images.
    """

    validated: evaluation.Evaluation | None = None

    def __init__(self, recipe: Recipe, splits: datasets.Splits, method: Method, distribution: Distribution):
        """Build both networks. Raise ValueError if the recipe is invalid for them."""
        self.recipe = recipe
        self.splits = splits
        self.method = method
        self.distribution = distribution
        self.steps = datasets.steps_per_epoch(splits.train, recipe.batch_size)
        self.classes = len(splits.labels)
        keras.utils.set_random_seed(recipe.seed)
        self.network = method.network(recipe, self.classes)
        with distribution.scope():
            self.trainee: Any = method.trainee(self.network, recipe, self.classes, distribution)

    def begin(self, path: Path, data: dict[str, Any]) -> Run:
        """Create the run directory atomically and return the run once every worker sees it."""
        try:
            self.distribution.on_chief(lambda: self._create(path, data))
        except FileExistsError:
            raise FileExistsError(
                f"{path} exists: another training has begun it at the same time. Resume it once that one has ended, or "
                "choose another folder"
            ) from None
        if not path.is_dir():
            raise ValueError(f"worker 0 created {path}, but this worker cannot see it: all must share this path")
        run = Run(path)
        if not self.distribution.is_chief:
            _check_unchanged(run, self.splits, run.data["source"])
        return run

    def _create(self, path: Path, data: dict[str, Any]) -> None:
        fingerprints = self.splits.fingerprints()  # may be slow
        recorded = {**data, **self.splits.counts(), "fingerprint": fingerprints, "command": self.method.command}
        with files.new_folder(path) as new:
            (new / CHECKPOINTS).mkdir()
            files.write_labels(new / LABELS, self.splits.labels)
            self.method.preprocessing(self.recipe, self.network).save(new / PREPROCESSING)
            self.recipe.save(new / RECIPE)
            if isinstance(weights := self.method.weights, Path):
                shutil.copyfile(weights, new / f"{INITIAL}{weights.suffix}")
            elif weights:
                weights.save(new / f"{INITIAL}{SAFETENSORS}")
            files.write_json(new / DATA, recorded)
            files.write_csv(new / SPLIT, self.splits.rows())
            if self.splits.skipped:
                files.write_csv(new / LEFT_OUT, [skipped._asdict() for skipped in self.splits.skipped])

    def fit(self, run: Run, verbose: int | str) -> None:
        """Train from the latest usable checkpoint to the end, one `model.fit` per phase."""
        recipe, is_chief = self.recipe, self.distribution.is_chief
        if verbose == "auto":
            verbose = 1 if sys.stdout.isatty() else 2
        with self.distribution.scope():
            rows, plan, compiled = self._restore(run)
        kept, validate = self._keeper(run.preprocessing), self._validator(run.preprocessing)
        checkpoint = callbacks.RunCheckpoint(run.path, kept, validate, plan, rows, writes=is_chief)
        report = ReportRun(run, self.splits, checkpoint, self.batch, lambda: self.validated)
        was_complete = checkpoint.is_complete
        if was_complete:
            log.info("%s is complete: %d epochs. More epochs in all go on with it", run.path, len(rows))
        for phase in phases(recipe):
            if checkpoint.is_complete or len(rows) >= phase.last:
                continue
            if phase != compiled:
                with self.distribution.scope():
                    self.method.compile(self.trainee, recipe, phase, plan, self.steps, self.distribution)
            called = [callbacks.SeedDropout(recipe.seed), callbacks.RaiseOnNonFinite(run.path), checkpoint]
            if recipe.schedule == "plateau":
                called.append(callbacks.reduce_rate_on_plateau(recipe, phase.learning_rate, rows))
            if is_chief:
                called.append(report)
            if recipe.tensorboard and is_chief:
                called.append(keras.callbacks.TensorBoard(run.path / LOGS, write_graph=False))
            try:
                self.distribution.fit(
                    self.trainee,
                    self.batches(run.preprocessing, len(rows)),
                    steps_per_epoch=self.steps,
                    initial_epoch=len(rows),
                    epochs=phase.last,
                    callbacks=self.method.callbacks(called),
                    shuffle=False,
                    verbose=verbose if is_chief else 0,
                )
            except tf.errors.OpError as error:
                so_far = kept_so_far(run.path, len(rows))
                if full := files.full_disk(error):  # of TensorBoard's logs
                    raise OSError(f"{run.path}: cannot be written: {full}. {so_far}: {callbacks.MAKE_ROOM}") from error
                raise ValueError(f"{_reason(error)}. {so_far}") from error
        if is_chief and not (was_complete and (run.path / REPORT).exists()):
            report.finish()

    def _restore(self, run: Run) -> tuple[list[dict], Plan, Phase | None]:
        """Restore the latest usable checkpoint, or the initial weights if there is none.

        Returns:
            The metrics of the finished epochs, the plan for the rest, and the phase that the trainee is compiled for.
        """
        epochs = run.checkpoints
        if epochs != (seen := self.distribution.broadcast(epochs)):
            raise ValueError(f"{run.path} must be the same for all workers. Worker 0 sees {seen=}. Received: {epochs=}")
        for epoch in reversed(epochs):
            rows = callbacks.read_rows(run.path / METRICS, epoch)
            if len(rows) < epoch:
                log.warning("%s has %d epochs, not %d", run.path / METRICS, len(rows), epoch)
                continue
            plan = Plan(self.recipe, [float(row["seconds"]) for row in rows])
            phase = next(phase for phase in phases(self.recipe) if epoch <= phase.last)
            self.method.compile(self.trainee, self.recipe, phase, plan, self.steps, self.distribution)
            if epoch_checkpoints.load(self.trainee, run.path, epoch):
                return rows, plan, phase
        if epochs:
            self.method.begin_again(self.trainee, self.network)
        return [], Plan(self.recipe), None

    def _keeper(self, preprocessing: Preprocessing) -> Callable[[Any, bool], keras.Model]:
        """Return a function from the trainee, and whether training ends, to the network that is evaluated and saved.

        Its batch norms have statistics that fit its weights.
        """
        recipe = self.recipe
        recalibrate = batch_norm.Recalibration(self.splits.train, preprocessing, recipe.seed)
        trained = self.steps * recipe.batch_size * recipe.validate_every  # images between two validations
        few = max(batch_norm.MIN_IMAGES, int(batch_norm.SHARE * trained))

        def kept(trainee: Any, is_last: bool) -> keras.Model:
            network = self.method.kept(trainee, self.network)
            recalibrate(network, self.method.recalibrated(trainee, network), batch_norm.MAX_IMAGES if is_last else few)
            return network

        return kept

    def _validator(self, preprocessing: Preprocessing) -> Callable[[keras.Model], dict[str, float]]:
        """Return a function that evaluates a network on the validation images, with the same result on every worker."""
        held_out = datasets.evaluation_batches(self.splits.validation, preprocessing, self.recipe.batch_size)

        @functools.lru_cache(1)  # build the graph only for a new network
        def predictor(model: keras.Model) -> Callable[..., np.ndarray]:
            predict = evaluation.keras_predictor(model)

            def checked(x) -> np.ndarray:
                probabilities = predict(x)
                if not np.isfinite(probabilities).all():
                    raise FloatingPointError("the network's predictions for the validation images are not finite")
                return probabilities

            return checked

        def validate(model: keras.Model) -> dict[str, float]:
            result = evaluation.evaluate_batches(predictor(model), held_out, self.splits.labels, keep=True)
            self.validated = result
            return self.distribution.broadcast({"top1": result.top1, "top5": result.top5, "loss": result.loss})

        return validate

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the first of the latest `batches`: images that are not normalized, and targets."""
        return self._first_batch()

    def batches(self, preprocessing: Preprocessing, done: int) -> tf.data.Dataset:
        """Return the batches of the epochs after the first `done`.

        Returns:
            (images, targets) or, with `class_weights`, (images, targets, sample weights). Targets are one-hot or mixed,
            (batch, classes); targets and weights are dictionaries by output name if the trainee has several outputs.
        """
        recipe, classes, outputs = self.recipe, self.classes, self.trainee.output
        preprocessing = preprocessing.replace(size=self.trainee.input_shape[1:3])
        batches = datasets.training_batches(
            self.splits.train,
            preprocessing.without_normalization(),
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            first_epoch=done,
            epochs=recipe.epochs,
            augmentation=recipe.augmentation,
            part=self.distribution.part,
        )
        mixed = batch_mixing(recipe.augmentation, classes, recipe.seed, self.distribution.part)
        self._first_batch = functools.partial(first_batch, batches, mixed, done * self.steps)
        weights = tf.constant(building.class_weights(self.splits.train.labels, classes), tf.float32)

        def finish(step, batch):
            images, y = mixed(step, batch)
            x = preprocessing.normalize(images)
            targets = self.method.targets(x, y)
            targets = dict.fromkeys(outputs, targets) if isinstance(outputs, dict) else targets
            if not recipe.class_weights:
                return x, targets
            weight = tf.linalg.matvec(y, weights)
            return x, targets, dict.fromkeys(targets, weight) if isinstance(targets, dict) else weight

        numbered = batches.enumerate(done * self.steps)
        finished = numbered.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        options = tf.data.Options()
        options.autotune.enabled = False  # it can block the end of `fit` for as long as the training took
        return finished.prefetch(2).with_options(options)


def _reason(error: tf.errors.OpError) -> str:
    """Condense a TensorFlow error to one line: the message of a Python error inside it, or its own first line."""
    message = error.message or type(error).__name__
    ours = re.search(r"^\w*Error: (.+)$", message, re.MULTILINE)
    return " ".join((ours[1] if ours else message.partition("\n")[0]).split())[:500]
