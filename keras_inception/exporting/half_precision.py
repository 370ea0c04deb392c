"""Half precision: let phones run a float16 file in 16 bits, if its answers stay.

XNNPACK computes a float file in half precision, sums included, if an entry in its metadata allows it and the processor
can: an ARM processor since ARMv8.2. Nothing warns of what then goes wrong. A sum above 65,504 is infinite even if the
result is small, and coefficients below 2⁻¹⁴ are flushed to zero. x86 processors multiply in half precision but add in
float32, so that neither can be seen on them: the ranges are measured instead. Only a run on ARM is a proof, and the
client `arm64` emulates it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_inception.exporting.clients import IMAGES as CLIENT_IMAGES
from keras_inception.exporting.clients import arm64, exchange
from keras_inception.exporting.verify import Reference, accuracy, agreement, decision_agreement, evenly
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.delegate import undelegated
from keras_inception.tflite.model_entries import with_entry
from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError, run_module

if TYPE_CHECKING:
    import keras

ENTRY, FP16 = "reduced_precision_support", b"fp16accfp16"  # multiply and add in half precision
LARGEST = float(np.finfo(np.float16).max) / 4  # images that were not measured may reach more
SMALLEST = float(np.finfo(np.float16).tiny)
CHILD = f"{__name__}_child"
BATCH = 16
IMAGES, SUMMED = 100, 32  # held-out images to classify, and to measure sums on
TOLERANCE = 0.02  # how far probabilities may part from those in float32 on ARM

# Operations that add no products, so that their outputs are the largest values that occur.
PLAIN = {
    *("Activation", "Add", "BatchNormalization", "Clip", "Concatenate", "ConstantScale", "Cropping2D", "Dropout"),
    *("ELU", "Flatten", "GetItem", "GlobalMaxPooling2D", "HardSigmoid", "HardSwish", "Identity", "InputLayer"),
    *("LeakyReLU", "MaxPooling2D", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "Pad", "Permute"),
    *("ReLU", "Relu", "Relu6", "Rescaling", "Reshape", "Resizing", "Sigmoid", "Silu", "Slice", "Softmax"),
    *("SpaceToDepth", "Squeeze", "Subtract", "Swish", "Tanh", "Transpose", "UpSampling2D", "ZeroPadding2D"),
    *("ZeroPaddingShortcut", "ExpandDims", "TrueDivide", "Divide"),
}


class HalfPrecisionError(ValueError):
    """A file must not be run in half precision; the message is the reason."""


def trial(
    path: Path,
    model: "keras.Model",
    preprocessing: Preprocessing,
    reference: Reference,
    min_agreement: float,
    *,
    on_arm: bool = False,
) -> dict[str, Any]:
    """Try a file in half precision and, if its answers stay, write the entry that allows it.

    Three things must hold on held-out images: no sum exceeds `LARGEST`, no coefficient is flushed to zero, and the file
    agrees with Keras in forced half precision. The last is a test of rounding only, since x86 adds in float32. A fourth
    is tried on request: the file agrees on the emulated ARM, which adds in half precision.

    Args:
        path: the file, before its metadata are written.
        model: the Keras model that it was converted from.
        preprocessing: preprocessing that the file's input expects.
        reference: Keras' predictions for held-out images.
        min_agreement: minimum share of images on which both must predict the same class.
        on_arm: whether to run the file on the emulated ARM (`native`).

    Returns:
        ``allowed``, and ``reason`` if it is not; ``largest_sum`` and its ``layer``; ``agreement``, ``top1`` and
        ``max_difference`` as in a variant's row of the report; ``arm64``, the outcome of `native`. What was not
        reached is None.
    """
    keys = ("reason", "largest_sum", "layer", "agreement", "top1", "max_difference", "arm64")
    row: dict[str, Any] = dict.fromkeys(keys)
    some = evenly(len(reference.images), IMAGES)
    images, expected = reference.images[some], reference.probabilities[some]
    labels = None if reference.labels is None else reference.labels[some]
    try:
        check_coefficients(path)
        summed = images[evenly(len(images), SUMMED)]
        reached = largest_sum(model, preprocessing.normalize(summed.astype(np.float32)))
        row |= {"largest_sum": reached.largest, "layer": reached.layer}
        if not reached.largest <= LARGEST:
            raise HalfPrecisionError(f"sums in {reached.layer} reach {reached.largest:,.0f}, more than {LARGEST:,.0f}")
        found = predict(path, images, preprocessing)
        compare = decision_agreement if reference.independent else agreement
        row |= {"agreement": compare(found, expected), "top1": accuracy(found, labels)["top1"]}
        row["max_difference"] = _largest(found - expected)
        if not row["agreement"] >= min_agreement:
            raise HalfPrecisionError(f"it agrees with Keras on {row['agreement']:.1%} of {len(images)} images")
        if on_arm:
            some = evenly(len(images), CLIENT_IMAGES["arm64"])
            row["arm64"] = native(path, preprocessing, images[some], expected[some], compare)
            _check_native(row["arm64"], min_agreement)
    except (HalfPrecisionError, ChildError) as error:
        return {"allowed": False, **row, "reason": str(error)}
    allow(path)
    return {"allowed": True, **row}


def remark(row: Mapping[str, Any] | None) -> str:
    """Return what the model card and the page say about the outcome of a `trial`; None if there was none."""
    if row is None:
        return "phones compute it in float32, since half precision was not tried."
    if not row["allowed"]:
        return f"phones compute it in float32, since {row['reason']}. {_on_gpus(row)}"
    largest, limit, arm = row["largest_sum"], np.finfo(np.float16).max, row.get("arm64")
    proof = "This was measured on a processor that adds in float32; on ARM it was not run."
    if arm is not None:
        proof = (
            "It is proven on an emulated ARM processor (Neoverse N1), which adds in half precision: there it agrees "
            f"with Keras on {arm['agreement']:.1%} of {arm['images']} images, and its probabilities part from those in "
            f"float32 by up to {arm['max_difference']:.1g}."
        )
    return (
        f"phones may compute it in half precision, in which no number exceeds {limit:,.0f}. On held-out images its "
        f"largest sum is {largest:,.0f}, in {row['layer']}, and in forced half precision it agrees with Keras on "
        f"{row['agreement']:.1%} of them. {proof} {_on_gpus(row)}"
    )


def _on_gpus(row: Mapping[str, Any]) -> str:
    """Return what a `trial` means for GPUs: they compute in half precision without being asked."""
    if row["largest_sum"] is not None and row["largest_sum"] <= LARGEST:
        return "It is within the range in which GPUs compute by default; that it is right there was not tried."
    return "GPUs compute in half precision by default: ask for float32 there."


def native(
    path: Path, preprocessing: Preprocessing, images: np.ndarray, expected: np.ndarray, compare: Callable
) -> dict[str, Any]:
    """Run a file in half precision on the emulated ARM, sums included, whether or not it has the entry.

    Args:
        path: the file.
        preprocessing: preprocessing that the file's input expects.
        images: uint8 RGB (n, height, width, 3) of the input's size.
        expected: Keras' probabilities for them, (n, classes).
        compare: `agreement` or `decision_agreement`.

    Returns:
        The number of ``images``, the ``agreement`` with Keras, the ``max_difference`` of probabilities from the file's
        in float32 on this machine, None if they are no numbers, and the ``tolerance`` for it.

    Raises:
        ChildError: LiteRT or the emulation fails.
    """
    with files.temporary_folder() as folder:
        allowed = folder / path.name
        allowed.write_bytes(with_entry(path.read_bytes(), ENTRY, FP16))
        classifier = TFLiteClassifier(allowed, preprocessing=preprocessing, isolated=False)
        found, here = arm64.predict(classifier, images), classifier.predict(images)
    return {
        "images": len(images),
        "agreement": compare(found, expected),
        "max_difference": _largest(found - here),
        "tolerance": TOLERANCE,
    }


def _largest(differences: np.ndarray) -> float | None:
    """Return the largest difference, None if one is no number."""
    largest = float(np.abs(differences).max())
    return largest if np.isfinite(largest) else None


def _check_native(outcome: Mapping[str, Any], min_agreement: float) -> None:
    """Raise HalfPrecisionError if a file's answers do not stay on ARM."""
    difference = outcome["max_difference"]
    if difference is None:
        raise HalfPrecisionError("on ARM its probabilities are no numbers in half precision")
    if not outcome["agreement"] >= min_agreement:
        share = f"{outcome['agreement']:.1%} of {outcome['images']} images"
        raise HalfPrecisionError(f"on ARM it agrees with Keras on {share} in half precision")
    if not difference <= outcome["tolerance"]:
        raise HalfPrecisionError(
            f"on ARM its probabilities part by up to {difference:.2g} in half precision, more than {TOLERANCE:g}"
        )


class Sum(NamedTuple):
    """The largest sum of |weight × input| of a layer."""

    layer: str
    largest: float


def allow(path: Path) -> None:
    """Write the entry that lets runtimes compute the file in half precision."""
    described = with_entry(path.read_bytes(), ENTRY, FP16)
    with files.replacing(path) as beside:
        beside.write_bytes(described)


def largest_sum(model: "keras.Model", inputs: np.ndarray) -> Sum:
    """Return the largest sum of |weight × input| in any convolution, dense layer or average.

    No order of adding the products of one of these gives an intermediate sum above it. Batch norms are folded into the
    convolutions before them, as the converter does.

    Args:
        model: a functional model.
        inputs: normalized images, (n, height, width, channels).

    Raises:
        HalfPrecisionError: the model has layers whose sums are not known.
    """
    import keras

    from keras_inception.exporting.rewrites import fold_batch_norm
    from keras_inception.models.flat import flat

    plain = flat(fold_batch_norm(model))
    graph = keras.Function(plain.inputs, plain.outputs)
    largest: dict[str, float] = {}

    def measuring(operation: "keras.Operation") -> Callable:
        total = _total_of(operation)

        def call(*args, **kwargs):
            output = operation(*args, **kwargs)
            values = keras.tree.flatten(args)
            reached = float(keras.ops.max(keras.ops.abs(total(values[0]) if total else output)))
            largest[operation.name] = max(largest.get(operation.name, 0.0), reached)
            return output

        return call

    for start in range(0, len(inputs), BATCH):
        graph._run_through_graph([keras.ops.convert_to_tensor(inputs[start : start + BATCH])], operation_fn=measuring)
    return Sum(*max(largest.items(), key=lambda each: each[1]))


def _total_of(operation: "keras.Operation") -> Callable | None:
    """Return a function from an operation's input to its sums of |weight × input|, or None if its outputs are those.

    Raises:
        HalfPrecisionError: the sums are not known.
    """
    from keras import layers, ops

    from keras_inception.layers import CeilAveragePooling2D, LocalResponseNormalization

    kind = type(operation).__name__
    if isinstance(operation, (layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose, layers.Dense)):
        return _absolute(operation)
    if isinstance(operation, (layers.AveragePooling2D, CeilAveragePooling2D)):
        places = int(np.prod(operation.pool_size))
        return lambda x: places * operation(ops.abs(x))
    if isinstance(operation, layers.GlobalAveragePooling2D):
        return lambda x: ops.sum(ops.abs(x), axis=(1, 2))
    if kind in ("Mean", "Sum"):
        return lambda x: ops.sum(ops.abs(x), axis=operation.axis)
    if isinstance(operation, LocalResponseNormalization) and not operation.builtin:
        return lambda x: ops.maximum(ops.square(x * operation.input_scale), operation.sums(x))
    if kind not in PLAIN:
        raise HalfPrecisionError(f"the sums of {operation.name}, a {kind}, are not known")
    return None


def _absolute(layer: "keras.layers.Layer") -> Callable:
    """Return a function from a layer's input to its sums of |weight × input| and |bias|."""
    from keras import ops

    plain = type(layer).from_config({**layer.get_config(), "activation": None})

    def total(x):
        if not plain.built:
            plain.build(x.shape)
            plain.set_weights([np.abs(weights) for weights in layer.get_weights()])
        return plain(ops.abs(x))

    return total


def check_coefficients(path: Path) -> None:
    """Check that no constant of a file is flushed to zero as a whole, such as an epsilon.

    Raises:
        HalfPrecisionError: there is such a constant.
    """
    opened = undelegated(path)
    nodes = opened._get_ops_details()
    made = {index for node in nodes for index in node["outputs"]} | {opened.get_input_details()[0]["index"]}
    details = {tensor["index"]: tensor for tensor in opened.get_tensor_details()}
    for node in nodes:
        for index in set(node["inputs"]) - made - {-1}:
            if details[index]["dtype"] not in (np.float16, np.float32):
                continue
            largest = float(np.abs(opened.get_tensor(index).astype(np.float32)).max(initial=0))
            if 0 < largest < SMALLEST:
                name = details[index]["name"].split(";")[0]
                raise HalfPrecisionError(f"{name} of {node['op_name']}, {largest:.1e}, is flushed to zero")


def predict(path: Path, images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return a file's probabilities, (n, classes), in forced half precision on this processor.

    On x86, only products are in half precision, and sums are not.

    Args:
        path: the .tflite file.
        images: uint8 RGB (n, height, width, 3) of the input's size.
        preprocessing: preprocessing that the file's input expects.

    Raises:
        ChildError: LiteRT fails.
    """
    classifier = TFLiteClassifier(path, preprocessing=preprocessing, isolated=False)
    values = classifier.as_input(images)
    return classifier.probabilities(exchange(partial(run_module, CHILD), path, values, classifier.classes))
