"""Find how far to prune filters to reach a given latency or size of the int8 file."""

from collections.abc import Callable
from pathlib import Path

import keras

from keras_inception.compression import filter_pruning
from keras_inception.compression.filter_pruning import DependencyGraph, Scores
from keras_inception.exporting.noise import convert_on_noise
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.benchmark import benchmark
from keras_inception.utils import files

BISECTIONS = 5


def macs_within(
    budget: tuple[str, float], graph: DependencyGraph, scores: Scores, preprocessing: Preprocessing, say: Callable
) -> float:
    """Bisect for the largest share of the multiply-adds at which the int8 file meets a budget.

    Args:
        budget: (kind, limit). The kind is "latency", measured on this machine with one thread, or "mb". A limit above 1
            is in milliseconds or megabytes; a limit of at most 1 is a share of the unpruned file's latency or size.
        graph: the network's dependency graph.
        scores: a score for each filter of each convolution.
        preprocessing: preprocessing that the network expects.
        say: called with a line of text for each share tried.

    Returns:
        A share of the multiply-adds, in (0, 1).

    Raises:
        ValueError: even the most heavily pruned network exceeds the budget.
    """
    kind, limit = budget
    low, high = filter_pruning.min_macs(graph) / graph.macs({}), 1.0
    with files.temporary_folder() as folder:
        unpruned, pruned = (folder / f"{name}.tflite" for name in ("unpruned", "pruned"))

        def write(model: keras.Model, path: Path) -> None:
            convert_on_noise(model, preprocessing, preprocessing.without_normalization(), {"int8": path})

        def is_within(share: float) -> bool:
            write(filter_pruning.prune(graph, filter_pruning.choose(graph, scores, share)), pruned)
            if kind == "latency":  # timed side by side, so that other work slows both
                before, after = (row["median_ms"] for row in benchmark([unpruned, pruned]))
            else:
                before, after = (path.stat().st_size / 1e6 for path in (unpruned, pruned))
            say(f"{share:.2f} of the multiply-adds: {after / before:.2f} times the original {kind}")
            return (after / before if limit <= 1 else after) <= limit

        write(graph.model, unpruned)
        if not is_within(low):
            raise ValueError(
                f"{graph.model.name} cannot be pruned that far: with {filter_pruning.MIN_KEPT:.0%} of the filters in "
                f"every prunable convolution, it is still above the budget. Received: {kind}={limit:g}"
            )
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if is_within(middle) else (low, middle)
    return low
