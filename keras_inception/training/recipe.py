"""Recipes: everything that decides how a network is trained, as data."""

import dataclasses
import os
from dataclasses import dataclass, field

from keras_inception import files
from keras_inception.datasets import Augmentation

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Recipe:
    """How to train GoogLeNet on a folder of pictures, by AdamW with a warm-up and a cosine to zero.

    Attributes:
        size: side of the network's input, in pixels.
        training_size: side of the pictures in training; 0 is `size`. Random crops make things look larger than they
            will in use, so that training on somewhat smaller pictures is both faster and better (1906.06423).
        normalization: `keras_inception.GoogLeNet`'s.
        stem_stride: `keras_inception.GoogLeNet`'s.
        auxiliary: train with the auxiliary heads, their losses weighted by `auxiliary_weight` (0.3 in 1409.4842).
        dropout: rate before the classifier.
        crop: share of a picture's centre that is looked at outside training, as in `Preprocessing`.
        epochs: passes over the training pictures; the most there will be, if `minutes` is given.
        minutes: of training, by the clock. The schedule then ends after as many epochs as fit in.
        batch_size: pictures in a step.
        learning_rate: the highest, reached at the end of the warm-up.
        warmup_epochs: in which the learning rate rises from zero.
        weight_decay: decoupled from the gradient, as AdamW has it.
        ema: momentum of the average of the weights that is evaluated and saved, which spans a tenth of the steps at
            most; 0 keeps none.
        label_smoothing: share of the target spread over all classes (1512.00567, section 7).
        validate_every: epochs between two looks at the validation pictures; the last epoch always looks.
        augmentation: of the training pictures.
        precision: Keras' mixed precision policy; ``"auto"`` is bfloat16 where the processor multiplies it natively.
        seed: of the weights, the order, the augmentation and the dropout.

    Raises:
        ValueError: a field is out of its range.
    """

    size: int = 224
    training_size: int = 0
    normalization: str = "batch_norm"
    stem_stride: int = 8
    auxiliary: bool = True
    auxiliary_weight: float = 0.3
    dropout: float = 0.4
    crop: float = 0.875
    epochs: int = 60
    minutes: float | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    ema: float = 0.999
    label_smoothing: float = 0.1
    validate_every: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        ranges = {
            "size": (8, 4096),
            "training_size": (0, 4096),
            "stem_stride": (2, 8),
            "auxiliary_weight": (0, 10),
            "dropout": (0, 0.99),
            "crop": (0.01, 1),
            "epochs": (1, 100_000),
            "batch_size": (1, 65_536),
            "learning_rate": (0, 100),
            "warmup_epochs": (0, self.epochs),
            "weight_decay": (0, 10),
            "ema": (0, 0.999999),
            "label_smoothing": (0, 0.99),
            "validate_every": (1, 100_000),
            "seed": (0, 2**31 - 1),
        }
        if self.minutes is not None:
            ranges["minutes"] = (0.01, 10**6)
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            whole = self.__annotations__[name] is int
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"`{name}` must be {'a whole' if whole else 'a'} number. Received: {name}={value!r}")
            if not low <= value <= high:
                raise ValueError(f"`{name}` must be from {low} to {high}. Received: {name}={value!r}")
        if 0 < self.training_size < 8:
            raise ValueError(f"`training_size` must be 0, or 8 and more. Received: {self.training_size}")
        if self.normalization not in ("lrn", "batch_norm"):
            raise ValueError(f"`normalization` must be 'lrn' or 'batch_norm'. Received: {self.normalization!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {self.precision!r}")

    def replace(self, **changes) -> "Recipe":
        """A copy with other values for the named fields."""
        return dataclasses.replace(self, **changes)

    def save(self, path: str | os.PathLike) -> None:
        files.write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Recipe":
        """The recipe in a JSON file; ValueError naming the file if it is not one."""
        values = files.read_json(path)
        names = {item.name for item in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) - names:
            unknown = sorted(set(values) - names) if isinstance(values, dict) else values
            raise ValueError(f"{path} is not a recipe; its fields are {', '.join(sorted(names))}. Received: {unknown}")
        try:
            return cls(**{**values, "augmentation": Augmentation.from_dict(values.get("augmentation", {}))})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a recipe: {error}") from None


RECIPES = {
    # Photographs of any size; not run here.
    "default": Recipe(),
    # Small pictures, small data, little time: the demo's.
    "small": Recipe(
        size=96,
        training_size=80,
        crop=1.0,
        epochs=30,
        batch_size=64,
        learning_rate=2e-3,
        warmup_epochs=1.0,
        ema=0.99,
        validate_every=5,
    ),
}


def named_recipe(name: str) -> Recipe:
    """One of `RECIPES`, or the one in a JSON file of that path.

    Raises:
        ValueError: no such name, or the file does not hold a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    if not os.path.isfile(name):
        raise ValueError(f"`recipe` must be one of {', '.join(RECIPES)}, or a JSON file. Received: {name!r}")
    return Recipe.load(name)
