"""Check arguments."""

from collections.abc import Iterable

from keras_inception.utils.suggestions import did_you_mean


def check_one_of(argument: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ValueError unless `value` is one of `allowed`. Suggest the closest one for a misspelled string."""
    allowed = tuple(allowed)
    if value not in allowed:
        texts = [each for each in allowed if isinstance(each, str)]
        hint = did_you_mean(value, texts) if isinstance(value, str) else ""
        choices = ", ".join(map(repr, allowed))
        raise ValueError(f"`{argument}` must be one of {choices}.{hint} Received: {argument}={value!r}")
