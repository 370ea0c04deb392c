"""Read and write a TFLite model's named entries, such as its metadata.

An entry is a name and the index of the buffer that holds its content. Tables and field numbers are those of TFLite's
published schema.
"""

from enum import IntEnum

import flatbuffers

from keras_inception.tflite.flatbuffer import Data, Table, put_bytes, put_offsets, put_table

IDENTIFIER = b"TFL3"
ALIGNMENT = 16  # of the content of buffers, in bytes
FLOAT32, UINT8, INT8 = 0, 3, 9  # tensor types


# The fields of each table, numbered from 0. Those of the root table, `Model`, are offsets except for the version.
Model = IntEnum(
    "Model",
    "VERSION OPERATOR_CODES SUBGRAPHS DESCRIPTION BUFFERS METADATA_BUFFER METADATA SIGNATURE_DEFS"
    " EXTERNAL_BUFFER_GROUPS EXTERNAL_BUFFERS",
    start=0,
)
OperatorCode = IntEnum("OperatorCode", "BYTE CUSTOM VERSION NUMBER", start=0)  # BYTE: the number in older files
SubGraph = IntEnum("SubGraph", "TENSORS INPUTS OUTPUTS", start=0)
Tensor = IntEnum("Tensor", "SHAPE TYPE BUFFER", start=0)
Buffer = IntEnum("Buffer", "DATA OFFSET", start=0)  # OFFSET is set if the content is stored after the model (over 2 GB)
Metadata = IntEnum("Metadata", "NAME BUFFER", start=0)


def is_model(model: bytes) -> bool:
    """Return True if the bytes have the identifier of a TFLite model."""
    return Data(model).identifier == IDENTIFIER


def end_types(model: bytes) -> tuple[int, int]:
    """Return the types of the input and the output, as numbered in the schema.

    Raises:
        ValueError: the model does not have exactly one input and one output, or is damaged.
    """
    subgraphs = Data(model).root().tables(Model.SUBGRAPHS)
    if not subgraphs:
        raise ValueError("it has no operations")
    tensors = subgraphs[0].tables(SubGraph.TENSORS)
    ends = [subgraphs[0].numbers(field, "i") for field in (SubGraph.INPUTS, SubGraph.OUTPUTS)]
    if [len(each) for each in ends] != [1, 1] or not all(0 <= number < len(tensors) for (number,) in ends):
        raise ValueError(f"it must have one input and one output. Received: tensors {ends!s:.100} of {len(tensors)}")
    given, taken = (tensors[number].number(Tensor.TYPE, "b") for (number,) in ends)
    return given, taken


def operator_codes(model: bytes) -> list[tuple[str, int]]:
    """Return the name and the version of each kind of operation, such as ("CONV_2D", 3).

    Raises:
        ValueError: the model is damaged.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    names = {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}
    codes = Data(model).root().tables(Model.OPERATOR_CODES)
    kinds = [max(code.number(OperatorCode.BYTE, "b"), code.number(OperatorCode.NUMBER, "i")) for code in codes]
    versions = [code.number(OperatorCode.VERSION, "i") or 1 for code in codes]  # 1 is the default and not stored
    return [(names.get(kind, f"operation {kind}"), each) for kind, each in zip(kinds, versions, strict=True)]


def entry(model: bytes, name: str) -> bytes:
    """Return the content of a model's entry, empty if there is no entry of this name.

    Raises:
        ValueError: the model is damaged.
    """
    root = Data(model).root()
    number = _number(root, name)
    return root.tables(Model.BUFFERS)[number].content(Buffer.DATA) if number else b""


def with_entry(model: bytes, name: str, content: bytes) -> bytes:
    """Return a model with an entry added or replaced.

    Offsets in a FlatBuffer only point forward, so a new root and new lists are put in front of the model and refer to
    the tables in it. The model itself is unchanged, so this takes no longer than copying it. The content of a replaced
    entry is overwritten with zeros.

    Raises:
        ValueError: the model is damaged, uses a newer schema, or has content that cannot be moved in the file.
    """
    root = Data(model).root()
    places, buffers = root.places(), root.tables(Model.BUFFERS)
    if not places.keys() <= set(Model):
        raise ValueError(f"it uses a newer schema. Received: a model with fields {sorted(places)!s:.100}")
    if any(buffer.number(Buffer.OFFSET, "Q") for buffer in buffers):
        raise ValueError("its weights are stored after the model and cannot be moved in the file")
    if number := _number(root, name):
        model = _without(model, root, number)

    builder = flatbuffers.Builder(len(model) + len(content) + 2**16)
    begin = put_bytes(builder, model, ALIGNMENT) - 4  # after its length; builders count from the end
    added = put_table(builder, {Buffer.DATA: put_bytes(builder, content, ALIGNMENT)})
    targets = {field: begin - root.data.follow(place) for field, place in places.items() if field != Model.VERSION}
    listed = [begin - buffer.position for buffer in buffers]
    if number:
        listed[number] = added
    else:
        named = put_table(builder, {Metadata.NAME: builder.CreateString(name)}, {Metadata.BUFFER: ("I", len(listed))})
        others = [begin - entry.position for entry in root.tables(Model.METADATA)]
        targets[Model.METADATA] = put_offsets(builder, [*others, named])
        listed.append(added)
    targets[Model.BUFFERS] = put_offsets(builder, listed)
    version = ("I", root.number(Model.VERSION, "I"))
    builder.Finish(put_table(builder, targets, {Model.VERSION: version}), IDENTIFIER)
    return bytes(builder.Output())


def _number(root: Table, name: str) -> int:
    """Return the buffer index of an entry, or 0 if there is no entry of this name: the first buffer is always empty."""
    for each in root.tables(Model.METADATA):
        if each.content(Metadata.NAME) == name.encode():
            number = each.number(Metadata.BUFFER, "I")
            if not 0 < number < len(root.tables(Model.BUFFERS)):
                raise ValueError(f"{name} must be in one of its buffers. Received: number {number}")
            return number
    return 0


def _without(model: bytes, root: Table, number: int) -> bytes:
    """Return the model with the content of one buffer overwritten with zeros."""
    subgraphs = root.tables(Model.SUBGRAPHS)
    tensors = [tensor for subgraph in subgraphs for tensor in subgraph.tables(SubGraph.TENSORS)]
    if number in [tensor.number(Tensor.BUFFER, "I") for tensor in tensors]:
        raise ValueError(f"an entry must have a buffer of its own. Received: number {number}, which is a tensor's")
    target = root.tables(Model.BUFFERS)[number].target(Buffer.DATA)
    if target is None:
        return model
    begin, size = target + 4, len(root.data.content(target))
    return model[:begin] + bytes(size) + model[begin + size :]
