"""`Recipe`: all settings of a training run, as data."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from keras_inception.datasets import Augmentation
from keras_inception.registry import family, resolve
from keras_inception.utils import files
from keras_inception.utils.checks import check_one_of
from keras_inception.utils.suggestions import did_you_mean

Size: TypeAlias = int | tuple[int, int]  # a side in pixels, or (height, width)


@dataclass(frozen=True)
class Recipe:
    """All settings for training on labeled images.

    Example::

        recipe = Recipe(network="resnet34", epochs=90, optimizer="sgd", learning_rate=0.1)
        recipe = RECIPES["small"].replace(minutes=20)

    Attributes:
        about: the results of the recipe, and the time and command that they take.
        network: a name that `keras_inception.create` accepts, such as ``"googlenet"`` or ``"keras:EfficientNetV2B0"``.
            None: a network of one's own, which is only trained further, by `keras_inception.compress`.
        options: the network's own arguments, such as ``{"stem_stride": 4}`` for GoogLeNet. ``normalization`` defaults
            to ``"batch_norm"`` for networks that accept it.
        weights: the initial weights: ``"imagenet"`` or a file, as for the networks; or a run directory or its
            ``model.keras``. The preprocessing of the weights comes along. None: random initialization.
        size: side of the network's input in pixels, or (height, width).
        training_size: side, or (height, width), of the training images in pixels; 0 means `size`. Random crops make
            objects look larger than at test time, so training on somewhat smaller images is both faster and better
            (1906.06423).
        auxiliary: train with the auxiliary heads, if the network has any.
        auxiliary_weight: loss weight of each auxiliary head (0.3 in 1409.4842).
        dropout: dropout rate before the classifier. None: the network's default.
        channels: ``"RGB"``, or ``"gray"`` for a network of one channel, for which images are converted to gray.
        fitting: how images of another aspect ratio are fitted to the input: ``"crop"`` takes the center of the input's
            aspect ratio, ``"stretch"`` ignores the aspect ratio, and ``"pad"`` keeps the whole image on a gray ground.
            None: as the weights were trained; ``"crop"`` without weights.
        crop: center crop fraction outside of training, as in `Preprocessing`. None: that of the weights; without
            weights 0.875, or 1 with ``fitting="stretch"`` or ``"pad"``.
        epochs: passes over the training images, or their maximum if `minutes` is given.
        extended_at: finished epochs when `epochs` was last changed by resuming; the schedule is laid anew over the
            rest. Set by `train`.
        minutes: wall-clock time budget. The schedule then ends after as many epochs as fit.
        batch_size: images per step, over all devices.
        accumulate: steps whose gradients are averaged into one weight update.
        optimizer: Keras' ``"adamw"``, ``"sgd"`` or ``"rmsprop"``.
        momentum: momentum of SGD and RMSProp.
        nesterov: use Nesterov momentum in SGD.
        rho: decay of RMSProp's average of squared gradients.
        epsilon: added to the denominator of RMSProp and AdamW. None: Keras' 1e-7.
        learning_rate: the peak learning rate.
        schedule: the learning rate over the epochs: ``"constant"``; ``"cosine"`` down to zero; ``"exponential"``,
            multiplied by `decay` every `decay_epochs`; ``"steps"``, multiplied by `decay` after each of `milestones`;
            or ``"plateau"``, multiplied by `decay` when the validation top-1 has not improved for `decay_epochs`.
        warmup_epochs: epochs of linear warmup before cosine decay; at most half of `epochs`.
        decay: factor by which ``"exponential"``, ``"steps"`` and ``"plateau"`` lower the learning rate.
        decay_epochs: epochs between these reductions, or the patience of ``"plateau"``.
        milestones: epochs in ascending order, for ``"steps"``.
        weight_decay: decoupled weight decay, as in Keras: each step subtracts ``learning_rate * weight_decay`` times
            the weight. A penalty λ in the loss, as in the papers, corresponds to λ / (1 - momentum).
        clip_norm: maximum global norm of the gradients; 0 disables clipping.
        ema: momentum of the moving average of the weights (Polyak averaging), which is evaluated and saved instead of
            the weights. It spans at most a tenth of all steps. 0 disables averaging.
        label_smoothing: fraction of the target to spread over all classes (1512.00567, section 7).
        class_weights: weight images by the inverse frequency of their class.
        freeze_epochs: initial epochs that train only the classifier and the auxiliary heads, at `learning_rate`. The
            remaining epochs train the whole network at `thaw_learning_rate`.
        freeze_batch_norm: never train the batch norms, except those of the classifiers: they keep the scales and the
            statistics of `weights`.
        thaw_learning_rate: the peak learning rate after `freeze_epochs`; 0 means a tenth of `learning_rate`.
        early_stopping: epochs without a better validation top-1 after which training stops; 0 means never.
        validate_every: epochs between validations; the last epoch is always validated.
        augmentation: augmentation of the training images.
        precision: Keras' dtype policy. ``"auto"``: mixed_bfloat16 if the CPU supports it natively, else float32.
        xla: compile with XLA. ``"auto"``: on GPUs only, since it is several times slower on a CPU.
        tensorboard: write TensorBoard logs to the run's ``logs``; needs the extra ``tensorboard``.
        seed: seed of the initialization, shuffling, augmentation and dropout.

    Raises:
        ValueError: a field has the wrong type or is out of range.
    """

    about: str = ""
    network: str | None = "googlenet"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    size: Annotated[Size, (8, 4096)] = 224
    training_size: Annotated[Size, (0, 4096)] = 0
    auxiliary: bool = True
    auxiliary_weight: Annotated[float, (0, 10)] = 0.3
    dropout: Annotated[float | None, (0, 0.99)] = None
    channels: Literal["RGB", "gray"] = "RGB"
    fitting: Literal["crop", "stretch", "pad", None] = None
    crop: Annotated[float | None, (0.01, 1)] = None
    epochs: Annotated[int, (1, 100_000)] = 60
    extended_at: int = 0
    minutes: Annotated[float | None, (0.01, 10**6)] = None
    batch_size: Annotated[int, (1, 65_536)] = 32
    accumulate: Annotated[int, (1, 65_536)] = 1
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    momentum: Annotated[float, (0, 0.9999)] = 0.9
    nesterov: bool = False
    rho: Annotated[float, (0, 0.9999)] = 0.9
    epsilon: Annotated[float | None, (1e-10, 10)] = None
    learning_rate: Annotated[float, (0, 100)] = 1e-3
    schedule: Literal["constant", "cosine", "exponential", "steps", "plateau"] = "cosine"
    warmup_epochs: Annotated[float, (0, 100_000)] = 2.0
    decay: Annotated[float, (0.0001, 1)] = 0.1
    decay_epochs: Annotated[float, (0.01, 100_000)] = 30.0
    milestones: tuple[float, ...] = ()
    weight_decay: Annotated[float, (0, 10)] = 0.05
    clip_norm: Annotated[float, (0, 10**6)] = 0.0
    ema: Annotated[float, (0, 0.999999)] = 0.999
    label_smoothing: Annotated[float, (0, 0.99)] = 0.1
    class_weights: bool = False
    freeze_epochs: int = 0
    freeze_batch_norm: bool = False
    thaw_learning_rate: Annotated[float, (0, 100)] = 0.0
    early_stopping: Annotated[int, (0, 100_000)] = 0
    validate_every: Annotated[int, (1, 100_000)] = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    xla: Literal["auto", "on", "off"] = "auto"
    tensorboard: bool = False
    seed: Annotated[int, (0, 2**31 - 1)] = 0

    def __post_init__(self):
        for each in dataclasses.fields(self):
            _check(each.name, each.type, getattr(self, each.name))
        _check_range("freeze_epochs", self.freeze_epochs, 0, self.epochs)
        _check_range("extended_at", self.extended_at, 0, self.epochs - 1)
        for name in ("size", "training_size"):  # square sizes are recorded as one number
            height, width = sides(getattr(self, name))
            object.__setattr__(self, name, height if height == width else (height, width))
        if self.training_size and min(sides(self.training_size)) < 8:
            raise ValueError(f"`training_size` must be 0, or at least 8. Received: {self.training_size}")
        if self.fitting == "pad" and self.crop not in (None, 1):
            raise ValueError(f"`crop` must be 1 with fitting 'pad', which cuts off nothing. Received: {self.crop}")
        milestones = self.milestones if isinstance(self.milestones, (list, tuple)) else [None]
        are_numbers = all(isinstance(each, (int, float)) and each > 0 for each in milestones)
        if not are_numbers or list(milestones) != sorted(set(milestones)):
            raise ValueError(
                f"`milestones` must be epochs in ascending order. Received: milestones={self.milestones!r}"
            )
        if (self.schedule == "steps") != bool(milestones):
            raise ValueError(
                "`milestones` belong to the schedule 'steps', which needs at least one. "
                f"Received: schedule={self.schedule!r}, milestones={self.milestones}"
            )
        object.__setattr__(self, "milestones", tuple(map(float, milestones)))
        if self.network is not None:
            object.__setattr__(self, "network", resolve(self.network))
        elif self.options or self.weights or self.freeze_epochs:
            raise ValueError("`options`, `weights` and `freeze_epochs` require a `network`. Received: network=None")

    def replace(self, **changes) -> "Recipe":
        """Return a copy with new values for the named fields.

        A `network` of another family resets `options`, another `size` resets `training_size`, and other `weights` reset
        `fitting` and `crop`, since weights bring their own. With fewer `epochs`, `freeze_epochs` keep their share.
        """
        _check_known(changes)
        if _family(changes.get("network", self.network)) != _family(self.network):
            changes = {"options": {}, **changes}
        if changes.get("size", self.size) != self.size:
            changes = {"training_size": 0, **changes}
        if changes.get("weights", self.weights) != self.weights:
            changes = {"fitting": None, "crop": None, **changes}
        epochs = changes.get("epochs", self.epochs)
        if self.freeze_epochs and isinstance(epochs, int) and epochs < self.epochs:
            changes = {"freeze_epochs": max(1, round(self.freeze_epochs * epochs / self.epochs)), **changes}
        return dataclasses.replace(self, **changes)

    def from_scratch(self) -> "Recipe":
        """Return a copy that begins with random weights, with nothing frozen."""
        return self.replace(weights=None, freeze_epochs=0, freeze_batch_norm=False)

    def override(self, assignments: Mapping[str, str]) -> "Recipe":
        """Return a copy with fields set from text, as on a command line.

        Args:
            assignments: value by field: ``{"epochs": "90", "options.stem_stride": "4", "augmentation.area": "0.5,1"}``.

        Raises:
            ValueError: there is no such field, or it does not accept the value.
        """
        base = self.replace(network=assignments.get("network", self.network))  # first: options depend on it
        changes: dict[str, Any] = {}
        for place, text in assignments.items():
            name, _, inner = place.partition(".")
            _check_known([name])
            if not inner:
                changes[name] = _value(text, name)
            elif name == "options":
                changes["options"] = {**changes.get("options", base.options), inner: _value(text)}
            elif name == "augmentation":
                before = changes.get("augmentation", base.augmentation).to_dict()
                changes["augmentation"] = Augmentation.from_dict({**before, inner: _value(text)})
            else:
                raise ValueError(f"`{name}` has no subfields. Received: {place}={text}")
        return base.replace(**changes)

    def to_dict(self) -> dict:
        """Return the fields as JSON types."""
        return dataclasses.asdict(self)

    def check_installed(self) -> None:
        """Raise ValueError if a package that the recipe needs is not installed."""
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ValueError("`tensorboard` needs TensorBoard: install keras-inception[tensorboard]")

    @classmethod
    def from_dict(cls, values: Mapping) -> "Recipe":
        """Create a recipe from a dictionary like that of `to_dict`. Missing fields take their defaults.

        Raises:
            ValueError: a field is unknown, or does not accept its value.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a recipe must be a JSON object. Received: {values!r:.200}")
        _check_known(values)
        changes = dict(values)
        if "augmentation" in changes:
            changes["augmentation"] = Augmentation.from_dict(changes["augmentation"])
        return cls(**changes)

    def save(self, path: str | os.PathLike) -> None:
        """Write the recipe to a JSON file."""
        files.write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Recipe":
        """Read a recipe from a JSON file. Raise ValueError with the name of the file if it is not a recipe."""
        values = files.read_json(path)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path} is not a recipe: {error}") from None


def sides(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size in a recipe."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def size_from(text: str) -> Size:
    """Parse a size from the command line: a side, or ``HEIGHTxWIDTH``.

    Raises:
        ValueError: it is neither.
    """
    match = re.fullmatch(r"(\d{1,9})(?:\s*[xX×]\s*(\d{1,9}))?", text.strip())
    if not match:
        raise ValueError(f"`size` must be a side in pixels, such as 96, or HEIGHTxWIDTH: 64x192. Received: {text!r}")
    return (int(match[1]), int(match[2])) if match[2] else int(match[1])


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2


FIELDS = tuple(each.name for each in dataclasses.fields(Recipe))
# Names of other tools for our fields.
OTHER_NAMES = {
    **dict.fromkeys(("lr", "lr0", "base_lr", "initial_lr"), "learning_rate"),
    **dict.fromkeys(("model", "arch", "architecture", "backbone", "model_name"), "network"),
    **dict.fromkeys(("img_size", "image_size", "imgsz", "input_size", "input_shape", "resolution"), "size"),
    **dict.fromkeys(("batch", "bs"), "batch_size"),
    **dict.fromkeys(("pretrained", "checkpoint", "resume_from"), "weights"),
    **dict.fromkeys(("num_epochs", "n_epochs", "nb_epochs", "max_epochs"), "epochs"),
    **dict.fromkeys(("patience", "early_stop"), "early_stopping"),
    **dict.fromkeys(("wd", "decay_rate"), "weight_decay"),
    **dict.fromkeys(("freeze", "frozen_epochs"), "freeze_epochs"),
    **dict.fromkeys(("scheduler", "lr_schedule"), "schedule"),
    **dict.fromkeys(("resize", "resize_mode"), "fitting"),
    **dict.fromkeys(("optim", "opt"), "optimizer"),
    "random_seed": "seed",
    "augment": "augmentation",
    "dropout_rate": "dropout",
}
# By field type: its description in error messages, and the accepted classes.
KINDS: dict[Any, tuple[str, tuple[type, ...]]] = {
    str: ("text", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    Mapping: ("a mapping of the network's arguments", (Mapping,)),
    Augmentation: ("an Augmentation, or be set field by field", (Augmentation,)),
}


def _family(network: str | None) -> str | None:
    return network and family(resolve(network))


def _check(name: str, annotation: Any, value: Any) -> None:
    """Raise ValueError unless a field's value has the type, range or choices of the field's annotation."""
    kind = get_origin(annotation) or annotation
    if kind is Literal:
        check_one_of(name, value, get_args(annotation))
    elif annotation == Size:
        if not all(type(side) is int for side in (value if _is_pair(value) else [value])):
            expected = "a whole number of pixels, or the two of (height, width)"
            raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
    elif kind is Annotated:
        inner, limits = get_args(annotation)
        _check(name, inner, value)
        for each in value if _is_pair(value) else [value]:
            if each is not None:
                _check_range(name, each, *limits)
    elif kind is UnionType:
        if value is not None:
            _check(name, get_args(annotation)[0], value)
    elif kind in KINDS:
        expected, types = KINDS[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be from {low} to {high}. Received: {name}={value!r}")


def _check_known(names) -> None:
    for name in names:
        if name not in FIELDS:
            other = OTHER_NAMES.get(str(name).lower().replace("-", "_"))
            hint = f" Did you mean {other}?" if other else did_you_mean(str(name), FIELDS)
            raise ValueError(f"a recipe has no field {name!r}.{hint} Its fields are {', '.join(FIELDS)}")


def _value(text: str, name: str = ""):
    """Parse a value from the command line: JSON, comma-separated numbers, or else the text itself."""
    if text.lower() == "none":
        return None
    if name in ("size", "training_size") and re.fullmatch(r"\d+\s*[xX×]\s*\d+", text.strip()):
        return size_from(text)
    if name == "milestones":
        text = f"[{text}]"
    for candidate in (text, f"[{text}]" if "," in text else text, text.lower()):
        with contextlib.suppress(ValueError):
            return json.loads(candidate)
    return text
