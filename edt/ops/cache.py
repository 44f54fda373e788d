"""Values derived from tensors, kept as long as the tensors live."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

__all__ = ["TensorCache", "versions"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class _Entry(Generic[Value]):
    tensors: tuple[weakref.ref[torch.Tensor], ...]
    versions: tuple[int, ...]
    value: Value


class TensorCache(Generic[Value]):
    """Maps tuples of tensors (by identity) and plain values to what was made from them.

    Ops take tensors, not the compiled objects made from them, so that they stay pure functions
    which `torch.compile`, `torch.export` and autograd can move around; this cache is what makes
    that cheap. An entry holds its tensors weakly and goes when the first of them dies; it serves no
    more once one of them was changed in place (writes past PyTorch's count of versions, through
    ``tensor.numpy()`` or ``tensor.data``, cannot be seen). The values
    must not refer to the key tensors, or they would keep them alive.

    Safe to use from several threads without a lock: each access is one operation of a dict, and
    two threads that miss at once merely make the same value twice.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[Hashable, ...], _Entry[Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tensors: tuple[torch.Tensor, ...], *rest: Hashable) -> Value | None:
        """The value stored for these very tensors as they are now, or None."""
        entry = self._entries.get((*map(id, tensors), *rest))
        if entry is None:
            return None
        for ref, tensor in zip(entry.tensors, tensors, strict=True):
            if ref() is not tensor:
                return None
        # What was changed in place since is another tensor to everything made from it.
        return entry.value if entry.versions == versions(*tensors) else None

    def store(self, value: Value, tensors: tuple[torch.Tensor, ...], *rest: Hashable) -> Value:
        """Keep ``value`` for these tensors; returns it."""
        key = (*map(id, tensors), *rest)
        entries = self._entries

        def forget(_: Any) -> None:
            # The id may serve another tensor by now: only this entry goes.
            if entries.get(key) is entry:
                entries.pop(key, None)

        entry = _Entry(
            tuple(weakref.ref(tensor, forget) for tensor in tensors),
            versions(*tensors),
            value,
        )
        if not any(tensor.is_inference() for tensor in tensors):
            # Tensors made in inference mode do not count their changes.
            entries[key] = entry
        return value


def versions(*tensors: torch.Tensor) -> tuple[int, ...]:
    """How often each was changed in place (0 for tensors of inference mode, which do not count)."""
    try:
        return tuple([tensor._version for tensor in tensors])
    except RuntimeError:  # one is of inference mode
        return tuple([0 if tensor.is_inference() else tensor._version for tensor in tensors])
