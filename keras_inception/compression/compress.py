"""`compress`: a run's network made smaller and faster in steps, each a training of its own that can be resumed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from keras_inception import analysis, datasets
from keras_inception.compression import filter_pruning as slimming
from keras_inception.compression.filter_pruning import Anatomy, Scores
from keras_inception.compression.job import JOB, Job, check_compression
from keras_inception.exporting.convert import convert
from keras_inception.exporting.exporter import export
from keras_inception.exporting.signature import deployed, is_trained_for_int8, save
from keras_inception.exporting.variants import VARIANTS
from keras_inception.models.inference import inference_model
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import DATA, LABELS, METRICS, MODEL, PREPROCESSING, RECIPE, Run, load, locked
from keras_inception.tflite.benchmark import benchmark
from keras_inception.tflite.operations import gzip_mb, sparsity
from keras_inception.training import Recipe, train
from keras_inception.training.building import resized
from keras_inception.training.methods import Continued
from keras_inception.utils import files
from keras_inception.utils.progress import Progress, counted, silent
from keras_inception.utils.suggestions import did_you_mean

STEPS, REPORT, START = "steps", "compression_report.json", "start.keras"
RANKING_PICTURES, SETTLING_PICTURES, RANGE_PICTURES, BATCH = 512, 256, 64, 32
# Of each step: its share of the epochs, and of the learning rate, that the network was trained with.
SHARES = {"slim": (0.5, 0.5), "prune": (0.3, 0.25), "cluster": (0.1, 0.05), "quantize": (0.1, 0.05)}
SPARSE = 0.25  # share of zeros from which a network is taken for a pruned one
CLUSTERED = 256  # values of a layer up to which it is taken for a clustered one
NEVER = 100_000
HALVINGS = 5  # of the multiply-adds that a latency or a size asks for


def compress(
    source: str | os.PathLike | None,
    output: str | os.PathLike,
    job: Job | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    distillation: float = 0.5,
    resume: bool = False,
    verbose: int | str = "auto",
    on_step: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> list[dict]:
    """Make a run's network smaller and faster, and of it a run like any other.

    Killed at any moment, ``resume=True`` goes on from the last finished epoch of the step that it was at.

    Args:
        source: the run directory; on resuming None, since `output` knows.
        output: the new one. In ``steps`` it keeps a run, and its int8 file, for each step.
        job: what is to be done; on resuming None.
        settings: fields of the recipe of each step, in place of what `recipe_of` gives, as `Recipe.override` takes
            them; on resuming None.
        distillation: share of what the network of `source` says of a picture in what is taught, beside the label, in
            [0, 1] (1503.02531).
        resume: go on with what was interrupted. What is complete is left as it is.
        verbose: as in `model.fit`.
        on_step: called with a line of text at each step.
        on_progress: called with (what is done, number done, number in all), for a progress bar.

    Returns:
        A row for `source` and for each step, also in ``compression_report.json``: ``step``; ``macs`` and
        ``parameters``; of its int8 file ``top1`` (of the test pictures, or of the validation's where there are none),
        ``mb``, ``gzip_mb``, ``sparsity``, ``outside_delegate``; and, side by side at the end, ``latency_ms`` and
        its ``ratio`` to `source`'s.

    Raises:
        FileExistsError: `output` exists and is not to be resumed.
        BlockingIOError: another process is at it.
        ValueError: `source` is not a run, or its network is for int8 already, or cannot be made so small.
    """
    say = on_step or (lambda line: None)
    output = Path(output)
    check_compression(source, output, job, settings=settings, distillation=distillation, resume=resume)
    if source is not None and job is not None:
        _begin(Run(Path(source)), output, job, dict(settings or {}), distillation)
    with locked(output):
        try:
            return _Compression(output, say, verbose, on_progress or silent).run()
        except ValueError:
            if not any(path.is_dir() for path in (output / STEPS).glob("*")):  # nothing has been trained
                shutil.rmtree(output)
            raise


def recipe_of(recipe: Recipe, step: str) -> Recipe:
    """How the network of a run is trained at a step: gentler and shorter than it was, by `SHARES`, down a cosine.

    Of the multiplications in float32, except for ``"slim"``: tensorflow-model-optimization rounds to 8 bits in it.
    """
    epochs, rate = SHARES[step]
    shared = {
        "epochs": max(1, round(epochs * recipe.epochs)),
        "minutes": recipe.minutes and epochs * recipe.minutes,
        "learning_rate": rate * recipe.learning_rate,
        "schedule": "cosine",
        "milestones": (),
        "warmup_epochs": 0.0,
        "freeze_epochs": 0,
        "early_stopping": 0,
        "validate_every": 1,
    }
    if step == "prune":
        shared["validate_every"] = NEVER  # but in the end: an epoch that is not pruned yet must not be kept as the best
    if step != "slim":
        shared |= {"training_size": 0, "accumulate": 1, "ema": 0.0, "precision": "float32"}
    return recipe.replace(**shared)


def _begin(source: Run, output: Path, job: Job, settings: dict, distillation: float) -> None:
    model = source.model()
    if is_trained_for_int8(model):
        raise ValueError(f"{source.path} has been trained for int8: compress the run that it was made of")
    recipe = Recipe.load(source.path / RECIPE)
    if (source.path / JOB).is_file():  # the steps go by the training that it all began with
        recipe = Recipe.from_dict(files.read_json(source.path / JOB)["recipe"])
    for step in job.steps:
        recipe_of(recipe, step).override(settings)
    if job.macs:  # before hours of training
        slimming.choose(Anatomy(model), slimming.l1(model), job.macs)
    prunable = {layer.name for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))}
    for name in job.prune_layers or ():
        if name not in prunable:
            hint = did_you_mean(name, prunable)
            raise ValueError(f"`prune_layers` must be convolutions or dense layers of it.{hint} Received: {name!r}")
    known = {
        "source": str(source.path.resolve()),
        "job": asdict(job),
        "recipe": recipe.to_dict(),
        "settings": settings,
        "distillation": distillation,
    }
    with files.new_folder(output) as new:
        files.write_json(new / JOB, known)


class Slimmed(Continued):
    """A network that filters were cut from goes on learning.

    Args:
        pictures: batches of inputs, of which what is kept has its batch norms' statistics.
    """

    def __init__(self, *continued, pictures: Sequence[np.ndarray]):
        super().__init__(*continued)
        self._pictures = pictures

    def kept(self, trainee, network: keras.Model) -> keras.Model:
        network = super().kept(trainee, network)
        slimming.settle(network, self._pictures)
        return network


class _Compression:
    """What `compress` has begun in a folder."""

    def __init__(self, output: Path, say: Callable[[str], None], verbose: int | str, progress: Progress):
        known = files.read_json(output / JOB)
        self._output = output
        self._say = say
        self._verbose = verbose
        self._progress = progress
        self._source = Run(Path(known["source"]))
        self._job = Job(**known["job"])
        self._settings = known["settings"]
        self._distillation = known["distillation"]
        self._recipe = Recipe.from_dict(known["recipe"])

    def run(self) -> list[dict]:
        rows = files.read_json(self._output / REPORT) if (self._output / REPORT).exists() else []
        runs = {"source": self._source}
        for number, step in enumerate(self._job.steps, start=1):
            runs[step] = self._trained(f"{number}_{step}", step, list(runs.values())[-1], done=number < len(rows))
            for name in ("source", step)[len(rows) > 0 :]:
                if name not in [row["step"] for row in rows]:
                    rows.append(self._row(name, runs[name], rows))
                    files.write_json(self._output / REPORT, rows)
        if "latency_ms" not in rows[-1]:
            self._say("Timing the files side by side")
            for row, timed in zip(rows, benchmark([self._file(row["step"]) for row in rows]), strict=True):
                row |= {"latency_ms": timed["median_ms"], "ratio": timed["ratio"]}
            files.write_json(self._output / REPORT, rows)
        for name in (MODEL, LABELS, PREPROCESSING, METRICS, DATA, RECIPE):  # a run directory with the last of them
            with files.replacing(self._output / name) as beside:
                shutil.copyfile(runs[self._job.steps[-1]].path / name, beside)
        return rows

    def _trained(self, name: str, step: str, before: Run, *, done: bool) -> Run:
        """The run of a step, trained to its end."""
        path = self._output / STEPS / name
        if done:
            return Run(path)
        self._say(f"{step}: training")
        start = self._output / STEPS / f"{name}_{START}"
        if not start.exists():
            network = self._slimmed(before) if step == "slim" else before.model()
            with files.replacing(start) as beside:
                network.save(beside)
        network = load(start)
        options = Recipe.load(before.path / RECIPE).options
        if step == "slim":
            options = {**options, "filters": {**options.get("filters", {}), **_filters(before.model(), network)}}
        recipe = recipe_of(self._recipe, step).replace(options=options).override(self._settings)
        method = self._method(step, before, network, recipe)
        if path.exists():
            return train(None, path, resume=True, method=method, verbose=self._verbose)
        data = self._source.data
        return train(
            data["source"],
            path,
            recipe=recipe,
            validation=data["validation"],
            split_seed=data["seed"],
            method=method,
            verbose=self._verbose,
        )

    def _method(self, step: str, before: Run, network: keras.Model, recipe: Recipe) -> Continued:
        teacher = None
        if self._distillation:
            whole = inference_model(self._source.model())
            teacher = resized(whole, recipe.training_size or recipe.size)
            teacher.set_weights(whole.get_weights())
        continued = (network, before.preprocessing, teacher, self._distillation)
        if step == "slim":
            pictures = [x for x, _ in self._pictures(before.preprocessing, SETTLING_PICTURES)]
            return Slimmed(*continued, pictures=pictures)
        from keras_inception.compression import finetuning as methods

        job = self._job
        if job.prune and step == "prune":
            return methods.Pruning(*continued, sparsity=job.prune, schedule=job.prune_schedule, layers=job.prune_layers)
        if job.cluster and step == "cluster":
            return methods.Clustering(*continued, clusters=job.cluster)
        preserve = "clusters" if _is_clustered(network) else "sparsity" if _zeros(network) >= SPARSE else None
        pictures = np.concatenate([x for x, _ in self._pictures(before.preprocessing, RANGE_PICTURES)])
        return methods.Quantization(*continued, pictures=pictures, preserve=preserve)

    def _slimmed(self, before: Run) -> keras.Model:
        model, preprocessing = before.model(), before.preprocessing
        self._say(f"slim: ranking filters by {self._job.criterion}")
        pictures = self._pictures(preprocessing, RANKING_PICTURES)
        counted_pictures = counted(pictures, "Ranking filters", len(pictures), self._progress)
        scores = slimming.CRITERIA[self._job.criterion](inference_model(model), counted_pictures)
        anatomy = Anatomy(inference_model(model))
        for group in anatomy.groups():
            if group.fixed:
                self._say(f"slim: {', '.join(group.convolutions)} keeps all filters: {group.fixed}")
        share = self._job.macs or self._share_within(anatomy, scores, preprocessing)
        kept = slimming.choose(anatomy, scores, share)
        return slimming.slim(Anatomy(model), kept)

    def _share_within(self, anatomy: Anatomy, scores: Scores, preprocessing: Preprocessing) -> float:
        """The share of multiply-adds that a latency or a size leaves, by halving: ValueError if there is none."""
        name = "latency" if self._job.latency else "mb"
        budget = getattr(self._job, name)
        low, high = slimming.least(anatomy) / anatomy.macs({}), 1.0
        with tempfile.TemporaryDirectory(prefix="keras-inception-") as folder:
            whole, slim = (Path(folder) / f"{each}.tflite" for each in ("whole", "slim"))
            _int8(anatomy.model, preprocessing, whole)

            def is_within(share: float) -> bool:
                _int8(slimming.slim(anatomy, slimming.choose(anatomy, scores, share)), preprocessing, slim)
                before, after = _costs(name, [whole, slim])
                self._say(f"slim: {share:.2f} of the multiply-adds are {after / before:.2f} of the {name}")
                return (after / before if budget <= 1 else after) <= budget

            if not is_within(low):
                raise ValueError(
                    f"{anatomy.model.name} cannot be made so small: with {slimming.STAYS:.0%} of the filters in every "
                    f"convolution that can be cut it is above the budget still. Received: {name}={budget:g}"
                )
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                low, high = (middle, high) if is_within(middle) else (low, middle)
        return low

    def _pictures(self, preprocessing: Preprocessing, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Inputs and classes of so many training pictures, by batches."""
        pictures = datasets.open_data(**self._source.data).train
        chosen = np.random.default_rng(0).permutation(len(pictures))[:count]
        batches = datasets.evaluation_batches(pictures.select(np.sort(chosen)), preprocessing, BATCH)
        return [(np.asarray(x), np.asarray(y)) for x, y in batches]

    def _row(self, step: str, run: Run, before: list[dict]) -> dict:
        self._say(f"{step}: exporting to int8")
        path = self._file(step)
        report = export(
            run.path,
            path.parent,
            quantize=("int8",),
            name=path.stem.removesuffix("_int8"),
            min_agreement=0,
            clients=(),  # they are asked when the result is exported
            overwrite=True,
            on_progress=self._progress,
        )
        exported = report["variants"]["int8"]
        if "refused" in exported:
            raise ValueError(f"the int8 file of {run.path} is of no use: {exported['refused']}")
        if step in ("source", "slim"):
            costs = analysis.cost(inference_model(run.model()))
            macs, parameters = costs.macs, costs.parameters
        else:  # of the network as such, not of what is rewritten, and folded, for int8
            macs, parameters = before[-1]["macs"], before[-1]["parameters"]
        return {
            "step": step,
            "macs": macs,
            "parameters": parameters,
            "top1": exported["top1"],
            "mb": exported["mb"],
            "gzip_mb": gzip_mb(path),
            "sparsity": sparsity(path),
            "outside_delegate": exported["outside_delegate"],
        }

    def _file(self, step: str) -> Path:
        return self._output / STEPS / "exported" / step / "model_int8.tflite"


def _costs(budget: str, paths: Sequence[Path]) -> list[float]:
    """Milliseconds of some files side by side, or their megabytes."""
    if budget == "latency":
        return [row["median_ms"] for row in benchmark(paths)]
    return [path.stat().st_size / 1e6 for path in paths]


def _filters(before: keras.Model, after: keras.Model) -> dict[str, int]:
    """The filters of convolutions that have other ones than before."""
    convolutions = [layer for layer in before.layers if type(layer) is keras.layers.Conv2D]
    counts = {layer.name: after.get_layer(layer.name).filters for layer in convolutions}
    return {layer.name: counts[layer.name] for layer in convolutions if counts[layer.name] != layer.filters}


def _zeros(network: keras.Model) -> float:
    """Share of a network's kernels that is zero."""
    kernels = [layer.kernel.numpy() for layer in network.layers if hasattr(layer, "kernel")]
    return sum(int((kernel == 0).sum()) for kernel in kernels) / max(1, sum(kernel.size for kernel in kernels))


def _is_clustered(network: keras.Model) -> bool:
    """Whether the weights of each of its layers take few values."""
    kernels = [layer.kernel.numpy() for layer in network.layers if hasattr(layer, "kernel")]
    return all(len(np.unique(kernel)) <= CLUSTERED for kernel in kernels if kernel.size > 10 * CLUSTERED)


def _int8(model: keras.Model, preprocessing: Preprocessing, path: Path) -> None:
    """An int8 file that is as fast as the network's, and no more: it is calibrated with noise."""
    noise = np.random.default_rng(0).integers(0, 256, (4, *preprocessing.size, 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="keras-inception-") as folder:
        given = preprocessing.without_normalization()
        save(deployed(model, preprocessing, given), Path(folder) / "model")
        np.save(Path(folder) / "noise.npy", noise)
        convert(Path(folder) / "model", VARIANTS["int8"], path, Path(folder) / "noise.npy", given)
