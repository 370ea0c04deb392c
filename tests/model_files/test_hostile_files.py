"""Files that would write another file if they ran: none is opened, and the message names what is wrong."""

import base64
import json
import marshal
import zipfile
from pathlib import Path

import h5py
import keras
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_inception import load
from keras_inception.model_files.operations import _only_computes


def hostile(loot):
    """Return the configuration of a Python lambda that writes a file when it is built or called."""
    code = compile(f"lambda x: (open({str(loot)!r}, 'w').close(), x)[1]", "<lambda>", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


def keras_lambda(loot, name="evil"):
    function = {"class_name": "__lambda__", "config": {"code": hostile(loot), "defaults": None, "closure": None}}
    config = {"name": name, "function": function, "arguments": {}}
    return {"module": "keras.layers", "class_name": "Lambda", "registered_name": None, "config": config}


def old_lambda(loot, name="evil"):
    """A Lambda as Keras 2 stored it."""
    function = {"class_name": "__tuple__", "items": [hostile(loot), None, None]}
    kinds = {"function_type": "lambda", "module": "__main__", "output_shape_type": "raw", "output_shape_module": None}
    config = {"name": name, "function": function, "output_shape": None, "arguments": {}, **kinds}
    return {"class_name": "Lambda", "config": config}


def evil_activation(loot):
    function = {"module": "os", "class_name": "function", "config": "remove", "registered_name": "remove"}
    config = {"name": "evil", "units": 2, "activation": function}
    return {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": config}


def evil_builtin(loot):
    layer = evil_activation(loot)
    layer["config"]["activation"] = {"module": "builtins", "class_name": "function", "config": "exec"}
    return layer


def evil_class(loot):
    config = {"name": "evil", "args": ["touch", str(loot)]}
    return {"module": "subprocess", "class_name": "Popen", "registered_name": "Popen", "config": config}


def evil_operation(loot):
    return {"class_name": "TFOpLambda", "config": {"name": "evil", "function": "io.write_file"}}


def evil_saved_model(loot):
    config = {"name": "evil", "filepath": str(loot.parent), "call_endpoint": "serve"}
    return {"module": "keras.layers", "class_name": "TFSMLayer", "registered_name": None, "config": config}


def evil_utility(loot):
    config = {"name": "evil", "fname": str(loot), "origin": "file:///etc/hostname"}
    return {"module": "keras.utils", "class_name": "get_file", "registered_name": None, "config": config}


def evil_registered(loot):
    """A class of any module under a name that is registered, but not in tf_keras."""
    return evil_class(loot) | {"class_name": "run", "registered_name": "keras_inception>LocalResponseNormalization"}


def evil_function_as_class(loot):
    return {"class_name": "load_model", "config": {"name": "evil", "filepath": str(loot)}}


def evil_registered_function(loot):
    """A function under the name of a class that is registered. Keras looks for the function."""
    layer = evil_activation(loot)
    layer["config"]["activation"]["registered_name"] = "keras_inception>LocalResponseNormalization"
    return layer


def evil_dotted_function(loot):
    layer = evil_activation(loot)
    layer["config"]["activation"] = {"module": "keras", "class_name": "function", "config": "utils.get_file"}
    return layer


def evil_method(loot):
    config = {"name": "evil", "cls_symbol": "RaggedTensor", "method": "__reduce__"}
    return {"class_name": "InstanceMethod", "config": config}


def evil_vocabulary(loot):
    """tf_keras reads such a file even in safe mode."""
    secret = loot.with_name("secret.txt")
    secret.write_text("alpha\nbeta\n")
    return {"class_name": "StringLookup", "config": {"name": "evil", "vocabulary": str(secret)}}


def evil_column(loot):
    """A column of TensorFlow that reads a file, said to be of Keras."""
    column = {"key": "words", "vocabulary_file": str(loot), "vocabulary_size": 1, "num_oov_buckets": 0}
    described = {"module": "keras.layers", "class_name": "VocabularyFileCategoricalColumn", "config": column}
    return {"class_name": "DenseFeatures", "config": {"name": "evil", "feature_columns": [described]}}


def itself(layer):
    return layer


def in_a_model(layer):
    layers = [layer]
    config = {"name": "inner", "layers": layers, "input_layers": [], "output_layers": []}
    return {"module": "keras.models", "class_name": "Functional", "registered_name": "Functional", "config": config}


def in_a_wrapper(layer):
    config = {"name": "each", "layer": layer}
    return {"module": "keras.layers", "class_name": "TimeDistributed", "registered_name": None, "config": config}


def in_arguments(layer):
    """In a call of a layer, where tensors are expected."""
    nodes = [{"args": [layer], "kwargs": {}}]
    return {"module": "keras.layers", "class_name": "ReLU", "config": {"name": "relu"}, "inbound_nodes": nodes}


def put(path, layer):
    """Insert a layer as the second of a file's sequential model."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            config["config"]["layers"].insert(1, layer)
            file.attrs["model_config"] = json.dumps(config).encode()
        return
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    config["config"]["layers"].insert(1, layer)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (contents | {"config.json": json.dumps(config)}).items():
            archive.writestr(name, content)


# What --custom-objects cannot make acceptable.
FROM_MEMORY = (evil_saved_model, evil_method, evil_column, evil_vocabulary)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (keras_lambda, "layer 'evil' is a Lambda, which runs Python code"),
        (old_lambda, "layer 'evil' is a Lambda, which runs Python code"),
        (evil_activation, "layer 'evil' uses the function 'remove', which Keras does not have"),
        (evil_builtin, "layer 'evil' uses the function 'exec', which Keras does not have"),
        (evil_class, "layer 'evil' is of class 'Popen', which Keras does not have"),
        (evil_registered, "layer 'evil' is of class 'run', which Keras does not have"),
        (evil_function_as_class, "layer 'evil' is of class 'load_model', which Keras does not have"),
        (evil_operation, "layer 'evil' calls the TensorFlow function 'io.write_file'"),
        (evil_saved_model, "layer 'evil' is of class 'TFSMLayer', which runs code or reads files"),
        (evil_utility, "layer 'evil' is of class 'get_file', which Keras does not have"),
        (evil_registered_function, "layer 'evil' uses the function 'remove', which Keras does not have"),
        (evil_dotted_function, "layer 'evil' uses the function 'utils.get_file', which Keras does not have"),
        (evil_method, "layer 'evil' is of class 'InstanceMethod', which runs code or reads files"),
        (evil_column, "layer 'evil' is of class 'DenseFeatures', which runs code or reads files"),
        (evil_vocabulary, "layer 'evil' reads its vocabulary from the file "),
    ],
)
@pytest.mark.parametrize(
    ("where", "library", "suffix"),
    [
        (itself, "keras", ".keras"),
        (itself, "keras", ".h5"),
        (itself, "tf_keras", ".keras"),
        (itself, "tf_keras", ".h5"),
        (in_a_model, "keras", ".keras"),
        (in_a_model, "tf_keras", ".h5"),
        (in_a_wrapper, "keras", ".keras"),
        (in_arguments, "keras", ".keras"),
    ],
)
def test_code_in_a_keras_file_is_not_run(tmp_path, loot, made, says, where, library, suffix):
    library = pytest.importorskip(library)
    model = library.Sequential([library.Input((2,)), library.layers.Dense(2)])
    path = tmp_path / f"hostile{suffix}"
    model.save(path)
    put(path, where(made(loot)))
    with pytest.raises(ValueError, match=r"hostile\.(keras|h5) is not opened: ") as caught:
        load(path)
    assert says in str(caught.value)
    way = "open it in Python, and pass the model itself" if made in FROM_MEMORY else "give --custom-objects FILE.py"
    assert f"If you trust it, {way}" in str(caught.value)


def test_a_lambda_would_run_without_the_search(tmp_path, loot, monkeypatch):
    """The hostile file of the other tests is one that works: tf_keras runs it, even in safe mode."""
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(2)])
    model.save(tmp_path / "hostile.h5")
    put(tmp_path / "hostile.h5", old_lambda(loot))
    tf_keras.models.load_model(tmp_path / "hostile.h5", compile=False, safe_mode=True)
    assert loot.exists()
    loot.unlink()


def test_all_that_is_refused_is_named_once(tmp_path, loot):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.save(tmp_path / "hostile.keras")
    for layer in (keras_lambda(loot, "one"), keras_lambda(loot, "two"), evil_class(loot), evil_class(loot)):
        put(tmp_path / "hostile.keras", layer)
    with pytest.raises(ValueError, match="is not opened") as caught:
        load(tmp_path / "hostile.keras")
    assert [str(caught.value).count(name) for name in ("'one'", "'two'", "'Popen'")] == [1, 1, 1]


def in_another_file(group, name, how):
    """Replace an array in an HDF5 file by one that is stored in another file."""
    array = group[name][()]
    folder = Path(group.file.filename).parent
    array.tofile(folder / "secret.bin")
    with h5py.File(folder / "secret.h5", "w") as secret:
        secret["array"] = array
    del group[name]
    if how == "external link":
        group[name] = h5py.ExternalLink(folder / "secret.h5", "array")
    elif how == "soft link":
        group[name] = h5py.SoftLink("/elsewhere")
    elif how == "external data":
        group.create_dataset(name, array.shape, array.dtype, external=[(folder / "secret.bin", 0, array.nbytes)])
    else:
        layout = h5py.VirtualLayout(array.shape, array.dtype)
        layout[:] = h5py.VirtualSource(folder / "secret.h5", "array", array.shape)
        group.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("how", ["external link", "soft link", "external data", "virtual data"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_weights_in_another_file_are_not_read(tmp_path, library, suffix, how):
    library = pytest.importorskip(library)
    path = tmp_path / f"hostile{suffix}"
    library.Sequential([library.Input((2,)), library.layers.Dense(2)]).save(path)
    weights = path
    if suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "content")
        weights = tmp_path / "content" / "model.weights.h5"
    with h5py.File(weights, "r+") as file:
        arrays = []
        file.visititems(lambda name, node: arrays.append(node) if isinstance(node, h5py.Dataset) else None)
        in_another_file(arrays[0].parent, arrays[0].name.rpartition("/")[2], how)
    if suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            for each in (tmp_path / "content").iterdir():
                archive.write(each, each.name)
    what = "links other than hard ones are not followed" if "link" in how else "data in another file are not read"
    with pytest.raises(ValueError, match=rf"hostile{suffix} is not a Keras file that can be opened: {what}$"):
        load(path)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "bomb.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros.bin", bytes(2**23))
    with pytest.raises(ValueError, match=r"bomb\.keras .*: its content is more than 64 times as large as the file"):
        load(path)


def test_a_configuration_that_is_nested_without_end_is_refused(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "deep.h5")
    deep = '{"class_name": "Sequential", "config": ' * 20000 + "{}" + "}" * 20000
    with h5py.File(tmp_path / "deep.h5", "r+") as file:
        file.attrs["model_config"] = deep.encode()
    with pytest.raises(ValueError, match=r"deep\.h5 is not a Keras file that can be opened"):
        load(tmp_path / "deep.h5")


class Module(tf.Module):
    """A model that does something besides computing."""

    def __init__(self, evil):
        super().__init__()
        self.evil = evil
        self.scores = tf.function(
            self._scores, input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.float32, name="image")]
        )

    def _scores(self, image):
        with tf.control_dependencies([self.evil(image)]):
            return tf.reduce_mean(image, [1, 2])


def evil_operations(loot):
    name, other = str(loot), str(loot.with_name("other"))

    def python(x):
        open(name, "w", encoding="utf-8").close()
        return x

    def write():
        with tf.control_dependencies([tf.io.write_file(name, "x")]):
            return tf.constant(0)

    written = tf.function(write)
    return {
        "WriteFile": lambda x: tf.io.write_file(name, "x"),
        "ReadFile": lambda x: tf.io.read_file(other),
        "MatchingFiles": lambda x: tf.io.matching_files(f"{loot.parent}/*"),
        "EagerPyFunc": lambda x: tf.py_function(python, [x], tf.float32),
        "PyFunc": lambda x: tf.numpy_function(python, [x], tf.float32),
        "PyFuncStateless": lambda x: tf.numpy_function(python, [x], tf.float32, stateful=False),
        "SaveV2": lambda x: tf.raw_ops.SaveV2(prefix=name, tensor_names=["x"], shape_and_slices=[""], tensors=[x]),
        "RestoreV2": lambda x: tf.raw_ops.RestoreV2(
            prefix=other, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0],
        "PrintV2": lambda x: tf.print(x, output_stream=f"file://{loot}"),
        "TextLineDataset": lambda x: tf.data.TextLineDataset(other).cardinality(),
        "ImmutableConst": lambda x: tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name=other),
        # In a function that a loop, a branch or another function calls:
        "WriteFile in a loop": lambda x: tf.while_loop(
            lambda n: n < 1, lambda n: (n + write() + 1,), (tf.constant(0),)
        )[0],
        "WriteFile in a branch": lambda x: tf.cond(tf.reduce_sum(x) > 1e9, write, lambda: tf.constant(1)),
        "WriteFile in a function": lambda x: written(),
    }


@pytest.mark.parametrize("operation", evil_operations(Path("loot")))
def test_a_saved_model_that_reaches_outside_is_named_by_its_operation(tmp_path, loot, operation):
    module = Module(evil_operations(loot)[operation])
    tf.saved_model.save(module, str(tmp_path / "hostile"), signatures=module.scores)
    assert not loot.exists()
    kind = operation.partition(" ")[0]
    with pytest.raises(ValueError, match=rf"hostile is not opened: its operation {kind} \("):
        load(tmp_path / "hostile")


def test_a_saved_model_that_would_act_when_it_is_loaded_is_refused(tmp_path, loot):
    """TensorFlow fills the table from its file before anything is called."""
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    module = Module(lambda x: module.table.lookup(tf.constant(0, tf.int64)))
    file = tf.lookup.TextFileInitializer(
        str(tmp_path / "labels.txt"),
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
    )
    module.table = tf.lookup.StaticHashTable(file, "")
    tf.saved_model.save(module, str(tmp_path / "hostile"), signatures=module.scores)
    with pytest.raises(ValueError, match="its operation InitializeTableFromTextFileV2"):
        load(tmp_path / "hostile")


def test_a_function_that_only_pretends_to_restore_a_checkpoint_is_searched(tmp_path, loot):
    """The names of TensorFlow's functions that save and restore do not exempt what the model calls."""

    def __inference__traced_restore_1(x):
        with tf.control_dependencies([tf.io.write_file(str(loot), "x")]):
            return tf.constant(0)

    module = Module(tf.function(__inference__traced_restore_1))
    tf.saved_model.save(module, str(tmp_path / "hostile"), signatures=module.scores)
    with pytest.raises(ValueError, match="its operation WriteFile"):
        load(tmp_path / "hostile")


def test_a_function_does_not_take_the_place_of_an_operation_of_its_name(tmp_path, loot):
    module = Module(evil_operations(loot)["WriteFile"])
    tf.saved_model.save(module, str(tmp_path / "hostile"), signatures=module.scores)
    path = tmp_path / "hostile" / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    content.meta_graphs[0].graph_def.library.function.add().signature.name = "WriteFile"
    path.write_bytes(content.SerializeToString())
    with pytest.raises(ValueError, match="its operation WriteFile"):
        load(tmp_path / "hostile")


def test_operations_that_touch_files_or_python_are_not_taken_for_computations():
    """A search of everything that this TensorFlow has: new operations must not slip through by their arguments."""
    from tensorflow.python.framework import op_def_registry

    harmless = {"Print"}  # to standard error; it is not allowed either
    telling = ("filename", "file_pattern", "path", "pattern", "debug_urls", "vocab_file", "memory_region_name", "token")
    allowed = []
    for name in dir(tf.raw_ops):
        definition = op_def_registry.get(name)
        if definition is None or not _only_computes(name):
            continue
        arguments = {each.name for each in (*definition.input_arg, *definition.attr)}
        if arguments & set(telling) - {"pattern"}:
            allowed.append(name)
    assert set(allowed) - harmless == set()
    for name in ("WriteFile", "PyFunc", "EagerPyFunc", "SaveV2", "RestoreV2", "MergeV2Checkpoints", "XlaCallModule"):
        assert not _only_computes(name)
    for name in ("Conv2D", "FusedBatchNormV3", "ReadVariableOp", "ResizeBilinear", "StatelessWhile", "DecodeJpeg"):
        assert _only_computes(name)
    assert not _only_computes("NoSuchOperation")
