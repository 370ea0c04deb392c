"""Read the pickles of state dicts without unpickling: nothing that a file names is imported or called.

`pickletools` splits a pickle into opcodes. Only those that torch.save writes are supported, and everything that a
pickle would import is looked up in a table. An object of any other class is an `Opaque`, which holds only its name.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import FunctionType
from typing import Any, BinaryIO

# Limits memory use. The largest network with its optimizer state takes less than a tenth.
MAX_STEPS = 1_000_000


@dataclass(frozen=True)
class Opaque:
    """An object that is not read: `name` is that of its class, or of the function that would make it."""

    name: str


def refused(name: str) -> object:
    """Raise ValueError: the pickle names something that it must not."""
    raise ValueError(
        "a torch file may name only what state dicts are made of, tensors and OrderedDict, as "
        f"torch.save(model.state_dict(), path) does. Received: {name:.200}"
    )


def load(
    file: BinaryIO,
    names: Mapping[str, object],
    persistent: Callable[[object], object],
    unknown: Callable[[str], object] = refused,
) -> object:
    """Read one pickle from `file` and leave the position just after it.

    Args:
        file: File positioned at a pickle. Anything may follow it.
        names: Allowed names, ``module.name``, and the objects that they resolve to. Only functions among these may be
            called.
        persistent: Returns the object for a persistent id.
        unknown: Returns the object for any other name: `Opaque` to skip it. It raises an error by default.

    Raises:
        ValueError: The pickle is damaged, or has a name that `unknown` refuses or an opcode that no state dict needs.
    """
    machine = _Machine(names, persistent, unknown)
    for step, argument, _ in islice(pickletools.genops(file), MAX_STEPS):
        if step.name == "STOP":
            return machine.pop()
        if step.name not in STEPS:
            raise ValueError(f"the pickle in it has the opcode {step.name}, which no state dict needs")
        STEPS[step.name](machine, argument)
    raise ValueError(f"the pickle in it has more than {MAX_STEPS} opcodes")


class _Machine:
    def __init__(
        self,
        names: Mapping[str, object],
        persistent: Callable[[object], object],
        unknown: Callable[[str], object],
    ):
        self.names = names
        self.persistent = persistent
        self.unknown = unknown
        self.stack: list = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def push(self, value) -> None:
        self.stack.append(value)

    def pop(self):
        if not self.stack:
            raise ValueError("the pickle in it pops from an empty stack")
        return self.stack.pop()

    def top(self, kind: type = object):
        """Return the object on top of the stack, of type `kind` or opaque, without popping it."""
        target = self.pop()
        if not isinstance(target, (kind, Opaque)):
            raise ValueError(f"the pickle in it uses a {type(target).__name__} as a {kind.__name__}")
        self.push(target)
        return target

    def pop_last(self, count: int) -> tuple:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def pop_marked(self) -> list:
        if not self.marks:
            raise ValueError("the pickle in it ends a list that it has not started")
        begin = self.marks.pop()
        values = self.stack[begin:]
        del self.stack[begin:]
        return values

    def put(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"the pickle in it asks for object {index}, which it has not stored")
        self.push(self.memo[index])

    def name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("the pickle in it has a name that is not text")
        full = f"{module}.{name}"
        self.push(self.names[full] if full in self.names else self.unknown(full))

    def reduce(self) -> None:
        function, arguments = self.pop_last(2)
        if isinstance(function, Opaque):
            self.push(function)
        elif isinstance(function, FunctionType) and isinstance(arguments, tuple):
            self.push(function(*arguments))
        else:
            raise ValueError("the pickle in it calls something that is not a function")

    def make(self, arguments: int) -> None:
        """Make an object of a class, which must be opaque, from this number of arguments."""
        made = self.pop_last(1 + arguments)[0]
        if not isinstance(made, Opaque):
            raise ValueError("the pickle in it makes an object of something that is not a class")
        self.push(made)

    def build(self) -> None:
        """Drop the attributes of a state dict or of an opaque object."""
        self.pop()
        self.top(dict)

    def append(self, values: list) -> None:
        if isinstance(target := self.top(list), list):
            target.extend(values)

    def add(self) -> None:
        """Drop the items of a set, which holds no tensors."""
        self.pop_marked()
        self.top(Opaque)

    def freeze(self) -> None:
        """Replace the items of a frozenset with an opaque object."""
        self.pop_marked()
        self.push(Opaque("builtins.frozenset"))

    def set_items(self, values: list | tuple) -> None:
        pairs = zip(values[::2], values[1::2], strict=True)
        if isinstance(target := self.top(dict), dict):
            for key, value in pairs:
                set_item(target, key, value)


def set_item(target: dict, key: object, value: object) -> None:
    """Set an item if its key is text or a number, and drop it if it is anything else that can be a key.

    Nothing else is hashed: a deeply nested tuple would overflow the C stack.
    """
    if isinstance(key, str | int | float):
        target[key] = value
    elif key is not None and not isinstance(key, tuple | bytes | Opaque):
        raise ValueError(f"a key in the pickle must be text or a number. Received: {type(key).__name__}")


def ordered_dict(*arguments: object) -> dict:
    """Make a dict from Python 2's list of pairs. Clear the list, because a pickle could have it copied endlessly."""
    result: dict = {}
    pairs = arguments[0] if arguments else []
    if not isinstance(pairs, list):
        raise ValueError("the pickle in it makes an OrderedDict of something that is not a list")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError("the pickle in it makes an OrderedDict of things that are not pairs")
        set_item(result, *pair)
    pairs.clear()
    return result


STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    # Opcodes with an inline number or text. Python 2 wrote text as BINSTRING.
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Machine.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"), _Machine.push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _Machine.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push(machine.pop_last(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.pop_last(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.pop_last(3)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),  # MEMOIZE has no argument
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_marked()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop_last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_marked()),
    **dict.fromkeys(("GLOBAL", "INST"), lambda machine, both: machine.name(*both.split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine.name(*machine.pop_last(2)),
    "EMPTY_SET": lambda machine, _: machine.push(Opaque("builtins.set")),
    "ADDITEMS": lambda machine, _: machine.add(),
    "FROZENSET": lambda machine, _: machine.freeze(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.make(1),
    "NEWOBJ_EX": lambda machine, _: machine.make(2),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.push(machine.persistent(machine.pop())),
}
