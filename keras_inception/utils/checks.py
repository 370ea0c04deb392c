"""Checks of arguments, with error messages that suggest the closest valid value."""

from collections.abc import Collection, Iterable

from keras_inception.utils.suggestions import did_you_mean


def check_one_of(argument: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ValueError unless `value` is one of `allowed`. Suggest the closest one for a misspelled string."""
    allowed = tuple(allowed)
    if value not in allowed:
        texts = [each for each in allowed if isinstance(each, str)]
        hint = did_you_mean(value, texts) if isinstance(value, str) else ""
        choices = ", ".join(map(repr, allowed))
        raise ValueError(f"`{argument}` must be one of {choices}.{hint} Received: {argument}={value!r}")


def check_some_of(argument: str, values: Collection[str], allowed: Iterable[str], *, at_least: int = 0) -> None:
    """Raise ValueError unless `values` is a list of some of `allowed`. Suggest the closest one for an unknown name."""
    allowed = tuple(allowed)
    unknown = [] if isinstance(values, str) else [each for each in values if each not in allowed]
    if isinstance(values, str) or unknown or len(values) < at_least:
        hint = did_you_mean(unknown[0], allowed) if unknown else ""
        choices = ", ".join(allowed)
        raise ValueError(f"`{argument}` must be a list of some of {choices}.{hint} Received: {argument}={values!r}")
