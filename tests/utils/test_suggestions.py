import pytest

from keras_inception.utils.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("label-smothing", " Did you mean label_smoothing?"),
        ("EPOCH", " Did you mean epochs?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_closest_name_is_suggested(name, answer):
    assert did_you_mean(name, ["epochs", "label_smoothing"]) == answer
