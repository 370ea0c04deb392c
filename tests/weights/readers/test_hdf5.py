"""What HDF5 can do and Keras does not is refused; what Keras does is in test_keras.py."""

import struct

import h5py
import numpy as np
import pytest

from keras_inception.weights.readers import hdf5

CHUNKED = {"chunked": {"chunks": (2, 2)}, "compressed": {"compression": "gzip"}, "resizable": {"maxshape": (None, 4)}}


@pytest.fixture
def written(tmp_path):
    """The root of a file that a function of the open file writes."""

    def write(function, **options):
        with h5py.File(tmp_path / "file.h5", "w", **options) as file:
            function(file)
        return hdf5.read((tmp_path / "file.h5").read_bytes())

    return write


@pytest.mark.parametrize(
    "dtype", ["<f2", "<f4", "<f8", "<i1", "<i8", "<u2", ">i4", pytest.param(">u8", id="big-endian unsigned")]
)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4), (1,) * 8])
def test_arrays_are_read_as_they_are(written, dtype, shape):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    got = written(lambda file: file.create_dataset("a/b", data=values))["a/b"].array()
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, values)


def test_a_compact_dataset_is_read(written):
    def write(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, dcpl=plist)
        file["a"][...] = [1, 2, 3]

    np.testing.assert_array_equal(written(write)["a"].array(), [1, 2, 3])


def test_groups_of_a_thousand_members_are_read(written):
    root = written(lambda file: [file.create_dataset(f"d{i}", data=np.float32(i)) for i in range(1000)])
    assert len(root.members) == 1000
    assert all(root[f"d{i}"].array() == i for i in range(0, 1000, 37))


@pytest.mark.parametrize("text", [["a", "résumé", ""], ["x" * 70_000], []])
@pytest.mark.parametrize("fixed", [False, True])
def test_texts_of_fixed_and_variable_length(written, text, fixed):
    if fixed and text and len(text[0]) > 60_000:
        text = ["x" * 60_000]
    values = np.array([each.encode() for each in text]) if fixed else text
    assert written(lambda file: file.attrs.__setitem__("names", values)).strings("names") == text


def test_one_long_text_is_not_read_a_thousand_times(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.attrs["names"] = ["x" * 60_000, *("y" for _ in range(3000))]
    content = (tmp_path / "file.h5").read_bytes()
    at = content.index(struct.pack("<I", 60_000))  # then the address and the index in its heap
    root = hdf5.read(content[:at] + content[at : at + 16] * 3001 + content[at + 16 * 3001 :])
    with pytest.raises(ValueError, match="lap over each other"):
        root.strings("names")


def test_one_text_and_many_attributes(written):
    def write(file):
        for index in range(100):
            file.attrs[f"name{index}"] = f"value {index}"

    root = written(write)
    assert [root.strings(f"name{index}") for index in range(100)] == [[f"value {index}"] for index in range(100)]
    assert root.strings("name100") is None


@pytest.mark.parametrize("kind", CHUNKED)
def test_data_in_chunks_are_refused(written, kind):
    root = written(lambda file: file.create_dataset("a", data=np.zeros((4, 4)), **CHUNKED[kind]))
    with pytest.raises(ValueError, match="a dataset must lie in one piece"):
        root["a"].array()


def test_soft_and_external_links_are_refused(written):
    with pytest.raises(ValueError, match="links other than hard ones"):
        written(lambda file: file.__setitem__("a", h5py.SoftLink("/b"))).members  # noqa: B018
    with pytest.raises(ValueError, match="groups must be symbol tables"):
        written(lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/b")))["a"].array()


def test_data_in_other_files_are_refused(written, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(16))
    external = [(str(tmp_path / "secret"), 0, 16)]
    root = written(lambda file: file.create_dataset("a", (4,), "<f4", external=external))
    with pytest.raises(ValueError, match="data in another file"):
        root["a"].array()
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "b", (4,))
    root = written(lambda file: file.create_virtual_dataset("a", layout))
    with pytest.raises(ValueError, match=r"version|one piece"):
        root["a"].array()


def test_data_that_were_never_written_are_refused(written):
    root = written(lambda file: file.create_dataset("a", (2**20, 2**20), "<f8"))
    with pytest.raises(ValueError, match=r"a dataset of 8796093022208 bytes has 0"):
        root["a"].array()


@pytest.mark.parametrize("values", [np.array([b"abc"]), np.array([1 + 2j]), np.array([True]), np.zeros(2, ">f4")])
def test_what_are_no_numbers_is_refused(written, values):
    root = written(lambda file: file.create_dataset("a", data=values))
    with pytest.raises(ValueError, match="little-endian numbers"):
        root["a"].array()


@pytest.mark.parametrize("version", ["v108", "latest"])
def test_newer_forms_of_the_format_are_refused(written, version):
    with pytest.raises(ValueError, match=r"superblock must be as Keras writes it, version 0\. Received: version [23]"):
        written(lambda file: file.create_group("a"), libver=version)


def test_what_is_not_there_is_named(written):
    root = written(lambda file: file.create_dataset("a/b", data=1.0))
    for path in ("c", "a/c", "a/b/c", ""):
        with pytest.raises(ValueError, match=f"it has no {path}"):
            root[path]


def test_a_group_that_holds_itself_ends(written):
    """Whoever walks it does: no file of a network nests like that."""
    from keras_inception.weights.readers.keras import _groups

    def write(file):
        file.create_group("layers")["layers"] = file["/"]
        file["layers"].create_group("vars")

    with pytest.raises(ValueError, match="must not nest more than 16 deep"):
        list(_groups(written(write)))
