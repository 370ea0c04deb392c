"""Records: attributes that are keys as well."""

from dataclasses import dataclass

import pytest

from keras_inception.utils.records import Record


@dataclass(frozen=True, eq=False)
class Measured(Record):
    top1: float
    files: list[str]


def test_a_record_is_read_like_a_dict():
    record = Measured(0.5, ["a"])
    assert record["top1"] == record.top1 == 0.5
    assert {**record} == record.to_dict() == {"top1": 0.5, "files": ["a"]}
    assert record == {"top1": 0.5, "files": ["a"]}
    assert len(record) == 2
    assert record.get("to_dict") is None
    with pytest.raises(KeyError, match="top5"):
        record["top5"]
