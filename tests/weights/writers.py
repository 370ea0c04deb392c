"""Write weights files as their publishers' own tools do, without those tools."""

import io
import struct
import zipfile

import h5py
import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
}


class Tensor:
    """What torch pickles for a tensor: a view of the storage `key`, which holds `values`."""

    def __init__(self, key, values, shape=None, strides=None, offset=0, count=None):
        self.key = str(key)
        self.values = np.asarray(values)
        self.shape = self.values.shape if shape is None else shape
        contiguous = [int(np.prod(self.shape[axis + 1 :])) for axis in range(len(self.shape))]
        self.strides = contiguous if strides is None else strides
        self.offset = offset
        self.count = self.values.size if count is None else count


def torch_zip(content, folder="archive", byteorder=b"little", compression=zipfile.ZIP_STORED):
    """Return a file of torch.save since 1.6. `content`: arrays or `Tensor`s by name, or such a dict under a key."""
    pickled, storages = pickle(content)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr(f"{folder}/data.pkl", pickled)
        file.writestr(f"{folder}/byteorder", byteorder)
        for key, values in storages.items():
            integers = np.ascontiguousarray(values).view(f"u{values.itemsize}")
            file.writestr(f"{folder}/data/{key}", (integers.byteswap() if byteorder == b"big" else integers).tobytes())
        file.writestr(f"{folder}/version", b"3\n")
    return buffer.getvalue()


def torch_stream(content):
    """Return a file of torch.save before 1.6."""
    pickled, storages = pickle(content, view=b"N")
    magic = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
    protocol = b"\x80\x02" + number(1001) + b"."
    system = b"\x80\x02}(" + text("little_endian") + b"\x88u."
    keys = b"\x80\x02](" + b"".join(map(text, storages)) + b"e."
    data = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())
    return magic + protocol + system + pickled + keys + data


def pickle(content, view=b""):
    """Return a pickle of protocol 2, and the storages by key."""
    storages = {}

    def written(value):
        if isinstance(value, dict):
            items = b"".join(text(name) + written(item) for name, item in value.items())
            return b"ccollections\nOrderedDict\n)R(" + items + b"u"
        if not isinstance(value, Tensor):
            value = Tensor(len(storages), value)
        storages[value.key] = value.values
        kind = STORAGES[value.values.dtype].encode()
        place = text("storage") + b"ctorch\n" + kind + b"\n" + text(value.key) + text("cpu") + number(value.count)
        sizes = b"(" + b"".join(map(number, value.shape)) + b"t(" + b"".join(map(number, value.strides)) + b"t"
        end = b"\x89ccollections\nOrderedDict\n)RtR"
        return b"ctorch._utils\n_rebuild_tensor_v2\n((" + place + view + b"tQ" + number(value.offset) + sizes + end

    return b"\x80\x02" + written(content) + b".", storages


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def caffemodel(tensors, v1=False, sizes=False, packed=True, double=False):
    """Return a NetParameter with the blobs ``layer/0``, ``layer/1``.

    Args:
        tensors: Arrays by the names of blobs.
        v1: Write layers as V1LayerParameters, as in 2014.
        sizes: Give blobs four sizes instead of a shape, as in 2014.
        packed: Write the numbers of a blob in one piece.
        double: Write numbers as doubles.
    """
    layers: dict[str, list] = {}
    for name, values in tensors.items():
        layers.setdefault(name.rpartition("/")[0], []).append(np.asarray(values))
    parts = [field(1, b"net")]
    for name, blobs in layers.items():
        content = field(4 if v1 else 1, name.encode()) + (b"" if v1 else field(2, b"Convolution"))
        content += b"".join(field(6 if v1 else 7, blob(values, sizes, packed, double)) for values in blobs)
        parts.append(field(2 if v1 else 100, content))
    return b"".join(parts)


def blob(values, sizes=False, packed=True, double=False):
    kind, tag = ("<f8", 8) if double else ("<f4", 5)
    data = values.astype(kind).tobytes()
    if packed:
        content = field(tag, data)
    else:
        size = values.astype(kind).itemsize
        wire = varint(tag << 3 | (1 if double else 5))
        content = b"".join(wire + data[at : at + size] for at in range(0, len(data), size))
    if sizes:
        shape = (1,) * (4 - values.ndim) + values.shape
        return b"".join(varint(axis << 3) + varint(size) for axis, size in enumerate(shape, 1)) + content
    return content + field(7, field(1, b"".join(map(varint, values.shape))))


def field(tag, content):
    return varint(tag << 3 | 2) + varint(len(content)) + content


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def keras_legacy(path, layers, parts=1):
    """Write Keras 2's .h5 of weights, with fixed-length texts as h5py 2 wrote them.

    Args:
        path: The file to write.
        layers: For each layer, its arrays by name.
        parts: Number of attributes to split the layers' names into, as Keras does if there are many.
    """
    with h5py.File(path, "w") as file:
        for index, names in enumerate(np.array_split(np.array([layer.encode() for layer in layers]), parts)):
            file.attrs["layer_names" if parts == 1 else f"layer_names{index}"] = names
        for layer, variables in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name in variables])
            for name, values in variables.items():
                group[name] = values


def slim_checkpoint(path, tensors, version=1):
    """Write a checkpoint with TensorFlow."""
    import tensorflow as tf

    names, values = list(tensors), [tf.constant(values) for values in tensors.values()]
    if version == 1:
        tf.raw_ops.Save(filename=str(path), tensor_names=names, data=values)
    else:
        tf.raw_ops.SaveV2(prefix=str(path), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)


def published(publisher, path, tensors):
    """Write a file in a publisher's format. The names of golden fixtures begin with the publisher."""
    if publisher == "keras":
        layers: dict[str, dict] = {}
        for name, values in tensors.items():
            layers.setdefault(name.partition("/")[0], {})[f"{name}:0"] = values
        keras_legacy(path, layers)
    elif publisher == "slim":
        slim_checkpoint(path, tensors)
    elif publisher == "caffe":
        path.write_bytes(caffemodel(tensors, v1=True, sizes=True))
    else:
        path.write_bytes((torch_stream if publisher == "tv" else torch_zip)(tensors))


def masked_crc32c(data):
    """Return the CRC-32C of RFC 3720, appendix B.4, as TensorFlow stores it in its tables."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    checksum = register ^ 0xFFFFFFFF
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def table(entries):
    """Return a table in LevelDB's form, like TensorFlow's checkpoints, with one block of entries."""
    content, handles = b"", []
    empty = struct.pack("<II", 0, 1)
    for block in (_rows(entries) + empty, empty, None):
        data = block or _rows({b"\xff": varint(handles[0][0]) + varint(handles[0][1])}) + empty
        handles.append((len(content), len(data)))
        content += data + b"\0" + struct.pack("<I", masked_crc32c(data + b"\0"))
    footer = b"".join(varint(number) for handle in handles[1:] for number in handle)
    return content + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _rows(entries):
    rows = ((varint(0), varint(len(key)), varint(len(value)), key, value) for key, value in entries.items())
    return b"".join(b"".join(row) for row in rows)


def bundle_entry(dtype=1, shape=(1,), shard=0, offset=0, size=4, checksum=0):
    """Return a BundleEntryProto: what the index of a version 2 checkpoint says about a tensor."""
    axes = b"".join(field(2, varint(1 << 3) + varint(length)) for length in shape)
    numbers = {1: dtype, 3: shard, 4: offset, 5: size}
    content = b"".join(varint(tag << 3) + varint(value) for tag, value in numbers.items())
    return content + field(2, axes) + varint(6 << 3 | 5) + struct.pack("<I", checksum)


BUNDLE_HEADER = varint(1 << 3) + varint(1)
