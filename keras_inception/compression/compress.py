"""Make a network smaller and faster in steps, each of which is a resumable training run."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import keras
import numpy as np

from keras_inception import analysis, datasets
from keras_inception.compression import filter_pruning
from keras_inception.compression.budget import macs_within
from keras_inception.compression.job import FILTER_PRUNING, JOB, STEPS, Job, JobOptions, check_compression
from keras_inception.compression.own import OwnModel, write_run
from keras_inception.datasets.sources import check_there
from keras_inception.exporting.exporter import export
from keras_inception.exporting.signature import is_trained_for_int8
from keras_inception.model_files.custom_objects import check_custom_objects, given
from keras_inception.models.inference import inference_model
from keras_inception.preprocessing import Preprocessing
from keras_inception.reports import reporting
from keras_inception.reports import run as reports
from keras_inception.runs import DATA, LABELS, LEFT_OUT, METRICS, MODEL, PREPROCESSING, RECIPE, SPLIT, Run, load, locked
from keras_inception.tflite.benchmark import benchmark
from keras_inception.tflite.operations import gzip_mb, sparsity
from keras_inception.training import Recipe, building, train
from keras_inception.training.generators import generators_kept
from keras_inception.training.methods import Continued
from keras_inception.training.trainer import relocate
from keras_inception.utils import files, tables
from keras_inception.utils.names import by_any_name
from keras_inception.utils.progress import Progress, counted, silent
from keras_inception.utils.results import Result
from keras_inception.utils.suggestions import did_you_mean

REPORT = "compression_report.json"
RESUME = "keras-inception compress --resume --data IMAGES --output {}"  # with images that were moved
OWN_SOURCE = "0_source"  # the run directory in `STEPS` of a model of one's own
RANKING_IMAGES, RANGE_IMAGES, BATCH = 512, 64, 32
# Epochs and learning rate of each step, as shares of the original training's.
SHARES = {FILTER_PRUNING: (0.5, 0.5), "prune": (0.3, 0.25), "cluster": (0.1, 0.05), "quantize": (0.1, 0.05)}
TITLES = {
    "source": "Source",
    FILTER_PRUNING: "Filter pruning",
    "prune": "Weight pruning",
    "cluster": "Weight clustering",
    "quantize": "Training for int8",
}
# Each step's int8 file is only measured. Clients verify the export of the final network.
TO_INT8: dict[str, Any] = {"quantize": ("int8",), "name": "model", "min_agreement": 0, "clients": (), "overwrite": True}


@dataclass(frozen=True, eq=False)
class CompressionStep(Result):
    """The network and its int8 file after a step. Attributes can be read as keys too, such as ``step["macs"]``.

    Attributes:
        step: name of the step, "source" for the original network.
        macs: multiply-adds of the network.
        parameters: number of the network's weights.
        top1: accuracy of the file on the test images, or on the validation images if there are none, from 0 to 1.
        mb: size of the file in MB.
        gzip_mb: size of the file in MB after gzip.
        sparsity: share of zeros in the file's weights, from 0 to 1.
        outside_delegate: operations that the delegate leaves to the interpreter.
        latency_ms: median latency of the file in milliseconds, timed side by side with the other steps' files.
        ratio: latency relative to the source's.
    """

    step: str
    macs: int
    parameters: int
    top1: float | None
    mb: float
    gzip_mb: float
    sparsity: float
    outside_delegate: list[str]
    latency_ms: float
    ratio: float


@dataclass(frozen=True)
class CompressionReport(Sequence[CompressionStep]):
    """The source and each step of a compression, in order. Printing shows a table.

    Attributes:
        path: the new run directory.
        steps: the network and its int8 file after each step.
    """

    path: Path
    steps: tuple[CompressionStep, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.steps[index]

    def __len__(self) -> int:
        return len(self.steps)

    def to_dict(self) -> list[dict]:
        """Return the content of ``compression_report.json``: a dict for each step."""
        return [step.to_dict() for step in self.steps]

    def __str__(self) -> str:
        shown = ("step", "macs", "parameters", "mb", "gzip_mb", "sparsity", "top1", "latency_ms", "ratio")
        return tables.text(tables.columns(*shown), self.steps)


@generators_kept()
def compress(
    source: str | os.PathLike | keras.Model | None,
    output: str | os.PathLike,
    job: Job | None = None,
    *,
    data: str | os.PathLike | None = None,
    labels: str | os.PathLike | Sequence[str] | None = None,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    validation: float = 0.15,
    root: str | os.PathLike | None = None,
    columns: str | Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    output_name: str | None = None,
    settings: Mapping[str, str] | None = None,
    distillation: float = 0.5,
    resume: bool = False,
    custom_objects: str | os.PathLike | None = None,
    verbose: int | str = "auto",
    on_step: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
    **options: Unpack[JobOptions],
) -> CompressionReport:
    """Make a network smaller and faster, and write it as a new run directory.

    For example, prune filters to half of the multiply-adds, set half of the weights to zero and train for int8:

        keras_inception.compress("run", "compressed", macs=0.5, prune=0.5, quantize=True)

    Any other functional image classifier with one class for each image can be compressed too, with its images:

        keras_inception.compress("own.keras", "compressed", data="pictures", prune=0.5)

    Nested models in it become their layers, augmentation inside it is cut, and batch norms that it does not train stay
    as they are (`models.flat_copy`). The steps take their shares of the recipe in `own.own_recipe`.

    A compression can be killed at any moment: ``resume=True`` continues after the last finished epoch. As after a
    training, the global generators of `random`, NumPy, Keras and TensorFlow are left as they were.

    Args:
        source: run directory, ``.keras`` or ``.h5`` file, or model to compress; None when resuming.
        output: run directory to write. Its ``steps`` folder keeps the run and the int8 file of each step.
        job: what to do, as an alternative to `options`; None when resuming.
        data: images of a model of one's own: a folder with a subfolder for each class, or another source that
            `keras_inception.datasets.open_data` accepts. A run has its own. When resuming, the new place of images that
            were moved.
        labels: names of the classes in the order of that model's outputs, or a file with one per line. Default: the
            sorted names of the folders.
        preprocessing: what the input of that model expects: a `Preprocessing`, the name of one or its JSON file.
            Default: raw pixels if the model begins by normalizing them or takes uint8.
        validation: fraction of the images in `data` to hold out if it has no validation split.
        root: the folder that the paths in `data`, a table of labels, are relative to. Default: that of the table.
        columns: names of the table's columns of paths and of labels. Default: as for `open_data`.
        size: (height, width) of the images, for a model that takes any size.
        output_name: name of that model's output to keep if it has several.
        settings: recipe fields that override those of `recipe_of` in each step, as in `Recipe.override`; None when
            resuming.
        distillation: weight of the source network's predictions in the training targets, in [0, 1]; the labels get the
            rest (1503.02531).
        resume: continue an interrupted compression. A complete one is left unchanged.
        custom_objects: Python file with the classes and functions of the network, which is run
            (`keras_inception.load`). It must be given again when resuming.
        verbose: as in `model.fit`.
        on_step: called with a line of text at each step.
        on_progress: called with (description, number done, total), for a progress bar.
        **options: attributes of `Job`: the budget for filter pruning (`macs`, `latency` or `mb`) and its `criterion`;
            `prune`, `prune_schedule` and `prune_layers` for weights; `cluster`; `quantize`.

    Returns:
        The source and each step. This report is also written to ``compression_report.json``.

    Raises:
        FileExistsError: `output` exists and `resume` is False.
        BlockingIOError: another process is compressing into `output`.
        ValueError: `source` is neither a run nor a classifier of `data`, its network has already been trained for
            int8, or the network cannot be pruned to the budget.
    """
    output = Path(output)
    if options:
        if job is not None:
            raise ValueError(f"give either `job` or its attributes. Received: both, {', '.join(options)}")
        job = Job(**options)
    own = OwnModel.given(
        data,
        validation,
        labels=labels,
        preprocessing=preprocessing,
        size=size,
        output_name=output_name,
        root=root,
        columns=columns,
    )
    check_compression(source, output, job, own, settings=settings, distillation=distillation, resume=resume)
    check_custom_objects(custom_objects)
    with given(custom_objects):
        if source is not None and job is not None:
            _begin(source, own, output, job, dict(settings or {}), distillation)
        with locked(output):
            try:
                compression = _Compression(output, on_step or (lambda line: None), verbose, on_progress or silent)
                if resume and own is not None:
                    relocate(compression.runs(), own.data, own.root)
                rows = compression.run()
            except ValueError:
                trained = [path for path in (output / STEPS).glob("*") if path.is_dir() and path.name != OWN_SOURCE]
                if not trained and not resume:
                    shutil.rmtree(output)
                raise
    return CompressionReport(output, tuple(CompressionStep(**row) for row in rows))


def recipe_of(recipe: Recipe, step: str) -> Recipe:
    """Return a step's recipe: fewer epochs and a lower learning rate (`SHARES`), with a cosine schedule.

    Steps that use tensorflow-model-optimization train in float32, in which it simulates 8 bits. Filter pruning keeps
    the precision of the original training.
    """
    epochs, rate = SHARES[step]
    plain = {"schedule": "cosine", "milestones": (), "warmup_epochs": 0.0, "freeze_epochs": 0, "early_stopping": 0}
    plain |= {"extended_at": 0}
    simulated = {"training_size": 0, "accumulate": 1, "ema": 0.0, "precision": "float32"}
    return recipe.replace(
        epochs=max(1, round(epochs * recipe.epochs)),
        minutes=recipe.minutes and epochs * recipe.minutes,
        learning_rate=rate * recipe.learning_rate,
        # Validate weight pruning only at its end: an epoch with unpruned weights must not be kept as the best.
        validate_every=100_000 if step == "prune" else 1,
        **plain,
        **({} if step == FILTER_PRUNING else simulated),
    )


def _begin(
    source: str | os.PathLike | keras.Model,
    own: OwnModel | None,
    output: Path,
    job: Job,
    settings: dict,
    distillation: float,
) -> None:
    """Check the job against the source's network, then create the output with a record of the job."""
    with files.new_folder(output) as new:
        if own is None:
            run = Run(Path(source))
            place = str(run.path.resolve())
        else:
            run, place = write_run(source, own, new / STEPS / OWN_SOURCE), f"{STEPS}/{OWN_SOURCE}"
        recipe = _checked(run, job, settings)
        known = {"source": place, "job": asdict(job), "recipe": recipe.to_dict()}
        files.write_json(new / JOB, {**known, "settings": settings, "distillation": distillation})


def _checked(source: Run, job: Job, settings: dict) -> Recipe:
    """Check a job against the network of a run, and return the recipe of the run's original training."""
    model = source.model()
    if is_trained_for_int8(model):
        raise ValueError(f"{source.path} has been trained for int8: compress the run that it was made from")
    recipe = Recipe.load(source.path / RECIPE)
    if (source.path / JOB).is_file():  # shares refer to the original training
        recipe = Recipe.from_dict(files.read_json(source.path / JOB)["recipe"])
    for step in job.steps:
        recipe_of(recipe, step).override(settings)
    if job.macs:  # fail before hours of training
        filter_pruning.choose(filter_pruning.DependencyGraph(model), filter_pruning.l1(model), job.macs)
    if job.steps[1:]:
        from keras_inception.compression.finetuning import check_network

        check_network(model, job.quantize)
    weighted = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    prunable = by_any_name(layer.name for layer in weighted)
    for name in job.prune_layers or ():
        if name not in prunable:
            hint = did_you_mean(name, prunable)
            raise ValueError(f"`prune_layers` must be convolutions or dense layers.{hint} Received: {name!r}")
    return recipe


class _Compression:
    """A compression whose job has been written to a folder."""

    def __init__(self, output: Path, say: Callable[[str], None], verbose: int | str, progress: Progress):
        self._output = output
        self._say = say
        self._verbose = verbose
        self._progress = progress
        self._record = files.read_json(output / JOB)
        self._source = Run(output / self._record["source"])  # an absolute path is left as it is
        self._job = Job(**self._record["job"])

    def run(self) -> list[dict]:
        """Run the remaining steps and return the rows of the report."""
        rows = files.read_json(self._output / REPORT) if (self._output / REPORT).exists() else []
        run = self._source
        for number, step in enumerate(self._job.steps, start=1):
            path = self._output / STEPS / f"{number}_{step}"
            run = Run(path) if number < len(rows) else self._trained(path, step, run)
            if not rows:
                self._report("source", self._source, rows)
            if number == len(rows):
                self._report(step, run, rows)
        if "latency_ms" not in rows[-1]:
            self._say("Timing the files side by side")
            for row, timed in zip(rows, benchmark([self._file(row["step"]) for row in rows]), strict=True):
                row |= {"latency_ms": timed["median_ms"], "ratio": timed["ratio"]}
            files.write_json(self._output / REPORT, rows)
        names = [MODEL, LABELS, PREPROCESSING, METRICS, DATA]
        names += [SPLIT] if (run.path / SPLIT).is_file() else []  # not there if an older version trained the step
        for name in (*names, RECIPE):  # the last makes it a run directory
            with files.replacing(self._output / name) as beside:
                shutil.copyfile(run.path / name, beside)
        self._describe(run)
        return rows

    def _describe(self, run: Run) -> None:
        """Write the report of the output, whose network is that of a step's run, unless it has one."""
        if (self._output / reports.REPORT).exists():
            return
        for name in (reports.BATCH, LEFT_OUT):
            if (run.path / name).is_file():
                with files.replacing(self._output / name) as beside:
                    shutil.copyfile(run.path / name, beside)
        reports.attempt(lambda: reporting.write(Run(self._output)), self._output / reports.REPORT)

    def runs(self) -> list[Run]:
        """Return the source, the steps so far and, if there is one, the result."""
        folders = (path for path in sorted((self._output / STEPS).glob("*")) if (path / DATA).is_file())
        result = [self._output] if (self._output / DATA).is_file() else []
        return [self._source, *(Run(path) for path in (*folders, *result) if path != self._source.path)]

    def _trained(self, path: Path, step: str, before: Run) -> Run:
        """Train a step to completion, resuming an interrupted training, and return its run."""
        data = self._source.data
        check_there(self._output, data, again=RESUME)
        self._say(f"{TITLES[step]}: training")
        start = path.with_name(f"{path.name}_start.keras")
        if not start.exists():
            network = self._filters_pruned(before) if step == FILTER_PRUNING else before.model()
            with files.replacing(start) as beside:
                network.save(beside)
        network = load(start)
        options = Recipe.load(before.path / RECIPE).options
        if step == FILTER_PRUNING and self._record["recipe"]["network"]:
            options = {**options, "filters": {**options.get("filters", {}), **_filters(before.model(), network)}}
        recipe = recipe_of(Recipe.from_dict(self._record["recipe"]), step)
        recipe = recipe.replace(options=options).override(self._record["settings"])
        how: dict[str, Any] = {"method": self._method(step, before, network, recipe), "verbose": self._verbose}
        if path.exists():
            moved = data["source"] if data["source"] != Run(path).data["source"] else None
            return train(moved, path, resume=True, **how)
        how |= {"split_seed": data.pop("seed"), "recipe": recipe}
        return train(data.pop("source"), path, **data, **how)

    def _method(self, step: str, before: Run, network: keras.Model, recipe: Recipe) -> Continued:
        """Return the training method of a step."""
        teacher, job, distillation = None, self._job, self._record["distillation"]
        if distillation:
            source = inference_model(self._source.model())
            teacher = building.resized(source, recipe.training_size or None)
            teacher.set_weights(source.get_weights())
        continued = (network, before.preprocessing, teacher, distillation)
        if step == FILTER_PRUNING:
            return Continued(*continued)
        from keras_inception.compression.finetuning import Clustering, Pruning, Quantization

        if job.prune and step == "prune":
            return Pruning(*continued, sparsity=job.prune, schedule=job.prune_schedule, layers=job.prune_layers)
        if job.cluster and step == "cluster":
            return Clustering(*continued, clusters=job.cluster)
        images = np.concatenate([x for x, _ in self._batches(before.preprocessing, RANGE_IMAGES)])
        return Quantization(*continued, images=images, preserve=_preserved(network))

    def _filters_pruned(self, before: Run) -> keras.Model:
        """Return a run's network with its filters pruned to the budget, before any further training."""
        model, preprocessing = before.model(), before.preprocessing
        criterion, budget = self._job.criterion, self._job.budget or ("macs", 1.0)

        def say(line: str) -> None:
            self._say(f"{TITLES[FILTER_PRUNING]}: {line}")

        say(f"ranking filters by {criterion}")
        batches = self._batches(preprocessing, RANKING_IMAGES)
        shown = counted(batches, "Ranking filters", len(batches), self._progress)
        scores = getattr(filter_pruning, criterion)(inference_model(model), shown)
        graph = filter_pruning.DependencyGraph(inference_model(model))
        for group in graph.groups():
            if group.fixed:
                say(f"{', '.join(group.convolutions)} keeps all filters: {group.fixed}")
        macs = budget[1] if budget[0] == "macs" else macs_within(budget, graph, scores, preprocessing, say)
        kept = filter_pruning.choose(graph, scores, macs)
        return filter_pruning.prune(filter_pruning.DependencyGraph(model), kept)

    def _batches(self, preprocessing: Preprocessing, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return batches of inputs and class indices for `count` training images."""
        images = datasets.open_data(**self._source.data).train
        chosen = np.random.default_rng(0).permutation(len(images))[:count]
        batches = datasets.evaluation_batches(images.select(np.sort(chosen)), preprocessing, BATCH)
        return [(np.asarray(x), np.asarray(y)) for x, y in batches]

    def _report(self, step: str, run: Run, rows: list[dict]) -> None:
        """Export a step's run to int8 and add its row, still without latency, to the report."""
        self._say(f"{TITLES[step]}: exporting to int8")
        path = self._file(step)
        exported = export(run.path, path.parent, on_progress=self._progress, **TO_INT8)["variants"]["int8"]
        if "refused" in exported:
            raise ValueError(f"the int8 file of {run.path} is unusable: {exported['refused']}")
        if step in ("source", FILTER_PRUNING):
            costs = analysis.cost(inference_model(run.model()))
            row = {"step": step, "macs": costs.macs, "parameters": costs.parameters, "top1": exported["top1"]}
        else:  # the costs of the network itself, not of its rewritten and folded form for int8
            row = {**rows[-1], "step": step, "top1": exported["top1"]}
        row |= {"mb": exported["mb"], "gzip_mb": gzip_mb(path), "sparsity": sparsity(path)}
        rows.append({**row, "outside_delegate": exported["outside_delegate"]})
        files.write_json(self._output / REPORT, rows)

    def _file(self, step: str) -> Path:
        return self._output / STEPS / "exported" / step / "model_int8.tflite"


def _filters(before: keras.Model, after: keras.Model) -> dict[str, int]:
    """Return the new number of filters of each pruned convolution."""
    pairs = [(layer, after.get_layer(layer.name)) for layer in before.layers if type(layer) is keras.layers.Conv2D]
    return {layer.name: pruned.filters for layer, pruned in pairs if pruned.filters != layer.filters}


def _preserved(network: keras.Model) -> str | None:
    """Return what training for int8 must preserve in a network's kernels: "clusters", "sparsity" or None."""
    changed = (keras.layers.Conv2D, keras.layers.Dense)  # by pruning and clustering; not a depthwise convolution
    kernels = [layer.kernel.numpy() for layer in network.layers if type(layer) in changed]
    weights = [kernel[kernel != 0] for kernel in kernels]
    distinct = [len(np.unique(each)) for each in weights]
    count = sum(each.size for each in weights)
    if max(distinct, default=0) <= 256 and sum(distinct) < count / 2:  # 8 bits; small kernels may be all distinct
        return "clusters"
    return "sparsity" if count < sum(kernel.size for kernel in kernels) * 3 / 4 else None
