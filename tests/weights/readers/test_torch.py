"""Files of torch.save. torch itself wrote those in files/, `writers` the others."""

import argparse
import logging
import pickle
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from writers import Tensor, text, torch_stream, torch_zip
from writers import pickle as pickled

from keras_inception.weights import read_tensors

FILES = Path(__file__).parent / "files"
FORMS = {"zip": torch_zip, "stream": torch_stream}


def values(*shape):
    """Return the numbers of make_torch.py."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 8 - 1


NET = {
    "conv.weight": values(3, 2, 1, 1),
    "conv.bias": values(3) + 1,
    "bn.weight": values(3) + 2,
    "bn.bias": values(3) + 3,
    "bn.running_mean": values(3) + 4,
    "bn.running_var": values(3) + 5,
}
VIEWS = {
    "double": values(2, 3),
    "half": values(3),
    "bfloat16": values(3),
    "transposed": values(2, 3, 4).transpose(2, 0, 1),
    "part": values(2, 3, 4)[1, :, 1::2],
    "expanded": values(1).repeat(3),
    "parameter": values(2),
    "scalar": values(),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def zipped(**entries):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr("archive/" + name.replace("_", "."), content)
    return buffer.getvalue()


def assert_equal(got, want):
    assert list(got) == list(want)
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("net_zip", NET),
        ("net_stream", NET),
        ("net_protocol_4", NET),
        ("views_zip", VIEWS),
        ("views_stream", VIEWS),
        ("training_zip", NET),
        ("training_stream", NET),
    ],
)
def test_torchs_own_files(name, want):
    assert_equal(read_tensors(FILES / f"{name}.pth"), want)


def test_a_whole_model_is_refused_by_the_name_of_its_class():
    match = r"torch\.save\(model\.state_dict\(\), path\) does\. Received: __main__\.Net$"
    with pytest.raises(ValueError, match=match):
        read_tensors(FILES / "whole_model.pth")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_floating_type_is_read(read, form, dtype):
    array = np.array([[0.0, -1.5, 3.140625], [1e-3, 256.0, -7.0]]).astype(dtype)
    assert_equal(read(form({"fc.weight": array})), {"fc.weight": array.astype(np.float32)})


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_big_endian_files_are_read(read, dtype):
    array = np.array([1.5, -2.25, 1e-3]).astype(dtype)
    assert_equal(read(torch_zip({"b": array}, byteorder=b"big")), {"b": array.astype(np.float32)})


def test_the_folder_in_the_zip_file_has_any_name(read):
    assert list(read(torch_zip({"b": values(2)}, folder="résumé 7"))) == ["b"]


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_state_dict_is_found_in_a_training_checkpoint(read, form, wrapper):
    assert_equal(read(form({"ema": {"x": values(1)}, wrapper: {"b": values(2)}})), {"b": values(2)})


STATE = {"conv.weight": values(3, 2, 1, 1), "conv.bias": values(3)}
ADAM = {"state": {"0": {"exp_avg": values(3), "exp_avg_sq": values(3)}, "1": {"exp_avg": values(2)}}}


@pytest.mark.parametrize(
    "keys",
    [
        ("model_state_dict",),
        ("net",),
        ("state_dict",),
        ("my_cnn",),
        ("checkpoint", "network"),
        ("model", "state_dict"),
    ],
    ids=".".join,
)
def test_a_state_dict_is_found_at_any_key(read, form, keys):
    content = STATE
    for key in reversed(keys):
        content = {key: content}
    assert_equal(read(form({"optimizer_state_dict": ADAM, **content, "rng": values(6)})), STATE)


def test_what_is_no_tensor_is_skipped_and_nothing_is_made_of_it(read):
    """As in timm's checkpoints; torch.save pickles by protocol 2."""
    extras = {
        "args": argparse.Namespace(lr=0.1, betas={0.9, 0.99}, where=FILES, sizes=frozenset({224})),
        "metric": np.float64(71.2),
        "epoch": 3,
        "milestones": {(1, 2): None, None: b"x"},
    }
    for protocol in (2, 3, 4):
        whole = pickle.dumps(extras, protocol)
        body = whole[2 + 9 * (protocol == 4) :]  # without the protocol and the frame
        state = pickled(STATE)[0][2:-1]
        content = b"\x80" + bytes([protocol]) + b"}" + text("state_dict") + state + b"s" + text("extras") + b""
        nested = content + body[:-1] + b"s."
        storages = {f"data_{key}": array.tobytes() for key, array in pickled(STATE)[1].items()}
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("archive/data.pkl", nested)
            for name, data in storages.items():
                file.writestr("archive/" + name.replace("_", "/"), data)
        assert_equal(read(buffer.getvalue()), STATE)


AVERAGED = {name: array + 1 for name, array in STATE.items()}


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_moving_average_is_read_and_logged(read, form, key, prefix, caplog):
    averaged = {f"{prefix}{name}": array for name, array in AVERAGED.items()}
    content = {"state_dict": STATE, key: {"n_averaged": np.array(7), **averaged}}
    with caplog.at_level(logging.WARNING, logger="keras_inception"):
        assert_equal(read(form(content)), AVERAGED)
    assert f"holds state_dict and {key}: loaded {key}, the averaged weights" in caplog.text


def test_of_several_networks_none_is_chosen(read, form):
    message = r"it holds several state dicts, (student, teacher|teacher, student): save the network's alone"
    with pytest.raises(ValueError, match=message):
        read(form({"student": STATE, "teacher": AVERAGED}))


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module.", "model.", "backbone.", "encoder.", "module._orig_mod.model.", "model.backbone."],
)
def test_the_prefixes_of_wrappers_are_removed(read, form, prefix):
    assert_equal(read(form({f"{prefix}{name}": array for name, array in STATE.items()})), STATE)


def test_the_prefix_of_some_names_is_removed_unless_two_become_the_same(read, form):
    assert list(read(form({"module.a": values(2), "module.b": values(2)}))) == ["a", "b"]
    assert list(read(form({"backbone.a": values(2), "head.b": values(2)}))) == ["a", "head.b"]
    assert list(read(form({"backbone.a": values(2), "a": values(2)}))) == ["backbone.a", "a"]
    assert list(read(form({"layer._orig_mod.a": values(2)}))) == ["layer.a"]
    assert list(read(form({"layer.module.a": values(2)}))) == ["layer.module.a"]


def test_pickles_of_python_2_are_read(read):
    tensor = pickled({"x": values(2)}, view=b"N")[0].partition(b"ctorch._utils")[2][:-2]
    pairs = b"\x80\x02ccollections\nOrderedDict\n](](U\x01xctorch._utils" + tensor + b"ee\x85R."
    one = torch_stream({"x": values(2)})
    assert one.count(pickled({"x": values(2)}, view=b"N")[0]) == 1
    assert_equal(read(one.replace(pickled({"x": values(2)}, view=b"N")[0], pairs)), {"x": values(2)})


def test_tensors_may_share_a_storage(read, form):
    storage = values(6)
    views = {
        "whole": Tensor("s", storage),
        "rows": Tensor("s", storage, shape=(2, 3), strides=(3, 1)),
        "columns": Tensor("s", storage, shape=(3, 2), strides=(1, 3)),
        "end": Tensor("s", storage, shape=(2,), strides=(1,), offset=4),
    }
    want = {"whole": storage, "rows": storage.reshape(2, 3), "columns": storage.reshape(2, 3).T, "end": storage[4:]}
    assert_equal(read(form(views)), want)


@pytest.mark.parametrize(
    "view",
    [
        {"shape": (7,), "strides": (1,)},
        {"shape": (2,), "strides": (6,)},
        {"shape": (1,), "strides": (1,), "offset": 6},
        {"shape": (2**40, 2**40), "strides": (1, 1)},
        {"shape": (2,), "strides": (2**63,)},
        {"shape": (1,), "strides": (1,), "offset": 2**64},
    ],
)
def test_a_view_beyond_its_storage_is_refused(read, form, view):
    with pytest.raises(ValueError, match=r"a tensor of shape \(.*\) reaches beyond its storage"):
        read(form({"a": Tensor("s", values(6), **view)}))


@pytest.mark.parametrize(
    "view",
    [
        {"shape": (-1,), "strides": (1,)},
        {"shape": (1,), "strides": (-1,)},
        {"shape": (1,), "strides": (1,), "offset": -1},
        {"shape": (1,), "strides": ()},
        {"shape": (1,) * 9, "strides": (1,) * 9},
    ],
)
def test_an_invalid_view_is_refused(read, form, view):
    with pytest.raises(ValueError, match="not made of a storage, an offset, a shape and strides"):
        read(form({"a": Tensor("s", values(6), **view)}))


def test_one_number_is_not_expanded_beyond_the_file(read, form):
    with pytest.raises(ValueError, match=r"more numbers than the file has bytes"):
        read(form({"a": Tensor("s", values(6), shape=(2**40,), strides=(0,))}))


def test_a_storage_is_not_given_a_thousand_names(read, form):
    storage = values(10_000)
    with pytest.raises(ValueError, match="more numbers than the file has bytes"):
        read(form({str(index): Tensor("s", storage) for index in range(20)}))


@pytest.mark.parametrize("count", [5, 7, 2**40, 2**70])
def test_a_storage_of_another_size_is_refused(read, form, count):
    with pytest.raises(ValueError, match="the storage s"):
        read(form({"a": Tensor("s", values(6), shape=(1,), strides=(1,), count=count)}))


def test_a_storage_of_two_sizes_is_refused(read, form):
    with pytest.raises(ValueError, match="or two of them"):
        read(form({"a": Tensor("s", values(6)), "b": Tensor("s", values(6), count=5)}))


def test_other_objects_in_a_state_dict_are_refused_by_name(read):
    content = b"\x80\x02}" + text("epoch") + b"K\x03s."
    with pytest.raises(ValueError, match=r"must hold tensors by name\. Received: epoch with a int$"):
        read(zipped(data_pkl=content))


def test_other_pickles_are_refused(read):
    with pytest.raises(ValueError, match="it is a pickle, but not one of torch"):
        read(pickle.dumps({"weights": [1.0, 2.0]}, protocol=2))


def test_a_list_of_storages_that_the_tensors_lack_is_refused(read):
    content = torch_stream({"a": Tensor("s", values(2))})
    with pytest.raises(ValueError, match="list of storages"):
        read(content.replace(b"](" + text("s"), b"](" + text("t")))


def test_a_zip_file_of_neither_torch_nor_keras_is_refused(read):
    with pytest.raises(ValueError, match=r"one entry data\.pkl\. Received: 0"):
        read(zipped(mimetype="application/epub+zip"))


def test_a_compressed_entry_is_not_unpacked(read):
    content = torch_zip({"a": np.zeros(10**6, np.float32)}, compression=zipfile.ZIP_DEFLATED)
    assert len(content) < 10_000
    with pytest.raises(ValueError, match=r"is compressed or encrypted, which torch and Keras never do"):
        read(content)


def test_overlapping_entries_are_refused(read):
    """Nest the entries: each contains the next one with its header, so all are nearly as large as the file."""
    folder, entries, content = "archive.xy", [], bytes(40_000)  # headers of 48 bytes are twelve numbers
    for index in range(29, 9, -1):
        entry = zipfile.ZipInfo(f"{folder}/data/{index}")
        entry.file_size = entry.compress_size = len(content)
        entry.CRC = zlib.crc32(content)
        content = entry.FileHeader() + content
        entries.append((entry, len(content)))
    storages = {str(i): Tensor(i, np.zeros(1, np.float32), count=10_000 + 12 * (29 - i)) for i in range(10, 30)}
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(f"{folder}/data.pkl", pickled(storages)[0])
        for entry, length in entries:
            entry.header_offset = file.fp.tell() + len(content) - length
            file.filelist.append(entry)
        file.fp.write(content)
        file.start_dir = file.fp.tell()
    with pytest.raises(ValueError, match=r"data/\d+ is larger than the file has room for|Overlapped entries"):
        read(buffer.getvalue())
