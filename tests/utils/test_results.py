"""Results whose attributes are also the keys of a mapping."""

from dataclasses import dataclass

import pytest

from keras_inception.utils.results import Result


@dataclass(frozen=True, eq=False)
class Measured(Result):
    top1: float
    files: list[str]


def test_a_result_is_read_like_a_dict():
    result = Measured(0.5, ["a"])
    assert result["top1"] == result.top1 == 0.5
    assert {**result} == result.to_dict() == {"top1": 0.5, "files": ["a"]}
    assert result == {"top1": 0.5, "files": ["a"]}
    assert len(result) == 2
    assert result.get("to_dict") is None
    with pytest.raises(KeyError, match="top5"):
        result["top5"]
