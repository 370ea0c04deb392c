"""Search the configuration of a model, as Keras and tf_keras store it, for what would run code.

Both libraries build a model from JSON, in which each layer, initializer or function is named by its class, and in newer
files by its module too. tf_keras imports any module that a file names, and runs Lambdas even in safe mode. So only what
is known to be harmless passes: classes and functions of Keras itself, those that are registered in this process, and
those that the user gives.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_inception.model_files.custom_objects import CustomObjects

LAMBDA = ("Lambda", "__lambda__")
# Other layers of Keras that hold code, load it or data from another file, or call any method by name.
CODE = (
    *("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TensorFlowOpLayer", "DenseFeatures"),
    *("SequenceFeatures", "ClassMethod", "InstanceMethod", "InstanceProperty"),
)
# Plain values that are stored like objects.
VALUES = (
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__ellipsis__",
    "__slice__",
    "__tuple__",
    "TensorShape",
)
FUNCTION = "function"
VOUCH, DEFINE = "vouch", "define"  # remedies
# Modules of Keras whose classes and functions compute something, and do nothing else.
MODULES = re.compile(
    r"(tf_)?keras(\.src)?(\.(layers|models|ops|engine|activations|initializers|regularizers|constraints|dtype_policies"
    r"|mixed_precision|quantizers|random|losses|metrics|optimizers|applications)(\.\w+)*)?"
)
PUBLIC = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies", "mixed_precision")
FUNCTIONS = ("activations", "initializers", "regularizers", "constraints", "losses", "metrics")
# Functions of TensorFlow that a TFOpLambda, the layer that tf_keras makes of a raw operation, may call.
OPERATION_LAYERS = ("TFOpLambda", "SlicingOpLambda")
OPERATIONS = re.compile(
    r"(compat\.v1\.)?((math|nn|linalg|image|signal|random|dtypes|bitwise|__operators__)(\.\w+)+"
    r"|abs|add|broadcast_to|cast|clip_by_value|concat|convert_to_tensor|cos|cumsum|divide|exp|expand_dims|fill|floor"
    r"|gather|gather_nd|identity|matmul|maximum|minimum|multiply|negative|norm|one_hot|ones|ones_like|pad|pow|rank"
    r"|reduce_(all|any|max|mean|min|prod|sum)|repeat|reshape|reverse|roll|round|shape|sigmoid|sign|sin|size|slice|split"
    r"|sqrt|square|squeeze|stack|stop_gradient|strided_slice|subtract|tanh|tensordot|tile|transpose|truediv|unstack"
    r"|where|zeros|zeros_like)"
)


class Unsafe(NamedTuple):
    """Something in a configuration that would run code, or read another file.

    Attributes:
        layer: the layer that has it.
        what: what is wrong with it, such as "is a Lambda".
        remedy: what makes it acceptable: to `VOUCH` for the file, which holds the code itself; to `DEFINE` what is
            missing; or None.
    """

    layer: str
    what: str
    remedy: str | None


def check_configuration(path: Path, config: Any, custom: CustomObjects | None) -> None:
    """Raise ValueError, which names the layers and classes, if opening a model could run code.

    Args:
        path: the file, for messages.
        config: the configuration of the model.
        custom: what the user vouches for; code in the file itself, such as a Lambda, is then allowed.
    """
    try:
        found = dict.fromkeys(_search(config, "the model", custom.objects if custom else {}))
    except RecursionError:
        raise ValueError(f"{path} is not a Keras file that can be opened: its layers are nested too deep") from None
    refused = [each for each in found if not (each.remedy == VOUCH and custom)]
    if not refused:
        return
    listed = "; ".join(f"{each.layer} {each.what}" for each in refused)
    if not all(each.remedy for each in refused):
        raise ValueError(
            f"{path} is not opened: {listed}. If you trust it, open it in Python, and pass the model itself"
        )
    if custom:
        raise ValueError(f"{path} is not opened: {listed}. {custom.path} must define or import what is missing")
    is_missing = any(each.remedy == DEFINE for each in refused)
    content = "that defines or imports what is missing" if is_missing else "of your own, even an empty one"
    raise ValueError(
        f"{path} is not opened: {listed}. If you trust it, give --custom-objects FILE.py (custom_objects= in Python), "
        f"a Python file {content}: that file and the model's code are then run"
    )


def _search(value: Any, layer: str, known: dict[str, Any]) -> Iterator[Unsafe]:
    """Yield what would run code anywhere in a configuration."""
    if isinstance(value, list):
        for item in value:
            yield from _search(item, layer, known)
    if not isinstance(value, dict):
        return
    if "class_name" in value:
        inner = value.get("config")
        if isinstance(inner, dict) and isinstance(inner.get("name"), str) and value["class_name"] not in VALUES:
            layer = f"layer {inner['name']!r}"
        if problem := _problem(value, known):
            yield Unsafe(layer, *problem)
    for key, item in value.items():
        if key != "compile_config":  # removed before the model is opened
            yield from _search(item, layer, known)


def _problem(entry: dict[str, Any], known: dict[str, Any]) -> tuple[str, str | None] | None:
    """Return how an entry with a class could run code, and its remedy; None if it cannot."""
    kind, module, inner = str(entry["class_name"]), str(entry.get("module") or ""), entry.get("config")
    # Keras looks for a function by its own name, whatever it is registered as.
    name = str(inner) if kind == FUNCTION else kind
    registered = str(entry.get("registered_name") or name) if kind != FUNCTION else name
    plain = kind.rpartition(">")[2]
    is_keras = bool(MODULES.fullmatch(module)) or keras.saving.get_registered_object(registered) is not None
    remedy: str | None = DEFINE
    if plain in LAMBDA:
        is_harmless, what, remedy = False, "is a Lambda, which runs Python code", VOUCH
    elif plain in CODE:
        is_harmless, what, remedy = False, f"is of class {plain!r}, which runs code or reads files", None
    elif isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str):
        is_harmless, what, remedy = False, f"reads its vocabulary from the file {inner['vocabulary']!r}", None
    elif plain in OPERATION_LAYERS:
        operation = str(inner.get("function")) if isinstance(inner, dict) else ""
        is_harmless = bool(OPERATIONS.fullmatch(operation))
        what, remedy = f"calls the TensorFlow function {operation!r}", VOUCH
    elif kind == FUNCTION:
        is_function_of_keras = is_keras and name.rpartition(">")[2].isidentifier()
        is_harmless = is_function_of_keras or (module in ("", "builtins") and _is_public(name, FUNCTIONS))
        what = f"uses the function {name!r}, which Keras does not have"
    else:
        # Old files can name functions as classes, which are then called: classes are written with a capital letter.
        is_harmless = plain[:1].isupper() and (is_keras or (not module and _is_public(plain, PUBLIC)))
        what = f"is of class {plain!r}, which Keras does not have"
    return None if is_harmless or kind in VALUES or name in known or registered in known else (what, remedy)


def _is_public(name: str, modules: tuple[str, ...]) -> bool:
    """Return True if Keras 3, or tf_keras if it is installed, has a public class or function of this name."""
    if any(hasattr(getattr(keras, module, None), name) for module in modules):
        return True
    try:
        import tf_keras
    except ImportError:
        return name in ("Functional", "Model")
    return name == "Functional" or any(hasattr(getattr(tf_keras, module, None), name) for module in modules)
