"""HDF5 features: safe ones are read, unsafe ones refused. Files that Keras writes are in test_keras.py."""

import h5py
import numpy as np
import pytest

from keras_inception.weights import read_tensors
from keras_inception.weights.readers.keras_child import Datasets, _groups, member, texts

LAYOUTS = {
    "chunked": {"chunks": (3, 2)},
    "gzip": {"compression": "gzip"},
    "gzip, shuffled": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "checksums": {"fletcher32": True},
    "resizable": {"maxshape": (None, 5)},
}
VERSIONS = ["earliest", "v108", "v110", "latest"]
VALUES = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


@pytest.fixture
def written(tmp_path):
    """Return the open root of a file that a function writes."""
    opened = []

    def write(function, **options):
        with h5py.File(tmp_path / "file.h5", "w", **options) as file:
            function(file)
        opened.append(h5py.File(tmp_path / "file.h5", "r"))
        return opened[-1]

    yield write
    for file in opened:
        file.close()


def array(root, path="a"):
    return Datasets(root).read(member(root, path))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_in_every_layout_are_read(layout, version, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w", libver=version) as file:
        file.attrs["layer_names"] = ["fc"]
        file.create_group("fc").attrs["weight_names"] = ["fc/kernel:0", "fc/bias:0"]
        file.create_dataset("fc/fc/kernel:0", data=VALUES, **LAYOUTS[layout])
        file["fc/fc/bias:0"] = VALUES[0]
    tensors = read_tensors(tmp_path / "weights.h5")
    assert list(tensors) == ["fc/kernel", "fc/bias"]
    np.testing.assert_array_equal(tensors["fc/kernel"], VALUES)
    np.testing.assert_array_equal(tensors["fc/bias"], VALUES[0])


@pytest.mark.parametrize(
    "dtype", ["<f2", "<f4", "<f8", ">f4", "<i1", "<i8", "<u2", ">i4", pytest.param(">u8", id="big-endian unsigned")]
)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4), (1,) * 8])
def test_arrays_are_read_as_they_are(written, dtype, shape):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    got = array(written(lambda file: file.create_dataset("a/b", data=values)), "a/b")
    assert got.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(got, values)


def test_a_compact_dataset_is_read(written):
    def write(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, dcpl=plist)
        file["a"][...] = [1, 2, 3]

    np.testing.assert_array_equal(array(written(write)), [1, 2, 3])


@pytest.mark.parametrize("version", VERSIONS)
def test_groups_with_a_thousand_members_are_read(written, version):
    def write(file):
        for index in range(1000):
            file.create_dataset(f"d{index}", data=np.float32(index))

    root = written(write, libver=version)
    assert len(root) == 1000
    assert all(array(root, f"d{index}") == index for index in range(0, 1000, 37))


@pytest.mark.parametrize("values", [["a", "résumé", ""], ["x" * 70_000], []])
@pytest.mark.parametrize("fixed", [False, True])
def test_texts_of_fixed_and_variable_length(written, values, fixed):
    if fixed and values and len(values[0]) > 60_000:
        values = ["x" * 60_000]
    given = np.array([text.encode() for text in values]) if fixed else values
    if not values:
        given = h5py.Empty("S1")
    assert texts(written(lambda file: file.attrs.__setitem__("names", given)), "names") == values


def test_many_attributes(written):
    def write(file):
        for index in range(100):
            file.attrs[f"name{index}"] = f"value {index}"

    root = written(write)
    assert [texts(root, f"name{index}") for index in range(100)] == [[f"value {index}"] for index in range(100)]
    assert texts(root, "name100") is None


def test_an_attribute_of_numbers_is_not_text(written):
    with pytest.raises(ValueError, match="its attribute names is not text"):
        texts(written(lambda file: file.attrs.__setitem__("names", [1, 2])), "names")


def test_soft_and_external_links_are_refused(written):
    for link in (h5py.SoftLink("/b"), h5py.ExternalLink("/etc/passwd", "/b"), h5py.SoftLink("/a")):

        def write(file, link=link):
            file["b"] = np.zeros(2)
            file["a"] = link

        root = written(write)
        with pytest.raises(ValueError, match=r"links other than hard ones|it has no a"):
            member(root, "a")
        with pytest.raises(ValueError, match=r"links other than hard ones|it has no a"):
            list(_groups(root))
        root.close()


def test_data_in_other_files_are_refused(written, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(16))
    external = [(str(tmp_path / "secret"), 0, 16)]
    root = written(lambda file: file.create_dataset("a", (4,), "<f4", external=external))
    with pytest.raises(ValueError, match="data in another file"):
        array(root)
    root.close()
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "b", (4,))
    with pytest.raises(ValueError, match="data in another file"):
        array(written(lambda file: file.create_virtual_dataset("a", layout)))


@pytest.mark.parametrize("layout", [{}, {"chunks": (1024, 1024)}, {"chunks": (2**10, 2**10), "compression": "gzip"}])
def test_data_that_were_never_written_are_refused(written, layout):
    root = written(lambda file: file.create_dataset("a", (2**20, 2**20), "<f8", **layout))
    with pytest.raises(ValueError, match=r"a dataset of 8796093022208 bytes has only 0 in the file"):
        array(root)


def test_data_that_were_written_in_part_are_refused(written):
    def write(file):
        file.create_dataset("a", (64, 64), "<f4", chunks=(8, 8))[:8] = 1

    with pytest.raises(ValueError, match=r"a dataset of 16384 bytes has only 2048 in the file"):
        array(written(write))


def test_a_bomb_is_refused(written):
    root = written(lambda file: file.create_dataset("a", data=np.zeros(10**6, np.float32), compression="gzip"))
    with pytest.raises(ValueError, match="a dataset of 4000000 bytes has only"):
        array(root)


def test_datasets_that_share_their_bytes_are_refused(written):
    def write(file):
        file["a"] = np.zeros(10_000, np.float32)
        for index in range(20):
            file[str(index)] = file["a"]

    root = written(write)
    datasets = Datasets(root)
    with pytest.raises(ValueError, match="its datasets take more bytes than the file has"):
        [datasets.read(member(root, str(index))) for index in range(20)]


@pytest.mark.parametrize("values", [np.array([b"abc"]), np.array([1 + 2j]), np.array([True]), np.zeros((1,) * 9)])
def test_what_is_not_an_array_of_numbers_is_refused(written, values):
    root = written(lambda file: file.create_dataset("a", data=values))
    with pytest.raises(ValueError, match="does not hold numbers, or has more than 8 axes"):
        array(root)


def test_a_group_is_not_an_array(written):
    with pytest.raises(ValueError, match="is not an array"):
        array(written(lambda file: file.create_group("a")))


def test_missing_members_are_named(written):
    root = written(lambda file: file.create_dataset("a/b", data=1.0))
    for path in ("c", "a/c", "a/b/c", ""):
        with pytest.raises(ValueError, match=f"it has no {path}"):
            member(root, path)


def test_a_group_that_contains_itself_is_refused(written):
    """No network's file nests like that."""

    def write(file):
        file.create_group("layers")["layers"] = file["/"]
        file["layers"].create_group("vars")

    with pytest.raises(ValueError, match="must not nest more than 16 deep"):
        list(_groups(written(write)))
