"""A spec: every number that the tables of a run depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from edt.errors import unknown_choice
from edt.limits import insist_count
from edt.scalars import number, whole

S = TypeVar("S", bound="Spec")


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
                if str(entry.type).startswith("tuple") and not isinstance(value, (tuple, list)):
                    raise TypeError(f"{entry.name} must be a list like (2, 3), got {value!r:.60}")
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
                value = whole(entry.name, value, 0 if entry.name in from_zero else 1)
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

    def outside(self) -> tuple[str, ...]:
        """Files, folders and functions that its data come from, which no directory of a run holds.

        A directory may be a stranger's: `edt.runs.trust` has them confirmed.
        """
        return ()

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name this spec: SHA-256 of its canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
