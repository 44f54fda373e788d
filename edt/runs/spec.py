"""A spec: every number that the tables of a run depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from edt.errors import unknown_choice
from edt.limits import insist_count
from edt.scalars import integer, number

S = TypeVar("S", bound="Spec")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: Annotation to what a value must be, in words and as a test. Ranges are the specs' own.
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", _is_integer),
    "float": ("a number", lambda value: isinstance(value, float) or _is_integer(value)),
}


def check_kind(name: str, value: Any, annotation: str) -> None:
    """Insist on what a field's annotation says of texts, flags and lists.

    Single numbers are for `Spec.check_numbers`, which knows their ranges, too; here they may only
    not be larger than a machine's: seeds have 64 bits, sizes and counts 31.

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

    Subclasses are frozen dataclasses whose fields are numbers, strings or tuples of them.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        """Have every spec say how large its plan is before anything is made for it."""
        super().__init_subclass__(**more)
        check = cls.__dict__.get("__post_init__")

        def checked(self: Spec) -> None:
            for entry in fields(self):
                value = getattr(self, entry.name)
                check_kind(entry.name, value, str(entry.type))
                if isinstance(value, list) and str(entry.type).startswith("tuple"):
                    object.__setattr__(self, entry.name, tuple(value))
            if check is not None:
                check(self)
            for name in ("networks", "trainings"):
                count = getattr(self, name, None)
                if isinstance(count, int):
                    insist_count("this plan", count)

        if check is not None or "networks" in cls.__dict__ or "trainings" in cls.__dict__:
            cls.__post_init__ = checked  # type: ignore[attr-defined]

    def check_numbers(
        self, names: Iterable[str] | None = None, *, from_zero: Sequence[str] = ()
    ) -> None:
        """Insist on integers of at least 1 and on finite numbers above 0 in fields of these types.

        Args:
            names: of the fields; None: all.
            from_zero: those that may be 0.

        Raises:
            TypeError, ValueError: others; names the field.
        """
        chosen = None if names is None else set(names)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if chosen is not None and entry.name not in chosen:
                continue
            if entry.type == "int":
                value = integer(entry.name, value, 0 if entry.name in from_zero else 1)
            elif entry.type == "float":
                value = number(entry.name, value, strict=entry.name not in from_zero)
            object.__setattr__(self, entry.name, value)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; tuples become lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

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
        """Tables of its tasks (`edt.tasks.table`), where they may be data of one's own."""
        task = getattr(self, "task", None)
        return (task,) if isinstance(task, Mapping) else ()

    def outside(self) -> tuple[str, ...]:
        """Files, folders and functions that its data come from, which no directory of a run holds.

        A directory may be a stranger's: `edt.runs.trust` has them confirmed.
        """
        from edt.tasks.table import outside  # heavy

        return tuple(name for table in self.task_tables for name in outside(table))

    def check_data(self) -> None:
        """Insist on data of one's own, as they were when the spec was made.

        Raises:
            ValueError: they are missing, or have changed.
        """
        from edt.tasks.table import check_task  # heavy

        for table in self.task_tables:
            check_task(table)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name this spec: SHA-256 of its canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
