"""A spec: every number that the tables of a run depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from edt.errors import unknown_choice
from edt.limits import insist_count
from edt.runs.values import hints_of, kinds_of

S = TypeVar("S", bound="Spec")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: Type to what a value must be, in words and as a test.
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", _is_integer),
    "float": ("a number", lambda value: isinstance(value, float) or _is_integer(value)),
}


def check_kind(name: str, value: Any, annotation: str) -> None:
    """Insist on what a field's annotation says of texts, flags and lists.

    Ranges are for kinds (`edt.runs.values`); here numbers may only not be larger than a machine's:
    seeds have 64 bits, sizes and counts 31.

    Raises:
        TypeError: a value of another kind; names the field. ValueError: too large.
    """
    bits = 64 if "seed" in name else 31
    for entry in value if isinstance(value, (tuple, list)) else (value,):
        if _is_integer(entry) and abs(entry) >= 2**bits:
            raise ValueError(f"{name} must be below 2**{bits}, got {entry!s:.40}")
    if annotation.startswith("tuple"):
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"{name} must be a list like (2, 3), got {value!r:.60}")
        inner = annotation.removeprefix("tuple[").partition(",")[0].rstrip("]")
        for entry in value if inner in KINDS else ():
            if not KINDS[inner][1](entry):
                raise TypeError(f"{name} must hold {KINDS[inner][0]} each, got {entry!r:.60}")
    elif annotation in ("str", "bool") and not KINDS[annotation][1](value):
        raise TypeError(f"{name} must be {KINDS[annotation][0]}, got {value!r:.60}")


@dataclass(frozen=True)
class Spec:
    """Every number an experiment's tables depend on, and nothing else.

    Subclasses are frozen dataclasses whose fields are numbers, strings or tuples of them, each
    annotated with its kind (`edt.runs.values`). A spec may be put together from several: each
    field, its kind, its default and what it means stand in one of them. ``class Few(Students,
    seeds=4)`` gives a field of the parts another default.

    Example:
        >>> from edt.studies.xor.spec import XorSpec
        >>> XorSpec(seeds=0)
        Traceback (most recent call last):
        ValueError: seeds must be >= 1, got 0
    """

    def __init_subclass__(cls, **defaults: Any) -> None:
        """Give fields of the parts other defaults.

        Args:
            defaults: field to default.

        Raises:
            TypeError: the parts have no such field.
        """
        super().__init_subclass__()
        known = dict(kind for base in cls.__bases__ for kind in hints_of(base).items())
        for name, value in defaults.items():
            if name not in known:
                raise TypeError(f"{cls.__name__}: its parts have no field {name!r}")
            cls.__annotations__[name] = known[name]
            setattr(cls, name, value)

    def __post_init__(self) -> None:
        kinds = {entry.name: kinds_of(type(self), entry.name) for entry in fields(self)}
        for name, (of, _) in kinds.items():
            check_kind(name, getattr(self, name), of)
        for name, (of, more) in kinds.items():
            value = getattr(self, name)
            for kind in more:
                value = kind(name, value)
            if isinstance(value, list) and of.startswith("tuple"):
                value = tuple(value)
            object.__setattr__(self, name, value)
        self.check()
        for name in ("networks", "trainings"):
            count = getattr(self, name, None)
            if isinstance(count, int):
                insist_count("this plan", count)

    def check(self) -> None:
        """Insist on what fields must be to each other.

        Raises:
            TypeError, ValueError: they are not; names the field.
        """

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; tuples become lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def text(self) -> str:
        """Every field and its value, a line each."""
        return "\n".join(f"{name} = {value!r}" for name, value in Spec.to_dict(self).items())

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """The inverse of `to_dict`; what is left out takes its default.

        Raises:
            ValueError: an unknown field, or a value out of range.
        """
        names = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in names:
                raise unknown_choice("field", name, names)
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
        )

    @property
    def task_tables(self) -> tuple[Mapping[str, Any], ...]:
        """Tables of its tasks (`edt.tasks.task_tables`), where they may be data of one's own."""
        task = getattr(self, "task", None)
        return (task,) if isinstance(task, Mapping) else ()

    def outside(self) -> tuple[str, ...]:
        """Files, folders and functions that its data come from, which no directory of a run holds.

        A directory may be a stranger's: `edt.runs.trust` has them confirmed.
        """
        from edt.tasks.task_tables import outside  # heavy

        return tuple(name for table in self.task_tables for name in outside(table))

    def check_data(self) -> None:
        """Insist on data of one's own, as they were when the spec was made.

        Raises:
            ValueError: they are missing, or have changed.
        """
        from edt.tasks.task_tables import check_task  # heavy

        for table in self.task_tables:
            check_task(table)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name this spec: SHA-256 of its canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
