"""Results whose attributes are also the keys of a mapping."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any


class Result(Mapping[str, Any]):
    """Base class of dataclasses that are also mappings: ``result.top1`` is ``result["top1"]``.

    Decorate subclasses with ``@dataclass(eq=False)``, so that they compare equal to dicts with the same items.
    """

    def __getitem__(self, key: str) -> Any:
        if key not in list(self):
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(self))  # type: ignore[arg-type]  # subclasses are dataclasses

    def __len__(self) -> int:
        return len(fields(self))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict."""
        return asdict(self)  # type: ignore[call-overload]
