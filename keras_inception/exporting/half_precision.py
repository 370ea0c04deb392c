"""Half precision: let phones run a float16 file in 16 bits, if its answers stay.

XNNPACK computes a float file in half precision, sums included, if an entry in its metadata allows it and the processor
can: an ARM processor since ARMv8.2. Nothing warns of what then goes wrong. A sum above 65,504 is infinite even if the
result is small, and coefficients below 2⁻¹⁴ are flushed to zero. x86 processors multiply in half precision but add in
float32, so that neither can be seen on them: the ranges are measured instead.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_inception.exporting.clients import exchange
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
    path: Path, model: "keras.Model", preprocessing: Preprocessing, reference: Reference, min_agreement: float
) -> dict[str, Any]:
    """Try a file in half precision and, if its answers stay, write the entry that allows it.

    Three things must hold on held-out images: no sum exceeds `LARGEST`, no coefficient is flushed to zero, and the file
    agrees with Keras in forced half precision. The last is a test of rounding only, since x86 adds in float32.

    Args:
        path: the file, before its metadata are written.
        model: the Keras model that it was converted from.
        preprocessing: preprocessing that the file's input expects.
        reference: Keras' predictions for held-out images.
        min_agreement: minimum share of images on which both must predict the same class.

    Returns:
        ``allowed``, and ``reason`` if it is not; ``largest_sum`` and its ``layer``; ``agreement``, ``top1`` and
        ``max_difference`` as in a variant's row of the report. What was not reached is None.
    """
    row: dict[str, Any] = dict.fromkeys(("reason", "largest_sum", "layer", "agreement", "top1", "max_difference"))
    some = evenly(len(reference.images), IMAGES)
    images, expected = reference.images[some], reference.probabilities[some]
    labels = None if reference.labels is None else reference.labels[some]
    try:
        check_coefficients(path)
        reached = largest_sum(model, preprocessing.normalize(images[:SUMMED].astype(np.float32)))
        row |= {"largest_sum": reached.largest, "layer": reached.layer}
        if not reached.largest <= LARGEST:
            raise HalfPrecisionError(f"sums in {reached.layer} reach {reached.largest:,.0f}, more than {LARGEST:,.0f}")
        found = predict(path, images, preprocessing)
        compare = decision_agreement if reference.independent else agreement
        row |= {"agreement": compare(found, expected), "top1": accuracy(found, labels)["top1"]}
        row["max_difference"] = float(np.abs(found - expected).max())
        if not row["agreement"] >= min_agreement:
            raise HalfPrecisionError(f"it agrees with Keras on {row['agreement']:.1%} of {len(images)} images")
    except (HalfPrecisionError, ChildError) as error:
        return {"allowed": False, **row, "reason": str(error)}
    allow(path)
    return {"allowed": True, **row}


def remark(row: Mapping[str, Any]) -> str:
    """Return what the model card says about the outcome of a `trial`."""
    if not row["allowed"]:
        return f"phones compute it in float32, since {row['reason']}."
    largest, limit = row["largest_sum"], np.finfo(np.float16).max
    return (
        f"phones may compute it in half precision, in which no number exceeds {limit:,.0f}. On held-out images its "
        f"largest sum is {largest:,.0f}, in {row['layer']}, and in forced half precision it agrees with Keras on "
        f"{row['agreement']:.1%} of them. This was measured on a processor that adds in float32; on ARM it was not run."
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
