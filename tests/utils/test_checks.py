import pytest

from keras_inception.utils.checks import check_one_of

ALLOWED = {None: "no pooling", "average": "the mean", "max": "the maximum"}


@pytest.mark.parametrize("value", ALLOWED)
def test_an_allowed_value_passes(value):
    check_one_of("pooling", value, ALLOWED)


@pytest.mark.parametrize(("value", "hint"), [("avrage", r" Did you mean average\?"), ("zzz", ""), (3, ""), (False, "")])
def test_another_value_is_refused(value, hint):
    match = rf"`pooling` must be one of None, 'average', 'max'\.{hint} Received: pooling={value!r}$"
    with pytest.raises(ValueError, match=match):
        check_one_of("pooling", value, ALLOWED)
