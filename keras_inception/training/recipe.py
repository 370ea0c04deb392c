"""`Recipe`: everything that decides how a network is trained, as data."""

import dataclasses
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_inception.datasets import Augmentation
from keras_inception.registry import family, resolve
from keras_inception.utils import files
from keras_inception.utils.suggestions import did_you_mean

CHOICES = {
    "optimizer": ("adamw", "rmsprop", "sgd"),
    "schedule": ("constant", "cosine", "exponential", "steps", "plateau"),
    "precision": ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    "xla": ("auto", "on", "off"),
}
RANGES = {
    "size": (8, 4096),
    "training_size": (0, 4096),
    "auxiliary_weight": (0, 10),
    "dropout": (0, 0.99),
    "crop": (0.01, 1),
    "epochs": (1, 100_000),
    "minutes": (0.01, 10**6),
    "batch_size": (1, 65_536),
    "accumulate": (1, 65_536),
    "momentum": (0, 0.9999),
    "rho": (0, 0.9999),
    "epsilon": (1e-10, 10),
    "learning_rate": (0, 100),
    "decay": (0.0001, 1),
    "decay_epochs": (0.01, 100_000),
    "warmup_epochs": (0, 100_000),
    "weight_decay": (0, 10),
    "clip_norm": (0, 10**6),
    "ema": (0, 0.999999),
    "label_smoothing": (0, 0.99),
    "thaw_learning_rate": (0, 100),
    "early_stopping": (0, 100_000),
    "validate_every": (1, 100_000),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class Recipe:
    """How to train a network on labelled pictures.

    Attributes:
        about: what it reaches, in what time and by which command.
        network: a name that `keras_inception.create` knows.
        options: arguments of the network's own, ``{"stem_stride": 4}`` of GoogLeNet's, say. Where it can be had and is
            not mentioned, ``normalization`` is ``"batch_norm"``.
        weights: to start from: ``"imagenet"`` or a file, as the networks' argument; None starts from random ones.
        size: side of the network's input, in pixels.
        training_size: side of the pictures in training; 0 is `size`. Random crops make things look larger than they
            will in use, so that training on somewhat smaller pictures is both faster and better (1906.06423).
        auxiliary: train with the auxiliary heads, if the network has some, their losses weighted by
            `auxiliary_weight` (0.3 in 1409.4842).
        dropout: rate before the classifier; None is the network's own.
        crop: share of a picture's centre that is looked at outside training, as in `Preprocessing`.
        epochs: passes over the training pictures; the most there will be, if `minutes` is given.
        minutes: of training, by the clock. The schedule then ends after as many epochs as fit in.
        batch_size: pictures in a step, on all devices together.
        accumulate: steps whose gradients are averaged before the weights are changed once.
        optimizer: Keras' ``"adamw"``, ``"sgd"`` or ``"rmsprop"``.
        momentum: of SGD and RMSProp.
        nesterov: SGD looks ahead by the momentum.
        rho: what RMSProp keeps of the average of squared gradients at each step.
        epsilon: added by RMSProp and AdamW to what they divide by; None is Keras' 1e-7.
        learning_rate: the highest.
        schedule: the learning rate by epochs: ``"constant"``; ``"cosine"`` down to zero; ``"exponential"``, times
            `decay` after every `decay_epochs`; ``"steps"``, times `decay` after each of `milestones`; or ``"plateau"``,
            times `decay` once the validation's top-1 has not risen for `decay_epochs`.
        milestones: epochs, rising.
        warmup_epochs: in which the learning rate of a cosine rises from zero; half of `epochs` at most.
        weight_decay: as Keras has it, apart from the gradient: a step takes ``learning_rate * weight_decay`` off each
            weight. A penalty λ in the loss, as the papers have it, is that of λ / (1 - momentum).
        clip_norm: longest that all gradients together may be; 0 is no limit.
        ema: momentum of the average of the weights that is evaluated and saved (Polyak's), which spans a tenth of the
            steps of all `epochs` at most; 0 keeps none.
        label_smoothing: share of the target spread over all classes (1512.00567, section 7).
        class_weights: pictures of rare classes count more, by the inverse of their share.
        freeze_epochs: in the first of which only classifier and heads are trained, at `learning_rate`, and after which
            the whole network is, at `thaw_learning_rate`.
        thaw_learning_rate: 0 is a tenth of `learning_rate`.
        early_stopping: the training ends when the validation's top-1 has not risen for so many epochs; 0 is never.
        validate_every: epochs between two looks at the validation pictures; the last epoch always looks.
        augmentation: of the training pictures.
        precision: Keras' mixed precision policy; ``"auto"`` is bfloat16 where the processor multiplies it natively.
        xla: compile by XLA; ``"auto"`` does on a GPU, for on a CPU it is several times slower.
        tensorboard: log for TensorBoard, into the run's ``logs``; takes the extra ``tensorboard``.
        seed: of the weights, the order, the augmentation and the dropout.

    Raises:
        ValueError: a field is of the wrong type or out of its range.
    """

    about: str = ""
    network: str = "googlenet"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    size: int = 224
    training_size: int = 0
    auxiliary: bool = True
    auxiliary_weight: float = 0.3
    dropout: float | None = None
    crop: float = 0.875
    epochs: int = 60
    minutes: float | None = None
    batch_size: int = 32
    accumulate: int = 1
    optimizer: str = "adamw"
    momentum: float = 0.9
    nesterov: bool = False
    rho: float = 0.9
    epsilon: float | None = None
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup_epochs: float = 2.0
    decay: float = 0.1
    decay_epochs: float = 30.0
    milestones: tuple[float, ...] = ()
    weight_decay: float = 0.05
    clip_norm: float = 0.0
    ema: float = 0.999
    label_smoothing: float = 0.1
    class_weights: bool = False
    freeze_epochs: int = 0
    thaw_learning_rate: float = 0.0
    early_stopping: int = 0
    validate_every: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: str = "auto"
    xla: str = "auto"
    tensorboard: bool = False
    seed: int = 0

    def __post_init__(self):
        for each in dataclasses.fields(self):
            _check_type(each.name, getattr(each.type, "__name__", str(each.type)), getattr(self, each.name))
        ranges = {**RANGES, "freeze_epochs": (0, self.epochs)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"`{name}` must be from {low} to {high}. Received: {name}={value!r}")
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                allowed = ", ".join(choices)
                raise ValueError(
                    f"`{name}` must be one of {allowed}.{did_you_mean(value, choices)} Received: {name}={value!r}"
                )
        if 0 < self.training_size < RANGES["size"][0]:
            raise ValueError(f"`training_size` must be 0, or 8 and more. Received: {self.training_size}")
        milestones = self.milestones if isinstance(self.milestones, (list, tuple)) else [None]
        are_numbers = all(isinstance(each, (int, float)) and each > 0 for each in milestones)
        if not are_numbers or list(milestones) != sorted(set(milestones)):
            raise ValueError(f"`milestones` must be epochs, rising. Received: milestones={self.milestones!r}")
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError(
                "`milestones` belong to the schedule 'steps', and it needs some. "
                f"Received: schedule={self.schedule!r}, milestones={self.milestones}"
            )
        if not isinstance(self.options, Mapping):
            raise ValueError(f"`options` must be arguments of the network by name. Received: options={self.options!r}")
        if not isinstance(self.augmentation, Augmentation):
            raise ValueError(
                f"`augmentation` must be an Augmentation, or its fields one by one. Received: {self.augmentation!r}"
            )
        object.__setattr__(self, "milestones", tuple(map(float, milestones)))
        object.__setattr__(self, "network", resolve(self.network))

    def replace(self, **changes) -> "Recipe":
        """A copy with other values for the named fields.

        A `network` of another family does not keep the `options`, and another `size` not the `training_size`.
        """
        if family(resolve(changes.get("network", self.network))) != family(self.network):
            changes = {"options": {}, **changes}
        if changes.get("size", self.size) != self.size:
            changes = {"training_size": 0, **changes}
        return dataclasses.replace(self, **changes)

    def override(self, assignments: Mapping[str, str]) -> "Recipe":
        """A copy with fields given as text, as a command line has them.

        Args:
            assignments: field to value, ``{"epochs": "90", "options.stem_stride": "4", "augmentation.area": "0.5,1"}``

        Raises:
            ValueError: there is no such field, or it does not take the value.
        """
        if "network" in assignments:
            rest = {place: text for place, text in assignments.items() if place != "network"}
            return self.replace(network=assignments["network"]).override(rest)
        changes: dict[str, Any] = {}
        for place, text in assignments.items():
            name, _, inner = place.partition(".")
            _check_known([name])
            if not inner:
                changes[name] = _value(text, name)
            elif name == "options":
                changes["options"] = {**changes.get("options", self.options), inner: _value(text)}
            elif name == "augmentation":
                before = changes.get("augmentation", self.augmentation).to_dict()
                changes["augmentation"] = Augmentation.from_dict({**before, inner: _value(text)})
            else:
                raise ValueError(f"`{name}` has no parts. Received: {place}={text}")
        return self.replace(**changes)

    def to_dict(self) -> dict:
        """The fields, as JSON can hold them."""
        return dataclasses.asdict(self)

    def check_installed(self) -> None:
        """Raise ValueError if what the recipe takes is not installed."""
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ValueError("`tensorboard` takes TensorBoard: install keras-inception[tensorboard]")

    @classmethod
    def from_dict(cls, values: Mapping) -> "Recipe":
        """The inverse of `to_dict`; fields that are not there have their defaults.

        Raises:
            ValueError: an unknown field, or a value that it does not take.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a recipe is an object of fields. Received: {values!r:.200}")
        _check_known(values)
        changes = dict(values)
        if "augmentation" in changes:
            changes["augmentation"] = Augmentation.from_dict(changes["augmentation"])
        return cls(**changes)

    def save(self, path: str | os.PathLike) -> None:
        files.write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Recipe":
        """The recipe in a JSON file; ValueError naming the file if it is not one."""
        try:
            return cls.from_dict(files.read_json(path))
        except ValueError as error:
            named = str(error).startswith(str(path))
            raise ValueError(str(error) if named else f"{path} is not a recipe: {error}") from None


FIELDS = tuple(each.name for each in dataclasses.fields(Recipe))
KINDS: dict[str, tuple[Any, str]] = {
    "str": (str, "text"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
}


def _check_type(name: str, annotation: str, value) -> None:
    kind, _, optional = annotation.partition(" | ")
    if kind not in KINDS or (optional and value is None):
        return
    types, expected = KINDS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")


def _check_known(names) -> None:
    for name in names:
        if name not in FIELDS:
            hint = did_you_mean(str(name), FIELDS)
            raise ValueError(f"there is no field {name!r} in a recipe.{hint} Its fields are {', '.join(FIELDS)}")


def _value(text: str, name: str = ""):
    """What a text on the command line stands for: JSON, numbers by commas, or the text as it is."""
    if text.lower() in ("none", "null"):
        return None
    if name == "milestones":
        text = f"[{text}]"
    for candidate in (text, f"[{text}]" if "," in text else text, text.lower()):
        try:
            return json.loads(candidate)
        except ValueError:
            pass
    return text
