"""Malicious pickles: nothing in them may run, be imported or exhaust the memory."""

import importlib
import os
import pickle
import subprocess
import sys
import zipfile
from io import BytesIO

import pytest
from writers import text, torch_stream

from keras_inception.weights.readers.pickles import load, ordered_dict

MARK = "ran"


class Payload:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def payloads(mark):
    """Return payloads by the last part of the name that the pickle asks for."""
    return {
        "system": Payload(os.system, f"touch {mark}"),
        "eval": Payload(eval, f"open({str(mark)!r}, 'w')"),
        "exec": Payload(exec, f"open({str(mark)!r}, 'w')"),
        "open": Payload(open, str(mark), "w"),
        "Popen": Payload(subprocess.Popen, ["touch", str(mark)]),
        "import_module": Payload(importlib.import_module, "antigravity"),
    }


def by_hand(mark):
    """Return opcodes that `pickle.dumps` no longer writes, and names hidden in modules of allowed ones."""
    command = text(f"touch {mark}")
    return {
        "GLOBAL": b"\x80\x02cos\nsystem\n" + command + b"\x85R.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + command + b"\x85R.",
        "INST": b"(S'touch " + os.fsencode(mark) + b"'\nios\nsystem\n.",
        "INST with text": b"\x80\x02(" + command + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + command + b"o.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + command + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + command + b"\x85}\x92.",
        "EXT1": b"\x80\x02\x82\x01" + command + b"\x85R.",
        "dotted": b"\x80\x04" + b"\x8c\x05torch\x8c\x17storage.os.system.FloatS\x93" + command + b"\x85R.",
        "of torch": b"\x80\x02ctorch.hub\nload\n" + command + b"\x85R.",
        "of collections": b"\x80\x02ccollections\n_sys.modules\n.",
        "unhashable name": b"\x80\x04](\x8c\x06system\x93.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\n" + text("system") + b"\x86R.",
        "call of an OrderedDict": b"\x80\x02ccollections\nOrderedDict\n)R" + command + b"\x85R.",
    }


def in_zip(pickled):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickled)
    return buffer.getvalue()


@pytest.fixture
def mark(tmp_path):
    path = tmp_path / MARK
    yield path
    assert not path.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", payloads(MARK))
def test_a_harmful_pickle_is_refused_by_name_and_not_run(name, protocol, mark, read):
    pickled = pickle.dumps({"state_dict": {"a": payloads(mark)[name]}}, protocol)
    # The first protocols write text in opcodes that torch.save never used, so reading may stop before the name.
    match = rf"Received: \w+\.{name}$" if protocol >= 2 else r"cannot be read as a torch"
    with pytest.raises(ValueError, match=match):
        read(in_zip(pickled))
    if protocol >= 2:
        with pytest.raises(ValueError, match=match):
            read(torch_stream({}).replace(b"\x80\x02ccollections\nOrderedDict\n)R(u.", pickled))
    with pytest.raises(ValueError, match=match if protocol >= 2 else "not a supported weights file"):
        read(pickled)


@pytest.mark.parametrize("name", by_hand(MARK))
def test_steps_and_names_that_no_state_dict_has_are_refused(name, mark, read):
    with pytest.raises(ValueError, match="cannot be read as a torch or Keras file: "):
        read(in_zip(by_hand(mark)[name]))


def test_the_state_of_an_ordered_dict_is_dropped(mark, read):
    for state in (text("__class__") + b"Nsb.", text("__reduce__") + b"cos\nsystem\nsb."):
        assert read(in_zip(b"\x80\x02ccollections\nOrderedDict\n)R}" + state)) == {}


def test_nothing_is_imported(tmp_path, monkeypatch, read):
    (tmp_path / "harmful_module.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"Received: harmful_module\.thing$"):
        read(in_zip(b"\x80\x02charmful_module\nthing\n."))
    assert "harmful_module" not in sys.modules


def run(pickled):
    return load(BytesIO(pickled), {"collections.OrderedDict": ordered_dict}, lambda persistent_id: persistent_id)


def test_plain_values_of_every_protocol():
    value = {"a": [1, 2.5, None, True, "é", (1, (2, 3), (), (4, 5, 6, 7))], 3: 2**70, "b": {}, "c": -(2**31)}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert run(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize(
    ("pickled", "match"),
    [
        (b"\x80\x02.", "pops from an empty stack"),
        (b"\x80\x02R.", "pops from an empty stack"),
        (b"\x80\x02t.", "ends a list that it has not started"),
        (b"\x80\x02h\x05.", "asks for object 5"),
        (b"\x80\x02)K\x01K\x02s.", "uses a tuple as a dict"),
        (b"\x80\x02}K\x01a.", "uses a dict as a list"),
        (b"\x80\x02](K\x01K\x02u.", "uses a list as a dict"),
        (b"\x80\x02K\x01K\x02b.", "uses a int as a dict"),
        (b"\x80\x02}(K\x01u.", "zip"),
        (b"\x80\x02}}K\x01s.", "a key in the pickle must be text or a number. Received: dict"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "OrderedDict of something that is not a list"),
        (b"\x80\x02ccollections\nOrderedDict\n](K\x01e\x85R.", "OrderedDict of things that are not pairs"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "expected 2147483647 bytes"),
        (b"\x80\x04\x8d" + b"\xff" * 8 + b"abc.", "byte count"),
        (b"\x80\x02K\x01", "pickle exhausted"),
        (b"\x80\x02\xffK\x01", "unknown"),
        (b"\x80\x02" + b"K\x01" * 1_000_001 + b".", "more than 1000000 opcodes"),
    ],
)
def test_damaged_pickles(pickled, match):
    with pytest.raises(ValueError, match=match):
        run(pickled)


def test_deep_nesting_neither_overflows_nor_takes_long():
    assert isinstance(run(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."), list)
    assert run(b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.") == {}


def test_a_list_of_pairs_is_not_copied_again_and_again():
    pair = b"(" + text("a") + b"NtQ"[:2]
    pairs = b"](" + pair * 1000 + b"e\x85q\x01"
    assert run(b"\x80\x02" + pairs + b"ccollections\nOrderedDict\nq\x00h\x01R.") == {"a": None}
    twice = b"ccollections\nOrderedDict\nq\x00" + pairs + b"R](h\x00h\x01Re."
    assert run(b"\x80\x02" + twice) == [{}]
