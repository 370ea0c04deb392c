"""The images of all splits of a dataset in one order."""

from collections.abc import Iterable

import numpy as np

from keras_inception.datasets.examples import Examples
from keras_inception.datasets.splits import SPLITS, Found


class Images:
    """The images of all splits in one order: train, validation and test, each by class and name.

    Attributes:
        names: the splits.
        splits: name of each image's split, (n,).
        labels: name of each image's class, (n,).
    """

    def __init__(self, found: Found):
        self.names = [split for split in SPLITS if split in found.splits]
        self._examples = [found.splits[split] for split in self.names]
        counts = list(map(len, self._examples))
        self._ends = np.cumsum(counts)
        self.splits = np.repeat(np.array(self.names, object), counts)
        class_names = np.array(found.class_names, object)
        self.labels = np.concatenate([class_names[examples.labels] for examples in self._examples])

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> str:
        """Return an image's path relative to the folder of the dataset; without a folder, its name."""
        examples, place = self._place(index)
        return examples.path(place)

    def name(self, index: int) -> str:
        """Return an image's name for messages."""
        examples, place = self._place(index)
        return examples.name(place)

    def key(self, index: int) -> str:
        """Return an image's name in its split."""
        examples, place = self._place(index)
        return examples.keys[place]

    def find(self, paths: Iterable[str]) -> dict[str, int]:
        """Return the index of each of these paths."""
        wanted = set(paths)
        return {path: index for index in range(len(self)) if (path := self.path(index)) in wanted}

    def read(self, index: int) -> np.ndarray:
        """Read an image, uint8 RGB (height, width, 3); ValueError if it cannot be read."""
        examples, place = self._place(index)
        return examples.read(place)

    def _place(self, index: int) -> tuple[Examples, int]:
        split = int(np.searchsorted(self._ends, index, side="right"))
        return self._examples[split], index - int(self._ends[split]) + len(self._examples[split])
