"""TFLite metadata: writing, reading here and with other libraries, and damaged files."""

import json
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_inception.exporting.clients import mediapipe, task_library
from keras_inception.preprocessing import DEFAULT, NAMED, Preprocessing
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier, interpreter
from keras_inception.tflite.flatbuffer import put_offsets, put_table
from keras_inception.tflite.metadata_schema import IDENTIFIER, NAMES, NUMBERS, ROOT, TABLES, decode, encode
from keras_inception.tflite.model_entries import Model, with_entry
from keras_inception.utils.subprocesses import run_program

SIDE, CLASSES = 8, 5
ABOUT = metadata.About(name="näme", version="1.2", description="Tells «things» apart.", author="Zoë", license="CC0")
GIVEN = DEFAULT.replace(mean=(128.0, 64.0, 0.0), std=(64.0, 128.0, 0.5))


def converted(*, of_bytes: bool = False, inputs: int = 1, **options) -> bytes:
    """Return a small model from the converter, which adds entries of its own."""
    import tensorflow as tf

    weights = tf.constant(np.random.default_rng(0).normal(size=(3, CLASSES)), tf.float32)

    def network(*images):
        return tf.nn.softmax(tf.reduce_mean(sum(images), axis=[1, 2]) @ weights)

    signature = [tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32)] * inputs
    concrete = tf.function(network, input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if of_bytes:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([DEFAULT.normalize(pixels(seed))] for seed in range(10))
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    for name, value in options.items():
        setattr(converter, name, value)
    return converter.convert()


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def bare() -> dict[str, bytes]:
    """Models without metadata, keyed by the type of their input and output."""
    return {"float32": converted(), "uint8": converted(of_bytes=True)}


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("".join(f"thing {index}\n" for index in range(CLASSES)), encoding="utf-8")
    return path


@pytest.fixture
def described(bare, labels, tmp_path):
    """Return a function that writes a model with metadata and returns its path."""

    def write(kind: str = "float32", about: metadata.About = ABOUT, given: Preprocessing = GIVEN) -> Path:
        path = tmp_path / f"{kind}.tflite"
        path.write_bytes(bare[kind])
        metadata.write(path, about, given, labels)
        return path

    return write


def outputs(path: Path) -> np.ndarray:
    """Return LiteRT's outputs for some images."""
    opened = interpreter(path)
    (given,), (taken,) = opened.get_input_details(), opened.get_output_details()
    found = []
    for seed in range(20):
        image = pixels(seed) if given["dtype"] == np.uint8 else DEFAULT.normalize(pixels(seed))
        opened.set_tensor(given["index"], image.astype(given["dtype"]))
        opened.invoke()
        found.append(opened.get_tensor(taken["index"]))
    return np.concatenate(found)


def entries(path: Path) -> list[tuple[str, bytes, int]]:
    """Return (name, content, position) of each of a model's entries, read by LiteRT's generated code."""
    from ai_edge_litert import schema_py_generated as schema

    whole = path.read_bytes()
    model = schema.Model.GetRootAsModel(whole, 0)
    found = []
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        content = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
        found.append((entry.Name().decode(), content, whole.index(content)))
    return found


STATS = {
    "float32": ({"max": [127 / 64, 191 / 128, 510.0], "min": [-2.0, -0.5, 0.0]}, {"max": [1.0], "min": [0.0]}),
    "uint8": ({"max": [255.0], "min": [0.0]}, {"max": [255.0], "min": [0.0]}),
}


@pytest.mark.versions
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_metadata_is_read_as_written(described, labels, kind):
    path = described(kind)
    given, taken = STATS[kind]
    image = {
        "name": "image",
        "description": "RGB picture",
        "content": {"content_properties_type": "ImageProperties", "content_properties": {"color_space": "RGB"}},
        "process_units": [
            {
                "options_type": "NormalizationOptions",
                "options": {"mean": [128.0, 64.0, 0.0], "std": [64.0, 128.0, 0.5]},
            }
        ],
        "stats": given,
    }
    probabilities = {
        "name": "probabilities",
        "description": "probability of each label",
        "content": {"content_properties_type": "FeatureProperties", "content_properties": {}},
        "stats": taken,
        "associated_files": [
            {
                "name": "labels.txt",
                "description": "Labels for categories that the model can recognize.",
                "type": "TENSOR_AXIS_LABELS",
            }
        ],
    }
    assert metadata.read(path) == {
        **ABOUT,
        "subgraph_metadata": [{"input_tensor_metadata": [image], "output_tensor_metadata": [probabilities]}],
        "min_parser_version": "1.0.0",
    }
    assert metadata.normalization_of(metadata.read(path)) == (GIVEN.mean, GIVEN.std)
    assert metadata.unpack(path, "labels.txt") == labels.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_the_model_is_kept_byte_for_byte(bare, described, tmp_path, kind):
    (tmp_path / "before.tflite").write_bytes(bare[kind])
    path = described(kind)
    assert bare[kind] in path.read_bytes()
    np.testing.assert_array_equal(outputs(path), outputs(tmp_path / "before.tflite"))
    *before, (name, content, position) = entries(path)
    assert [entry[:2] for entry in before] == [entry[:2] for entry in entries(tmp_path / "before.tflite")]
    assert "min_runtime_version" in [name for name, _, _ in before]
    assert name == "TFLITE_METADATA"
    assert content[4:8] == b"M001"
    assert position % 16 == 0


def test_labels_are_not_compressed(described):
    with zipfile.ZipFile(described()) as archive:
        assert [(each.filename, each.compress_type) for each in archive.infolist()] == [
            ("labels.txt", zipfile.ZIP_STORED)
        ]


def test_metadata_is_replaced_and_other_documents_are_kept(bare, described, tmp_path):
    path = described()
    document, labels = tmp_path / "preprocessing.json", tmp_path / "labels.txt"
    document.write_text("{}", encoding="utf-8")
    labels.write_text("1\n2\n3\n4\n5\n", encoding="utf-8")
    metadata.pack(path, document)
    before, expected = entries(path), outputs(path)
    metadata.write(path, {**ABOUT, "author": "", "name": "another"}, DEFAULT, labels)
    assert [name for name, _, _ in entries(path)] == [name for name, _, _ in before]
    found = metadata.read(path)
    assert found["name"] == "another"
    assert "author" not in found
    assert "Zoë".encode() not in path.read_bytes(), "replaced content does not stay in the file"
    assert metadata.unpack(path, "preprocessing.json") == "{}"
    assert metadata.unpack(path, "labels.txt") == "1\n2\n3\n4\n5\n"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["labels.txt", "preprocessing.json"]
    np.testing.assert_array_equal(outputs(path), expected)


@given(
    st.fixed_dictionaries(dict.fromkeys(ABOUT, st.text())),
    st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3),
    st.tuples(*[st.floats(2**-10, 1e6, width=32)] * 3),
)
@settings(max_examples=50)
def test_any_text_and_any_normalization(bare, labels, tmp_path_factory, about, mean, std):
    path = tmp_path_factory.getbasetemp() / "any.tflite"
    path.write_bytes(bare["float32"])
    metadata.write(path, about, GIVEN.replace(mean=mean, std=std), labels)
    found = metadata.read(path)
    assert {key: found[key] for key in ABOUT if key in found} == {key: text for key, text in about.items() if text}
    assert metadata.normalization_of(found) == (mean, std)
    interpreter(path)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda model: b"no model at all", "it is not a TFLite model"),
        (lambda model: converted(inputs=2), "it must have one input and one output"),
        (lambda model: model[:200], "it refers to"),
        (lambda model: converted(_experimental_use_buffer_offset=True), "its weights are stored after the model"),
        (lambda model: of_newer_schema(), "it uses a newer schema"),
        (lambda model: with_metadata_in_buffer(model, 1000), "TFLITE_METADATA must be in one of its buffers"),
        (lambda model: with_metadata_in_buffer(model, 0), "TFLITE_METADATA must be in one of its buffers"),
        (lambda model: with_metadata_in_buffer(model, 2), "an entry must have a buffer of its own"),
    ],
)
def test_files_that_cannot_have_metadata_are_left_unchanged(bare, labels, tmp_path, made, says):
    path = tmp_path / "model.tflite"
    path.write_bytes(made(bare["float32"]))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"model.tflite cannot be given metadata: {says}"):
        metadata.write(path, ABOUT, GIVEN, labels)
    assert path.read_bytes() == before


def of_newer_schema() -> bytes:
    builder = flatbuffers.Builder()
    tensors = put_offsets(builder, [put_table(builder, {})])
    vectors = [builder.CreateNumpyVector(np.zeros(1, np.int32)) for _ in range(2)]
    subgraph = put_table(builder, dict(enumerate([tensors, *vectors])))
    builder.Finish(put_table(builder, {Model.SUBGRAPHS: put_offsets(builder, [subgraph])}, {10: ("I", 1)}), b"TFL3")
    return bytes(builder.Output())


def with_metadata_in_buffer(model: bytes, number: int) -> bytes:
    """Return a model with a metadata entry that points to the buffer of this index."""
    from ai_edge_litert import schema_py_generated as schema

    unpacked = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    unpacked.metadata.append(schema.MetadataT("TFLITE_METADATA", number))
    builder = flatbuffers.Builder()
    builder.Finish(unpacked.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_file_without_metadata_has_none(bare, tmp_path):
    path = tmp_path / "model.tflite"
    for content in (bare["float32"], with_entry(bare["float32"], "TFLITE_METADATA", b""), b"", b"no model at all"):
        path.write_bytes(content)
        assert metadata.read(path) is None
    with pytest.raises(FileNotFoundError):
        metadata.read(tmp_path / "none.tflite")


def test_metadata_of_another_format_raises_an_error_that_names_the_file(bare, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(with_entry(bare["float32"], "TFLITE_METADATA", b"\0\0\0\0M002 and more"))
    with pytest.raises(ValueError, match=r"model.tflite has damaged metadata: its format must be b'M001'. Received"):
        metadata.read(path)


def result_or_error(read, *arguments):
    """Return what `read` returns, checked to be JSON and read in time, or its ValueError."""
    before = time.process_time()
    try:
        found = read(*arguments)
        json.dumps(found)
    except ValueError as error:
        found = error
    assert time.process_time() - before < 10
    return found


changes = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8)


@pytest.fixture(scope="module")
def whole(bare, labels, tmp_path_factory) -> bytes:
    """A file with metadata."""
    path = tmp_path_factory.mktemp("whole") / "model.tflite"
    path.write_bytes(bare["float32"])
    metadata.write(path, ABOUT, GIVEN, labels)
    return path.read_bytes()


@given(changes, st.none() | st.integers(0, 10**6))
@settings(max_examples=500)
def test_damaged_files_are_read_or_refused(whole, tmp_path_factory, changes, end):
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    content = bytearray(whole)
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content if end is None else content[: end % len(content)])
    found, text = result_or_error(metadata.read, path), result_or_error(metadata.unpack, path, "labels.txt")
    for each in (found, text):
        if isinstance(each, ValueError):
            assert re.match(f"{re.escape(str(path))} has (damaged metadata|a damaged archive): .", str(each))
    if isinstance(found, dict):
        metadata.normalization_of(found)


@given(changes, st.none() | st.integers(0, 10**6))
@settings(max_examples=500)
def test_damaged_metadata_is_read_or_refused(changes, end):
    content = bytearray(encode({**ABOUT, "subgraph_metadata": [{"input_tensor_metadata": [{"stats": {"max": [1]}}]}]}))
    for position, value in changes:
        content[position % len(content)] = value
    found = result_or_error(decode, bytes(content if end is None else content[: end % len(content)]))
    assert isinstance(found, dict) or str(found).startswith("it")


def test_reading_repeated_references_is_bounded(bare, tmp_path):
    """Read 1000 references to a subgraph with 1000 references to a tensor with 1000 references to a file."""
    builder = flatbuffers.Builder()
    written = put_table(builder, {0: builder.CreateString("x" * 1000)})
    for field in (6, 2, 3):
        written = put_table(builder, {field: put_offsets(builder, [written] * 1000)})
    builder.Finish(written, IDENTIFIER)
    path = tmp_path / "model.tflite"
    path.write_bytes(with_entry(bare["float32"], "TFLITE_METADATA", bytes(builder.Output())))
    assert f"{path} has damaged metadata: it is too large or refers to the same data" in str(
        result_or_error(metadata.read, path)
    )


def test_a_text_that_would_fill_the_memory_is_refused(bare, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(bare["float32"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", b"\n" * (metadata.MAX_TEXT_BYTES + 1))
        archive.writestr("preprocessing.json", DEFAULT.to_json())
    assert path.stat().st_size < 2**16
    with pytest.raises(ValueError, match=r"model\.tflite has a damaged archive: labels\.txt is larger than"):
        TFLiteClassifier(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("dict.txt", FIVE)
    with pytest.raises(ValueError, match=r"damaged archive: dict\.txt is compressed by method 14"):
        metadata.unpack(path, "dict.txt")
    assert metadata.unpack(path, "preprocessing.json") == DEFAULT.to_json()


def with_labels(path: Path, model: bytes, named: list[dict], texts: dict[str, str]) -> Path:
    """Write a file as others do: its metadata names files for the output, and texts are packed behind it."""
    about = {"subgraph_metadata": [{"output_tensor_metadata": [{"associated_files": named}]}]}
    path.write_bytes(with_entry(model, "TFLITE_METADATA", encode(about)))
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return path


FIVE, GERMAN = "one\ntwo\nthree\nfour\nfive\n", "eins\nzwei\ndrei\nvier\nfünf\n"
AXIS = "TENSOR_AXIS_LABELS"


@pytest.mark.parametrize(
    ("named", "texts", "first"),
    [
        ([{"name": "dict.txt", "type": AXIS}], {"dict.txt": FIVE}, "one"),
        ([{"name": "a/b.names", "type": "TENSOR_VALUE_LABELS"}], {"a/b.names": FIVE, "other.txt": GERMAN}, "one"),
        ([{"name": "de.txt", "type": AXIS, "locale": "de"}, {"name": "x.txt", "type": AXIS}], {}, None),
        (
            [{"name": "de.txt", "type": AXIS, "locale": "de"}, {"name": "x.txt", "type": AXIS}],
            {"de.txt": GERMAN, "x.txt": FIVE},
            "one",
        ),
        ([], {"dict.txt": FIVE}, "one"),
        ([{"name": "missing.txt", "type": AXIS}], {"dict.txt": FIVE, "image.png": "..."}, "one"),
        ([], {"LICENSE.txt": "free\n\nfor all"}, None),
        ([], {"readme.txt": "about the network"}, None),
        ([], {"a.txt": FIVE, "b.txt": GERMAN}, None),
    ],
)
def test_labels_are_found_whatever_their_file_is_called(bare, tmp_path, named, texts, first):
    path = with_labels(tmp_path / "model.tflite", bare["uint8"], named, texts)
    classifier = TFLiteClassifier(path)
    assert classifier.has_labels == (first is not None)
    assert classifier.labels[0] == (first or "class 0")


def test_labels_that_would_change_a_terminal_are_refused(bare, tmp_path):
    texts = {"di\nct.txt": FIVE.replace("two", "\x1b[2Jtwo")}
    path = with_labels(tmp_path / "model.tflite", bare["uint8"], [{"name": "di\nct.txt", "type": AXIS}], texts)
    with pytest.raises(ValueError, match=r"no control characters\. Received: '\\x1b\[2Jtwo' in line 2") as error:
        TFLiteClassifier(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mean": [1, 2], "std": [1, 1]}, "`mean` must be 3 numbers"),
        ({"mean": [1], "std": [0]}, "`std` must be positive"),
        ({"mean": [float("nan")], "std": [1]}, "`mean` must be 3 numbers"),
        ({}, "`mean` must be 3 numbers"),
    ],
)
def test_an_invalid_normalization_raises_an_error_that_names_the_file(bare, tmp_path, options, says):
    path = tmp_path / "model.tflite"
    unit = {"options_type": "NormalizationOptions", "options": options}
    content = encode({"subgraph_metadata": [{"input_tensor_metadata": [{"process_units": [unit]}]}]})
    path.write_bytes(with_entry(bare["float32"], "TFLITE_METADATA", content))
    with pytest.raises(ValueError, match=f"model.tflite has unusable metadata: {says}"):
        TFLiteClassifier(path)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"subgraph_metadata": []},
        {"subgraph_metadata": [{}]},
        {"subgraph_metadata": [{"input_tensor_metadata": []}]},
        {"subgraph_metadata": [{"input_tensor_metadata": [{"process_units": [{}]}]}]},
        {"subgraph_metadata": [{"input_tensor_metadata": [{"process_units": [{"options_type": 9}]}]}]},
    ],
)
def test_metadata_without_a_normalization_has_none(bare, tmp_path, found):
    assert metadata.normalization_of(found) is None


def test_a_single_mean_and_deviation_apply_to_all_channels(bare, tmp_path):
    path = tmp_path / "model.tflite"
    units = [{"options_type": "NormalizationOptions", "options": {"mean": [7.0], "std": [2.0]}}]
    content = encode({"subgraph_metadata": [{"input_tensor_metadata": [{"process_units": units}]}]})
    path.write_bytes(with_entry(bare["float32"], "TFLITE_METADATA", content))
    assert TFLiteClassifier(path).preprocessing == DEFAULT.replace(size=(SIDE, SIDE), mean=(7,) * 3, std=(2,) * 3)


def test_reading_does_not_import_tensorflow(described):
    path = described()
    code = (
        "import sys\n"
        "from keras_inception.tflite import metadata; from keras_inception.tflite.classifier import TFLiteClassifier\n"
        f"TFLiteClassifier({str(path)!r}), metadata.read({str(path)!r})\n"
        "print({'tensorflow', 'keras', 'tensorflow_lite_support', 'tflite_support'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "set()"


def test_files_made_elsewhere_are_run_without_tensorflow(bare, tmp_path):
    path = with_labels(tmp_path / "model.tflite", bare["uint8"], [{"name": "d.txt", "type": AXIS}], {"d.txt": FIVE})
    for name in FIVE.split():
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.fromarray(pixels(0)[0].astype(np.uint8)).save(tmp_path / "images" / name / "noise.png")
    image = tmp_path / "images" / "one" / "noise.png"
    commands = [["evaluate", tmp_path / "images"], ["benchmark", "--no-peak", "--runs", 1], ["predict", image]]
    code = (
        "import sys\nfrom keras_inception.cli import main\n"
        f"for command, *rest in {[list(map(str, command)) for command in commands]}:\n"
        f"    try: main([command, {str(path)!r}, *rest])\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert re.fullmatch(r"\S+noise\.png: .*(one|two|three) .*", done.stdout.splitlines()[-1])
    assert "I0000" not in done.stderr


def anything(kind: str = ROOT) -> st.SearchStrategy:
    """Draw values of a schema type, except those that equal a missing field and are not written."""
    if kind == "string":
        return st.text()
    if kind in NUMBERS:
        return st.integers(1, 10**6) if kind != "float" else st.integers(1, 800).map(lambda eighths: eighths / 8)
    if kind in NAMES:
        return st.sampled_from(NAMES[kind][1:])
    if kind in TABLES:
        return tables(kind)
    return st.lists(anything(kind[1:-1]), max_size=2)


@st.composite
def tables(draw, name: str) -> dict:
    value: dict = {}
    for key, kind in TABLES[name].items():
        if not key.endswith("_type") and draw(st.booleans()):
            if kind == "union":
                names = NAMES[TABLES[name][f"{key}_type"]]
                value[f"{key}_type"] = draw(st.sampled_from([one for one in names if one in TABLES]))
            value[key] = draw(anything(value.get(f"{key}_type", kind)))
    return value


@given(anything())
def test_any_metadata_is_decoded_as_encoded(value):
    assert decode(encode(value)) == value


@pytest.fixture(scope="module")
def tflite_support():
    """The modules and classes of tflite-support that write and show metadata."""
    task_library.load_libusb()
    from tensorflow_lite_support.metadata import metadata_schema_py_generated
    from tensorflow_lite_support.metadata.python import metadata
    from tensorflow_lite_support.metadata.python.metadata_writers import image_classifier, metadata_info, writer_utils

    return metadata, image_classifier.MetadataWriter, metadata_info, writer_utils, metadata_schema_py_generated


@pytest.mark.tflite_support
@given(anything())
def test_tflite_support_decodes_any_metadata_alike(tflite_support, value):
    assert json.loads(tflite_support[0].convert_to_json(encode(value))) == value


@pytest.mark.tflite_support
@pytest.mark.parametrize("given", [GIVEN, DEFAULT, NAMED["torchvision"]], ids=["unequal", "default", "torchvision"])
@pytest.mark.parametrize("about", [ABOUT, {**ABOUT, "author": "", "license": ""}], ids=["all", "some"])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_tflite_support_reads_and_writes_the_same(bare, described, labels, tflite_support, kind, about, given):
    library, writer, info, utils, schema = tflite_support
    model = bytearray(bare[kind])
    general = {key: text or None for key, text in about.items() if key != "license"}
    expected = writer.create_from_metadata_info(
        model,
        info.GeneralMd(**general, licenses=about["license"] or None),
        info.InputImageTensorMd(
            name="image",
            description="RGB picture",
            norm_mean=list(given.mean),
            norm_std=list(given.std),
            color_space_type=schema.ColorSpaceType.RGB,
            tensor_type=utils.get_input_tensor_types(model)[0],
        ),
        info.ClassificationTensorMd(
            name="probabilities",
            description="probability of each label",
            label_files=[info.LabelFileMd(file_path=str(labels))],
            tensor_type=utils.get_output_tensor_types(model)[0],
        ),
    )
    shown = library.MetadataDisplayer.with_model_file(str(described(kind, about, given)))
    assert json.loads(shown.get_metadata_json()) == json.loads(expected.get_populated_metadata_json())
    assert shown.get_packed_associated_file_list() == ["labels.txt"]
    assert shown.get_associated_file_buffer("labels.txt") == labels.read_bytes()


@pytest.mark.tflite_support
def test_files_of_tflite_support_are_read_and_replaced(bare, labels, tmp_path, tflite_support):
    path = tmp_path / "model.tflite"
    written = tflite_support[1].create_for_inference(bytearray(bare["float32"]), [127.5], [127.5], [str(labels)])
    path.write_bytes(written.populate())
    assert metadata.read(path) == json.loads(written.get_populated_metadata_json())
    assert metadata.normalization_of(metadata.read(path)) == ((127.5,) * 3, (127.5,) * 3)
    expected = outputs(path)
    metadata.write(path, ABOUT, GIVEN, labels)
    assert metadata.read(path)["name"] == ABOUT["name"]
    assert [name for name, _, _ in entries(path)].count("TFLITE_METADATA") == 1
    np.testing.assert_array_equal(outputs(path), expected)


@pytest.mark.clients
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_mediapipe_reads_every_field(described, tmp_path, kind):
    assert mediapipe.unavailable() is None
    script, found = Path(__file__).with_name("mediapipe_metadata.py"), tmp_path / "found.json"
    job = {"model": str(described(kind)), "found": str(found)}
    run_program([mediapipe.python(), "-I", script], job, "MediaPipe")
    given, taken = STATS[kind]
    image = {
        "name": "image",
        "description": "RGB picture",
        "content": {"contentPropertiesType": 2, "contentProperties": {"colorSpace": 1}},
        "processUnits": [{"optionsType": 1, "options": {"mean": [128.0, 64.0, 0.0], "std": [64.0, 128.0, 0.5]}}],
        "stats": given,
    }
    probabilities = {
        "name": "probabilities",
        "description": "probability of each label",
        "content": {"contentPropertiesType": 1, "contentProperties": {}},
        "stats": taken,
        "associatedFiles": [
            {
                "name": "labels.txt",
                "description": "Labels for categories that the model can recognize.",
                "type": 2,
            }
        ],
    }
    assert json.loads(found.read_text(encoding="utf-8")) == {
        **ABOUT,
        "subgraphMetadata": [{"inputTensorMetadata": [image], "outputTensorMetadata": [probabilities]}],
        "minParserVersion": "1.0.0",
    }
