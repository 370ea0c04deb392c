"""`Job`: what `compress` is to do to a run's network. Imports nothing heavy, so that a wrong one is told at once."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_inception.runs import Run

JOB = "compression.json"
BUDGETS = ("macs", "latency", "mb")
CRITERIA = ("taylor", "l1", "batch_norm_scale")
SCHEDULES = ("polynomial", "constant")


@dataclass(frozen=True)
class Job:
    """What is to be done to a run's network; at least one of it.

    Attributes:
        macs: multiply-adds to slim it to: a number, or up to 1 a share of what it has.
        latency: of the int8 file, on this machine and one thread, to slim it to: milliseconds, or up to 1 a share.
        mb: size of the int8 file to slim it to: megabytes, or up to 1 a share.
        criterion: by which filters are ranked, a key of `CRITERIA`.
        prune: share of the weights that become zero, in (0, 1), or ``"2:4"``.
        prune_schedule: ``"polynomial"`` prunes more and more in the first half of the training, ``"constant"`` all at
            its beginning, which is the only way to 2:4.
        prune_layers: names of the layers to prune; None is every convolution and dense layer.
        cluster: number of values that a layer's weights may have.
        quantize: train for int8.

    Raises:
        ValueError: an attribute is not as above.
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
        budgets = {name: value for name in BUDGETS if (value := getattr(self, name)) is not None}
        for name, value in budgets.items():
            if not 0 < value < math.inf:
                raise ValueError(f"`{name}` must be positive: a number, or a share up to 1. Received: {name}={value}")
        if len(budgets) > 1:
            received = ", ".join(f"{name}={value}" for name, value in budgets.items())
            raise ValueError(f"give one of {', '.join(BUDGETS)}. Received: {received}")
        if self.criterion not in CRITERIA:
            allowed = ", ".join(CRITERIA)
            raise ValueError(f"`criterion` must be one of {allowed}. Received: {self.criterion!r}")
        if self.prune not in (None, "2:4") and not (isinstance(self.prune, float) and 0 < self.prune < 1):
            raise ValueError(f"`prune` must be a share in (0, 1) or '2:4'. Received: prune={self.prune!r}")
        if self.prune_schedule not in SCHEDULES:
            allowed = " or ".join(SCHEDULES)
            raise ValueError(f"`prune_schedule` must be {allowed}. Received: {self.prune_schedule!r}")
        if self.cluster is not None and self.cluster < 2:
            raise ValueError(f"`cluster` must be 2 or more. Received: cluster={self.cluster}")
        if not self.steps:
            raise ValueError("there is nothing to do: give `macs`, `latency`, `mb`, `prune`, `cluster` or `quantize`")

    @property
    def steps(self) -> list[str]:
        """In their order."""
        wanted = {
            "slim": any(getattr(self, name) for name in BUDGETS),
            "prune": self.prune,
            "cluster": self.cluster,
            "quantize": self.quantize,
        }
        return [name for name, value in wanted.items() if value]


def check_compression(
    source: str | os.PathLike | None,
    output: str | os.PathLike,
    job: Job | None,
    *,
    settings: Mapping[str, str] | None,
    distillation: float,
    resume: bool,
) -> None:
    """Raise what `compress` raises for arguments that are wrong whatever the network is, before anything is loaded."""
    output = Path(output)
    if resume:
        if source is not None or job is not None or settings:
            raise ValueError(f"{output} knows its run and what is to be done: on resuming, give neither")
        if not (output / JOB).is_file():
            raise ValueError(f"{output} was not made by `compress`: it has no {JOB}")
        return
    if os.path.lexists(output):
        raise FileExistsError(f"{output} exists. Go on with it by resuming, or name another folder")
    if source is None or job is None:
        raise ValueError("`source` and `job` must be given, but on resuming")
    if not 0 <= distillation <= 1:
        raise ValueError(f"`distillation` must be in [0, 1]. Received: distillation={distillation}")
    if Path(source).suffix == ".tflite":
        raise ValueError(f"{source} is an exported file: compress the run directory that it was made of")
    Run(Path(source)).check_trained()
