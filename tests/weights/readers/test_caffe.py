"""Caffe's files. OpenCV 4.14 reads all three forms of `writers.caffemodel`; see tests/golden/caffe_googlenet.json."""

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from writers import blob, caffemodel, field, varint

TENSORS = {
    "conv1/7x7_s2/0": np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3) - 7.5,
    "conv1/7x7_s2/1": np.array([1.5, -2.0], np.float32),
    "loss3/classifier/0": np.arange(6, dtype=np.float32).reshape(2, 3),
}
FORMS = {
    "today's": {},
    "of 2014": {"v1": True, "sizes": True},
    "unpacked": {"packed": False},
    "doubles": {"double": True},
    "doubles, unpacked": {"double": True, "packed": False},
}


def layer(content):
    return field(1, b"net") + field(100, field(1, b"conv") + content)


@pytest.mark.parametrize("form", FORMS)
def test_the_blobs_are_numbered_by_layer(form, read):
    tensors = read(caffemodel(TENSORS, **FORMS[form]))
    assert list(tensors) == list(TENSORS)
    for name, values in TENSORS.items():
        shape = values.shape if form != "of 2014" else (1,) * (4 - values.ndim) + values.shape
        np.testing.assert_array_equal(tensors[name], values.reshape(shape))


def test_messages_of_the_protobuf_library_are_read(read):
    """Include fields before, between and after those that are read."""
    kinds = descriptor_pb2.FieldDescriptorProto
    messages = {
        "Shape": [("dim", 1, kinds.TYPE_INT64, True)],
        "Blob": [
            ("shape", 7, "Shape", False),
            ("data", 5, kinds.TYPE_FLOAT, True),
            ("diff", 6, kinds.TYPE_FLOAT, True),
        ],
        "Layer": [
            ("name", 1, kinds.TYPE_STRING, False),
            ("type", 2, kinds.TYPE_STRING, False),
            ("loss", 5, kinds.TYPE_FLOAT, True),
            ("blobs", 7, "Blob", True),
            ("phase", 10, kinds.TYPE_INT32, False),
            ("ratio", 11, kinds.TYPE_DOUBLE, False),
        ],
        "Net": [("name", 1, kinds.TYPE_STRING, False), ("layer", 100, "Layer", True)],
    }
    file = descriptor_pb2.FileDescriptorProto(name="net.proto", syntax="proto2")
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            one = described.field.add(name=name, number=number, label=3 if repeated else 1)
            one.type = kinds.TYPE_MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                one.type_name = kind
            one.options.packed = one.type != kinds.TYPE_MESSAGE and repeated and name != "loss"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    net = message_factory.GetMessageClass(pool.FindMessageTypeByName("Net"))(name="net")
    conv = net.layer.add(name="conv1/7x7_s2", type="Convolution", loss=[1.0, 2.0], phase=-1, ratio=0.5)
    for name in ("conv1/7x7_s2/0", "conv1/7x7_s2/1"):
        values = TENSORS[name]
        one = conv.blobs.add(data=values.ravel(), diff=values.ravel())
        one.shape.dim.extend(values.shape)
    tensors = read(net.SerializeToString())
    for name in ("conv1/7x7_s2/0", "conv1/7x7_s2/1"):
        np.testing.assert_array_equal(tensors[name], TENSORS[name])


def test_data_in_several_pieces_are_joined(read):
    values = np.arange(4, dtype=np.float32)
    pieces = field(5, values[:3].tobytes()) + field(7, field(1, varint(4))) + field(5, values[3:].tobytes())
    np.testing.assert_array_equal(read(layer(field(7, pieces)))["conv/0"], values)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (field(1, b"net"), "no layer in it has weights"),
        (layer(b""), "no layer in it has weights"),
        (layer(field(7, blob(np.ones(3))[:-1])), "a field claims 3 bytes where only 2 are left"),
        (layer(field(7, field(5, bytes(8)) + field(7, field(1, varint(3))))), r"shape \(3,\) has 2 numbers"),
        (layer(field(7, field(5, bytes(8)) + field(7, field(1, varint(2**62) * 2)))), "has 2 numbers"),
        (layer(field(7, field(5, bytes(8)) + field(7, field(1, varint(2**64 - 2))))), "has 2 numbers"),
        (layer(field(7, field(5, bytes(8)))), r"shape \(0, 0, 0, 0\) has 2 numbers"),
        (layer(field(7, field(5, bytes(4)) + field(7, field(1, varint(1) * 10**6)))), "more than 8 axes"),
        (layer(field(7, field(5, bytes(7)))), "multiple of element size"),
        (layer(varint(7 << 3) + b"\1"), "field 7 is an integer where it must not be"),
        (layer(varint(7 << 3 | 3)), "unknown wire type 3"),
        (layer(field(7, b"\xff" * 11)), "more than ten bytes"),
        (layer(b"\xff"), "ends within an integer"),
        (field(1, b"net") + varint(100 << 3 | 2) + varint(10 * 2**30), "claims 10737418240 bytes where only 0"),
        (field(1, b"net") + field(100, field(1, b"\xff") + field(7, blob(np.ones(3)))), "utf-8"),
    ],
)
def test_damaged_files(read, content, match):
    with pytest.raises(ValueError, match=f"file cannot be read as a Caffe file.*{match}"):
        read(content)
