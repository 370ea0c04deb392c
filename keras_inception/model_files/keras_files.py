"""Open .keras and .h5 files: by Keras 3, or by tf_keras where Keras 3 cannot."""

import base64
import binascii
import copy
import json
import logging
import marshal
import re
import shutil
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.model_files.configurations import FUNCTION, MODULES, check_configuration
from keras_inception.model_files.custom_objects import CustomObjects
from keras_inception.model_files.kinds import weights_alone
from keras_inception.utils import files
from keras_inception.utils.quiet import silenced
from keras_inception.weights.readers.keras import CONFIG, WEIGHTS, check_hdf5, read_description

log = logging.getLogger(__name__)

METADATA = "metadata.json"
# Largest size of an archive's entries, relative to the file. Keras does not compress them, and pruned weights that are
# zipped again shrink 20-fold. Anything far beyond that is a decompression bomb.
MAX_RATIO = 64
# Where Keras' messages end to tell the cause, and begin to give advice or to repeat the configuration.
NOT_THE_CAUSE = re.compile(r"\s*(Make sure custom classes|Full object config:|config=\{|Please ensure).*", re.DOTALL)


def open_keras_file(path: Path, is_archive: bool, custom: CustomObjects | None) -> keras.Model:
    """Open a .keras or .h5 file as a Keras 3 model.

    Args:
        path: the file.
        is_archive: whether it is a .keras file (a zip archive) and not HDF5.
        custom: classes and functions that the file needs, and Lambdas may use.

    Raises:
        ValueError: the file is damaged, would run code, holds weights alone, or neither library can open it.
    """
    import keras_inception.layers  # noqa: F401  registers the layers that a file may name

    config, version = _read_archive(path) if is_archive else _read_hdf5(path)
    check_configuration(path, config, custom)
    if is_archive:
        _check_weights(path)
    lambdas = dict(_lambdas(path, config, custom)) if custom else {}
    objects = {**(custom.objects if custom else {}), **lambdas}
    suffix = ".keras" if is_archive else ".h5"
    with files.temporary_folder() as folder:
        source = path
        if lambdas or path.suffix != suffix or _has_compile_config(config):
            source = folder / f"model{suffix}"
            _copy(path, source, _prepared(config))
        try:
            return keras.saving.load_model(source, custom_objects=objects, compile=False, safe_mode=True)
        except Exception as error:  # a damaged file can make Keras raise anything
            if files.full_disk(error):
                raise
            reason = cause(error)
        if is_archive and not version.startswith("2."):
            raise _not_opened(path, reason)
        copied = folder / f"tf_keras{suffix}"
        _copy(path, copied, _of_tf_keras(_prepared(config)))
        return _by_tf_keras(path, copied, objects, reason)


def cause(error: Exception) -> str:
    """Return the cause in an error of Keras on one line, without its advice and the configuration that it repeats."""
    text = str(error).rpartition("Exception encountered: ")[2]
    return " ".join(NOT_THE_CAUSE.sub("", text).split()).rstrip(".") or type(error).__name__


def _not_opened(path: Path, reason: object) -> ValueError:
    return ValueError(f"{path} is not a Keras file that can be opened: {reason}")


def _by_tf_keras(path: Path, copied: Path, objects: dict[str, Any], reason: str) -> keras.Model:
    """Open a file with tf_keras and carry the model over to Keras 3."""
    try:
        with silenced():
            import tf_keras
    except ImportError:
        hint = 'If it was made by Keras 2, install tf_keras, which can open it: pip install "keras-inception[mobile]"'
        raise _not_opened(path, f"{reason}. {hint}") from None
    try:
        model = tf_keras.models.load_model(copied, custom_objects=objects, compile=False)
    except Exception as error:
        other = cause(error)
        by_both = f"{reason}; by tf_keras: {other}" if other != reason else reason
        raise _not_opened(path, by_both) from None
    return _carried_over(model)


def _carried_over(model: Any) -> keras.Model:
    """Return a tf_keras model rebuilt in Keras 3, or as one layer that calls it if that is not possible."""
    from keras_inception.compression.tf_keras_bridge import to_keras

    try:
        rebuilt = to_keras(model)
        if _agree(model, rebuilt):
            return rebuilt
        log.info("%s rebuilt in Keras 3 gives other outputs, so that tf_keras runs it", model.name)
    except Exception as error:  # of any layer, which the bridge may not know
        log.info("%s cannot be rebuilt in Keras 3, so that tf_keras runs it: %s", model.name, error)
    from keras_inception.model_files.tensorflow_layer import TensorFlowLayer

    inputs = [keras.Input(batch_shape=tuple(x.shape), dtype=x.dtype.name, name=x.node.layer.name) for x in model.inputs]
    layer = TensorFlowLayer(lambda x: model(x, training=False), model.variables, name=f"{model.name}_tf_keras")
    given = inputs if len(inputs) > 1 else inputs[0]
    return keras.Model(given, layer(given), name=model.name)


def _agree(model: Any, rebuilt: keras.Model) -> bool:
    """Return True if a tf_keras model and its copy in Keras 3 give the same outputs on noise."""
    random = np.random.default_rng(0)
    images = [
        random.uniform(0, 255, [side or (64 if axis else 2) for axis, side in enumerate(x.shape)]).astype(x.dtype.name)
        for x in model.inputs
    ]
    given = images if len(images) > 1 else images[0]
    ours = keras.tree.flatten(rebuilt(given, training=False))
    theirs = keras.tree.flatten(model(given, training=False))
    pairs = [[np.asarray(each, np.float32) for each in pair] for pair in zip(ours, theirs, strict=True)]
    return all(np.abs(a - b).max() <= 1e-3 * max(np.abs(b).max(), 1) for a, b in pairs)


def _read_archive(path: Path) -> tuple[dict, str]:
    """Return the configuration in a .keras file, and the version of Keras that wrote it."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_RATIO * path.stat().st_size:
                raise ValueError(f"its content is more than {MAX_RATIO} times as large as the file")
            config = json.loads(archive.read(CONFIG))
            metadata = json.loads(archive.read(METADATA)) if METADATA in archive.namelist() else {}
        return config, str(metadata.get("keras_version", ""))
    except Exception as error:  # of a damaged archive
        raise _not_opened(path, " ".join(str(error).split())) from None


def _check_weights(path: Path) -> None:
    """Raise ValueError if the weights in a .keras file are damaged, or refer to other files."""
    try:
        with zipfile.ZipFile(path) as archive, files.temporary_folder() as folder:
            if WEIGHTS in archive.namelist():  # Keras 3 looks for this, tf_keras does not
                check_hdf5(archive.extract(WEIGHTS, folder))
    except Exception as error:  # of a damaged archive
        if files.full_disk(error):
            raise
        raise _not_opened(path, " ".join(str(error).split())) from None


def _read_hdf5(path: Path) -> tuple[dict, str]:
    """Return the configuration in an .h5 file. The version is not needed."""
    try:
        text, _ = read_description(path)
    except ValueError as error:
        raise _not_opened(path, error) from None
    if text is None:
        raise weights_alone(path)
    try:
        return json.loads(text), ""
    except (ValueError, RecursionError) as error:
        raise _not_opened(path, error) from None


def _copy(path: Path, target: Path, config: dict) -> None:
    """Copy a file with another configuration, and without arrays that older versions of tf_keras would unpickle."""
    if target.suffix == ".h5":
        import h5py

        shutil.copyfile(path, target)
        with h5py.File(target, "r+") as file:
            file.attrs["model_config"] = json.dumps(config).encode()
        return
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copied:
        for name in dict.fromkeys(archive.namelist()):
            if not name.endswith(".npz"):
                copied.writestr(name, json.dumps(config) if name == CONFIG else archive.read(name))


def _has_compile_config(config: Any) -> bool:
    """Return True if a model inside the model was compiled. Keras compiles it again, whatever it is told."""
    return isinstance(config, dict) and '"compile_config"' in json.dumps(config.get("config"))


def _prepared(config: Any) -> Any:
    """Return a configuration without settings of training, and with the code of Lambdas replaced by a name."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(item) for item in value]
        if not isinstance(value, dict):
            return value
        value = {key: changed(item) for key, item in value.items() if key != "compile_config"}
        inner = value.get("config")
        if value.get("class_name") == "Lambda" and isinstance(inner, dict):
            for key in _coded(inner):
                name = _name_of(inner, key)
                inner[key] = {"class_name": FUNCTION, "config": name, "module": None, "registered_name": name}
        return value

    return changed(copy.deepcopy(config))


def _lambdas(path: Path, config: Any, custom: CustomObjects) -> Iterator[tuple[str, Callable]]:
    """Yield the functions of the Lambdas in a configuration by the names that `_prepared` gives them.

    A function that is named like the layer takes the place of its code.
    """
    if isinstance(config, dict):
        inner = config.get("config")
        if config.get("class_name") == "Lambda" and isinstance(inner, dict):
            for key in _coded(inner):
                own = custom.objects.get(str(inner.get("name"))) if key == FUNCTION else None
                yield _name_of(inner, key), own or _compiled(path, inner, key, custom)
    members = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    for member in members:
        yield from _lambdas(path, member, custom)


def _coded(config: dict) -> list[str]:
    """Return the arguments of a Lambda that are code in the file."""
    return [key for key in (FUNCTION, "output_shape", "mask") if _code(config.get(key), config.get(f"{key}_type"))]


def _code(value: Any, kind: Any) -> list | None:
    """Return [code, defaults, closure] of a function that is stored as code, else None."""
    if isinstance(value, dict) and value.get("class_name") == "__lambda__":
        inner = value["config"]
        return [inner.get("code"), inner.get("defaults"), inner.get("closure")]
    if isinstance(value, dict) and value.get("class_name") == "__tuple__":
        value = value.get("items")
    return (
        value if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and kind != "raw" else None
    )


def _name_of(config: dict, key: str) -> str:
    return f"{config.get('name')}_{key}_in_file"


def _compiled(path: Path, config: dict, key: str, custom: CustomObjects) -> Callable:
    """Return a function that is stored as code. It can use the names in the user's file, and `tf`, `np` and `keras`."""
    import tensorflow as tf

    code, defaults, closure = _code(config[key], config.get(f"{key}_type")) or (None, None, None)
    names = {"tf": tf, "keras": keras, "np": np, **custom.namespace}
    try:
        unpacked = marshal.loads(base64.b64decode(str(code)))
        cells = tuple(types.CellType(value) for value in closure) if closure else None
        return types.FunctionType(unpacked, names, unpacked.co_name, tuple(defaults) if defaults else None, cells)
    except (ValueError, TypeError, EOFError, AttributeError, binascii.Error):
        raise ValueError(
            f"{path} is not opened: the code of the Lambda {config.get('name')!r} is not of this version of Python. "
            f"Define it in {custom.path} as a function of this name"
        ) from None


def _is_of_keras(module: str) -> bool:
    return module == "builtins" or bool(MODULES.fullmatch(module))


def _of_tf_keras(config: Any) -> Any:
    """Return a configuration that Keras 2 wrote with the modules of tf_keras, which continues it.

    Other modules are left out, since tf_keras would import any: what is given or registered is found by its name.
    """
    if isinstance(config, list):
        return [_of_tf_keras(item) for item in config]
    if not isinstance(config, dict):
        return config
    changed = {key: _of_tf_keras(item) for key, item in config.items()}
    if changed.get("class_name") == "Lambda" and isinstance(inner := changed.get("config"), dict):
        for key in (FUNCTION, "output_shape", "mask"):
            if isinstance(value := inner.get(key), dict) and value.get("class_name") == FUNCTION:
                inner |= {key: value["config"], f"{key}_type": FUNCTION}
    if isinstance(module := changed.get("module"), str) and "class_name" in changed:
        changed["module"] = re.sub(r"^keras(?=\.|$)", "tf_keras", module) if _is_of_keras(module) else None
    return changed
