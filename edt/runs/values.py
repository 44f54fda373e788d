"""What fields of specs may be: each kind of value said and checked once.

A field's annotation is a type with its kind, ``seeds: Count = 40``. `edt.runs.spec.Spec` checks
every field by it; what fields must be to each other is a spec's own `Spec.check`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from edt.errors import unknown_choice
from edt.scalars import integer, number

__all__ = [
    "Budget", "Count", "FewWidths", "Kind", "Listed", "NonNegative", "OneOf", "Positive", "Real",
    "Rising", "Seed", "Share", "Sizes", "Whole", "Widths", "hints_of", "kinds_of",
]  # fmt: skip


class Kind:
    """What holds of the values of a field, beyond their type."""

    def __call__(self, name: str, value: Any) -> Any:
        """The value as a spec keeps it.

        Args:
            name: of the field.
            value: what it was given.

        Raises:
            TypeError, ValueError: it may not be that; names the field.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Whole(Kind):
    """An integer of at least ``least``."""

    least: int = 1

    def __call__(self, name: str, value: Any) -> int:
        return integer(name, value, self.least)


@dataclass(frozen=True)
class Real(Kind):
    """A finite number above 0 (from 0 on, if not strict) and below ``below``."""

    strict: bool = True
    below: float = math.inf

    def __call__(self, name: str, value: Any) -> float:
        return number(name, value, below=self.below, strict=self.strict)


@dataclass(frozen=True)
class OneOf(Kind):
    """One of these names."""

    names: tuple[str, ...]

    def __init__(self, names: Iterable[str]) -> None:
        object.__setattr__(self, "names", tuple(names))

    def __call__(self, name: str, value: Any) -> Any:
        if value not in self.names:
            raise unknown_choice(name, value, list(self.names))
        return value


@dataclass(frozen=True)
class Listed(Kind):
    """At least ``least`` entries, each of one kind."""

    entries: Kind
    least: int = 1

    def __call__(self, name: str, value: Iterable[Any]) -> tuple[Any, ...]:
        found = tuple(value)
        if len(found) < self.least:
            raise ValueError(f"{name} must hold at least one entry")
        for entry in found:
            self.entries(name if isinstance(self.entries, OneOf) else f"{name} entries", entry)
        return found


@dataclass(frozen=True)
class Rising(Kind):
    """Distinct integers in order, from ``start`` on, and at least ``least`` of them."""

    least: int = 1
    start: int = 1

    def __call__(self, name: str, value: Iterable[Any]) -> tuple[Any, ...]:
        found = Listed(Whole(self.start), self.least)(name, value)
        if list(found) != sorted(set(found)):
            raise ValueError(f"{name} must be rising and distinct, got {list(found)}")
        return found


#: At least 1; from 0 on (steps, iterations: 0 leaves them out); of random numbers.
Count = Annotated[int, Whole()]
Budget = Annotated[int, Whole(0)]
Seed = Annotated[int, Whole(0)]
#: Above 0; from 0 on; between 0 and 1, without both.
Positive = Annotated[float, Real()]
NonNegative = Annotated[float, Real(strict=False)]
Share = Annotated[float, Real(below=1.0)]
#: Rising widths, or anything counted like them; FewWidths may be empty.
Widths = Annotated[tuple[int, ...], Rising()]
FewWidths = Annotated[tuple[int, ...], Rising(0)]
#: Numbers above 0.
Sizes = Annotated[tuple[float, ...], Listed(Real())]


_hints: dict[type, dict[str, Any]] = {}


def hints_of(spec: type) -> dict[str, Any]:
    """Annotations of a class and its bases, looked up once."""
    if spec not in _hints:
        _hints[spec] = get_type_hints(spec, include_extras=True)
    return _hints[spec]


def kinds_of(spec: type, name: str) -> tuple[str, tuple[Kind, ...]]:
    """Type of a field, as one writes it, and the kinds that it has.

    Example:
        >>> from edt.studies.xor.spec import XorSpec
        >>> kinds_of(XorSpec, "seeds")
        ('int', (Whole(least=1),))
    """
    hint = hints_of(spec)[name]
    of, *more = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    text = of.__name__ if isinstance(of, type) and not get_args(of) else str(of)
    return text.removeprefix("typing."), tuple(kind for kind in more if isinstance(kind, Kind))
