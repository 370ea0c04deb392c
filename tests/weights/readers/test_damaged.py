"""Reading damaged files ends in weights, a ValueError or an OSError, never in a crash, a hang or exhausted memory."""

import functools
import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from io import BytesIO

import h5py
import numpy as np
import pytest
from conftest import KINDS, keras_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import in_full_but
from writers import (
    BUNDLE_HEADER,
    Tensor,
    bundle_entry,
    field,
    masked_crc32c,
    pickle,
    table,
    torch_stream,
    torch_zip,
    varint,
)

from keras_inception.weights import read_tensors, read_weights
from keras_inception.weights.readers import isolation, wire

pytestmark = pytest.mark.usefixtures("own_children")

# Formats whose checksums would catch the damage. With repaired checksums, it reaches the reader.
MENDED = {"torch zip": "archive/data.pkl", "keras": "model.weights.h5", "tf 1": None, "tf 2": None}
CASES = [*KINDS, *(f"{kind}, mended" for kind in MENDED), "tf 2, data"]
FLOOD = 4 * 2**20
REASONS = ("cannot be read as a", "is not a supported weights file", "not finite", "No such file or directory")

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "number", "cut", "repeat"]), st.integers(0, 2**32), st.integers(0, 2**32)
    ),
    min_size=1,
    max_size=6,
)
ends = st.none() | st.integers(0, 2**32)
NUMBERS = (0, 1, 127, 128, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)


def damaged(content, changes, end):
    content = bytearray(content)
    for change, place, value in changes:
        if not content:
            break
        at = place % len(content)
        if change == "flip":
            content[at] ^= 1 << value % 8
        elif change == "set":
            content[at] = value % 256
        elif change == "number":
            content[at : at + 8] = struct.pack("<Q", [*NUMBERS, value % len(content)][value % (len(NUMBERS) + 1)])
        elif change == "cut":
            del content[at : at + value % 64]
        else:
            content[at:at] = content[at : at + value % 64]
    return bytes(content if end is None else content[: end % (len(content) + 1)])


def rezipped(content, name, change):
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, change(old.read(entry)) if entry == name else old.read(entry))
    return buffer.getvalue()


def resummed(content):
    """Repair the checksums of a table's blocks, as far as they can be found."""
    content = bytearray(content)
    view = memoryview(bytes(content))

    def mend(offset, size):
        if offset + size + 5 <= len(view):
            checksum = masked_crc32c(view[offset : offset + size + 1])
            content[offset + size + 1 : offset + size + 5] = struct.pack("<I", checksum)

    try:
        at, handle = 0, []
        for _ in range(4):
            number, at = wire.varint(view[-48:], at)
            handle.append(number)
        mend(*handle[2:])
        block, at = view[handle[2] : handle[2] + handle[3] - 8], 0
        while at < len(block):
            for _ in range(3):
                number, at = wire.varint(block, at)
            key = block[at - 2]
            offset, after = wire.varint(block, at + key)
            mend(offset, wire.varint(block, after)[0])
            at += key + number
    except ValueError:
        pass
    return bytes(content)


def survives(path, size):
    """Check that reading ends in weights, a ValueError or an OSError, with memory for only a few copies of the file."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    tensors, reason = {}, REASONS[0]
    try:
        tensors = read_tensors(path)
    except (ValueError, OSError) as error:
        reason = str(error)
    assert any(known in reason for known in REASONS)
    assert all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in tensors.values())
    assert tracemalloc.get_traced_memory()[1] - before < FLOOD + 16 * size


def check(case, file_of, folder, changes, end):
    kind, _, special = case.partition(", ")
    whole = file_of(kind)
    path = folder / whole.name
    target = "model.ckpt.data-00000-of-00001" if special == "data" else whole.name
    content = (whole.parent / target).read_bytes()
    change = functools.partial(damaged, changes=changes, end=end)
    if not special or special == "data":
        content = change(content)
    elif MENDED[kind]:
        content = rezipped(content, MENDED[kind], change)
    else:
        content = resummed(change(content))
    (folder / target).write_bytes(content)
    survives(path, len(content))


@pytest.fixture
def folder(request, tmp_path, file_of):
    """Copy a file's companions to a folder, and trace memory inside the block."""
    kind = request.node.callspec.params["case"].partition(", ")[0]
    for beside in file_of(kind).parent.iterdir():
        shutil.copy(beside, tmp_path)
    read_tensors(file_of(kind))  # do not count imports and caches
    tracemalloc.start()
    yield tmp_path
    tracemalloc.stop()


quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.usefixtures("quick_children")
@pytest.mark.parametrize("case", in_full_but({"keras, mended", "torch zip, mended", "tf 2, data"}, CASES))
@given(changes=edits, end=ends)
@quick
def test_damage(case, file_of, folder, changes, end):
    check(case, file_of, folder, changes, end)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_children")
@pytest.mark.parametrize("case", CASES)
@given(changes=edits, end=ends)
@settings(quick, max_examples=1500)
def test_much_damage(case, file_of, folder, changes, end):
    check(case, file_of, folder, changes, end)


@pytest.mark.usefixtures("quick_children")
@pytest.mark.parametrize("case", in_full_but({"keras", "torch zip", "tf 2"}, KINDS))
def test_a_file_that_is_cut_off_is_never_read_in_part(case, file_of, folder):
    whole = file_of(case).read_bytes()
    for end in sorted({*range(0, len(whole), max(1, len(whole) // 60)), *range(max(0, len(whole) - 20), len(whole))}):
        (folder / file_of(case).name).write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"cannot be read as a|is not a supported weights file"):
            read_tensors(folder / file_of(case).name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_left_as_it_was(kind, file_of, arrays, tmp_path):
    model = keras_model(arrays)
    for weight in model.weights:
        weight.assign(weight + 1)
    before = model.get_weights()
    for beside in file_of(kind).parent.iterdir():
        shutil.copy(beside, tmp_path)
    path = tmp_path / file_of(kind).name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=path.name):
        read_weights(path, "googlenet").load_into(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def hostile(folder):
    """Write small files that claim to be huge, and return their paths."""
    empty = np.zeros(1, np.float32)
    safetensors = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    files = {
        "header of 10 GB.safetensors": struct.pack("<Q", 10 * 2**30) + b"{" + bytes(100),
        "tensor of 4 TB.safetensors": struct.pack("<Q", len(safetensors)) + safetensors + bytes(8),
        "storage of 4 TB.zip": torch_zip({"a": Tensor("s", empty, count=2**40)}),
        "storage of 4 TB.stream": torch_stream({"a": Tensor("s", empty, count=2**40)}),
        "expanded to 4 TB.zip": torch_zip({"a": Tensor("s", empty, shape=(2**40,), strides=(0,))}),
        "text of 2 GB.stream": b"\x80\x02X\xff\xff\xff\x7f",
        "number of 2 GB.stream": b"\x80\x02\x8b\xff\xff\xff\x7f",
        "bomb.pth": bomb("archive/data.pkl"),
        "bomb of numbers.pth": bomb("archive/data/0", {"archive/data.pkl": pickle({"a": empty})[0]}),
        "bomb.keras": bomb("model.weights.h5"),
        "deep.stream": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
        "key.stream": b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.",
        "blob of 10 GB.caffemodel": field(1, b"net") + varint(100 << 3 | 2) + varint(10 * 2**30),
        "shape of 4 TB.caffemodel": field(100, field(7, field(5, bytes(4)) + field(7, field(1, varint(2**40))))),
        "many blobs.caffemodel": field(100, field(7, field(7, b"")) * 10**5),
        "tensor of 4 TB.index": table({b"": BUNDLE_HEADER, b"a": bundle_entry(shape=(2**40,), size=2**42)}),
        "far away.index": table({b"": BUNDLE_HEADER, b"a": bundle_entry(offset=2**63)}),
        "negative.index": table({b"": BUNDLE_HEADER, b"a": bundle_entry(shape=(2**64 - 1,), size=2**64 - 4)}),
        "block of 4 TB.index": table({b"": BUNDLE_HEADER})[:-48] + varint(0) * 3 + varint(2**42) + bytes(31) + MAGIC,
        "far shard.index": table({b"": BUNDLE_HEADER, b"a": bundle_entry(shard=2**60)}),
        "no shard.index": table({b"": BUNDLE_HEADER, b"a": bundle_entry()}),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for name in files:
        if name.endswith(".index") and name != "no shard.index":
            (folder / name.replace(".index", ".data-00000-of-00001")).write_bytes(bytes(8))
    with h5py.File(folder / "tensor of 8 TB.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (2**20, 2**20), "<f8")
        file["layers/dense/vars"].attrs["name"] = "predictions"
    return sorted(path for path in folder.iterdir() if ".data-" not in path.name)


MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def bomb(name, others=None):
    """Return a zip file with 160 MB of compressed zeros."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for other, content in (others or {}).items():
            file.writestr(other, content, zipfile.ZIP_STORED)
        file.writestr(name, bytes(160 * 2**20), compresslevel=1)
    return buffer.getvalue()


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports a process's peak memory in /proc")
def test_what_a_file_claims_takes_no_memory(tmp_path):
    """Read files in one process, as users do, and have it report by how much its memory grew."""
    paths = [path for path in hostile(tmp_path) if path.suffix != ".index" or path.stem == "tensor of 4 TB"]
    script = """
        import re, sys
        from keras_inception.weights.readers import read_tensors

        def peak():
            return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

        before = peak()
        for path in sys.argv[1:]:
            try:
                print("weights", read_tensors(path).keys())
            except (ValueError, OSError) as error:
                print(type(error).__name__, error)
        print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, paths)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, grown = done.stdout.splitlines()
    for path, line in zip(paths, lines, strict=True):
        assert line.startswith("ValueError"), line
        assert path.stem in line
    assert int(grown) < 128 * 2**10


@pytest.mark.usefixtures("quick_children")
def test_a_checkpoint_that_claims_much_is_refused(tmp_path):
    paths = [path for path in hostile(tmp_path) if path.suffix == ".index"]
    assert len(paths) == 6
    for path in paths:
        with pytest.raises(FileNotFoundError if path.stem == "no shard" else ValueError, match=path.stem):
            read_tensors(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the memory of another process")
def test_a_file_that_floods_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((4096, 4096), np.float32)
        file["layers/dense/vars"].attrs["name"] = "predictions"
    assert read_tensors(path)["predictions/kernel"].shape == (4096, 4096)
    monkeypatch.setattr(isolation, "MEMORY", 120 * 2**20)  # NumPy and h5py take half of it
    monkeypatch.setattr(isolation, "MEMORY_A_BYTE", 0)
    with pytest.raises(ValueError, match=r"large\.h5 cannot be read as a Keras file: .*[Mm]emory"):
        read_tensors(path)


@pytest.mark.parametrize("kind", ["keras", "keras weights", "tf 1", "tf 2"])
def test_a_file_that_hangs_the_library_is_refused(kind, file_of, monkeypatch):
    monkeypatch.setattr(isolation, "SECONDS", 0)
    path = file_of(kind)
    with pytest.raises(ValueError, match=f"{path.name} cannot be read as a .* because it took longer than 0 s"):
        read_tensors(path)


@pytest.mark.parametrize("kind", ["keras", "keras weights", "tf 1", "tf 2"])
def test_a_file_that_crashes_the_library_is_refused(kind, file_of, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    library = "h5py" if kind.startswith("keras") else "tensorflow"
    (tmp_path / f"{library}.py").write_text("import os; os.abort()")
    path = file_of(kind)
    with pytest.raises(ValueError, match=f"{path.name} cannot be read as a .* ended with SIGABRT"):
        read_tensors(path)
