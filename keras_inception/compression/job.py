"""`Job`: the steps of a compression. Nothing heavy is imported, so that invalid jobs fail at once."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from keras_inception.compression.own import OwnModel
from keras_inception.datasets.sources import check_there
from keras_inception.model_files import is_saved_model
from keras_inception.runs import Run
from keras_inception.utils import files
from keras_inception.utils.checks import check_one_of

if TYPE_CHECKING:
    import keras

JOB, STEPS = "compression.json", "steps"
BUDGETS = ("macs", "latency", "mb")
CRITERIA = ("taylor", "l1", "batch_norm_scale")  # functions of `filter_pruning`
FILTER_PRUNING = "slim"  # the step's name in files and results


class JobOptions(TypedDict, total=False):
    """The attributes of a `Job`, as keyword arguments."""

    macs: float | None
    latency: float | None
    mb: float | None
    criterion: str
    prune: float | str | None
    prune_schedule: str
    prune_layers: Sequence[str] | None
    cluster: int | None
    quantize: bool


@dataclass(frozen=True)
class Job:
    """The steps of a compression. At least one step is required, and at most one budget for filter pruning.

    Example: ``Job(macs=0.5, quantize=True)`` prunes filters to half of the multiply-adds, then trains for int8.

    Attributes:
        macs: budget for filter pruning: multiply-adds, or a share of the network's if at most 1.
        latency: budget for filter pruning: milliseconds of the int8 file on this machine with one thread, or a share of
            the unpruned file's if at most 1.
        mb: budget for filter pruning: megabytes of the int8 file, or a share of the unpruned file's if at most 1.
        criterion: score by which filters are ranked, one of `CRITERIA`.
        prune: share of the weights to set to zero, in (0, 1), or ``"2:4"`` for two of every four.
        prune_schedule: ``"polynomial"`` raises the share over the first half of the training, ``"constant"`` prunes all
            weights at the start. 2:4 is always constant.
        prune_layers: names of the layers whose weights are pruned; None prunes all convolutions and dense layers.
        cluster: number of distinct weights in each layer, 2 or more.
        quantize: train for int8.

    Raises:
        ValueError: an attribute has an invalid value, or there is no step.
    """

    macs: float | None = None
    latency: float | None = None
    mb: float | None = None
    criterion: str = "taylor"
    prune: float | str | None = None
    prune_schedule: str = "polynomial"
    prune_layers: Sequence[str] | None = None
    cluster: int | None = None
    quantize: bool = False

    def __post_init__(self):
        given = [f"{name}={value}" for name in BUDGETS if (value := getattr(self, name)) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {', '.join(BUDGETS)}. Received: {', '.join(given)}")
        if self.budget and not 0 < self.budget[1] < math.inf:
            raise ValueError(f"`{self.budget[0]}` must be positive: a number, or a share up to 1. Received: {given[0]}")
        check_one_of("criterion", self.criterion, CRITERIA)
        check_one_of("prune_schedule", self.prune_schedule, ("polynomial", "constant"))
        if self.prune not in (None, "2:4") and not (isinstance(self.prune, float) and 0 < self.prune < 1):
            raise ValueError(f"`prune` must be a share in (0, 1) or '2:4'. Received: prune={self.prune!r}")
        if self.cluster is not None and self.cluster < 2:
            raise ValueError(f"`cluster` must be 2 or more. Received: cluster={self.cluster}")
        if not self.steps:
            raise ValueError("there is nothing to do: give `macs`, `latency`, `mb`, `prune`, `cluster` or `quantize`")

    @property
    def budget(self) -> tuple[str, float] | None:
        """Return the budget for filter pruning, such as ("macs", 0.5), or None."""
        return next(((name, value) for name in BUDGETS if (value := getattr(self, name)) is not None), None)

    @property
    def steps(self) -> list[str]:
        """Return the names of the steps in order."""
        wanted = {FILTER_PRUNING: self.budget, "prune": self.prune, "cluster": self.cluster, "quantize": self.quantize}
        return [name for name, value in wanted.items() if value]


def kept_so_far(output: Path) -> str:
    """Describe what a compression has finished.

    Raises:
        OSError, ValueError: `output` records no job.
    """
    steps = Job(**files.read_json(output / JOB)["job"]).steps
    paths = [output / STEPS / f"{number}_{step}" for number, step in enumerate(steps, start=1)]
    begun = [path for path in paths if path.is_dir()]
    if not begun:
        return f"{output} has no trained step yet"
    epoch = max(Run(begun[-1]).checkpoints, default=0)
    return f"{output} keeps step {len(begun)} of {len(steps)} ({steps[len(begun) - 1]}) up to epoch {epoch}"


def check_compression(
    source: "str | os.PathLike | keras.Model | None",
    output: str | os.PathLike,
    job: Job | None,
    own: OwnModel | None = None,
    *,
    settings: Mapping[str, str] | None,
    distillation: float,
    resume: bool,
) -> None:
    """Raise the errors of `compress` that do not depend on the network, before anything is loaded."""
    output = Path(output)
    if resume:
        if source is not None or job is not None or settings:
            raise ValueError(f"{output} records its run and its job: give neither when resuming")
        _check_resumable(output, own)
        return
    if os.path.lexists(output):
        raise FileExistsError(f"{output} exists. Resume it, or choose another folder")
    if source is None or job is None:
        raise ValueError("`source` and a job must be given unless resuming")
    if not 0 <= distillation <= 1:
        raise ValueError(f"`distillation` must be in [0, 1]. Received: distillation={distillation}")
    is_path = isinstance(source, (str, os.PathLike))
    if is_path and Path(source).suffix == ".tflite":
        raise ValueError(f"{source} is an exported file: compress the run directory that it came from")
    if is_path and is_saved_model(source):
        raise ValueError(f"{source} is a SavedModel, which has no layers: compress the .keras file that it came from")
    if is_path and not Path(source).is_file():
        run = Run(Path(source))
        run.check_trained()
        check_there(run, run.data)
        if own is not None:
            raise ValueError(f"`data` is for a model: {source} is a run, which has its own. Received: {own.data}")
    elif own is None:
        raise ValueError("`data` must be given for a model: a folder of images with class folders. Received: None")
    else:
        own.check()


def _check_resumable(output: Path, own: OwnModel | None) -> None:
    """Raise ValueError if a compression cannot be resumed, or if more than the place of its images is given."""
    if own is not None and own != OwnModel(own.data, validation=own.validation):
        raise ValueError(f"{output} records its model: when resuming, give only `data`, if the images were moved")
    if own is not None:
        own.check()
    if not (output / JOB).is_file():
        raise ValueError(f"{output} was not made by `compress`: it has no {JOB}")
