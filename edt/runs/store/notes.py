"""Small JSON files in the directory of a run: what makes no sense in them counts as not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from edt.locations import Folder
from edt.runs.store import inside

#: Bytes of a note. The manifest of a whole run names all its files, 150 bytes each.
MOST, MOST_WHOLE = 2**20, 2**28


def read_note(
    folder: Folder,
    name: str,
    kinds: Mapping[str, type],
    others: Mapping[str, type] | None = None,
    *,
    most: int = MOST,
    read: Callable[[str, int | None], bytes] | None = None,
) -> dict[str, Any] | None:
    """The entries of a JSON file; None where it is missing or holds something else.

    Args:
        folder: directory of a run.
        name: of the file in it.
        kinds: entries that must be there, and their types; a float may be whole. Numbers must be
            finite.
        others: entries that may be there. None: any.
        most: bytes it may have.
        read: a function of `inside.reading`, for which ``name`` is one of its folder.

    Raises:
        ConnectionError: what is behind the URL does not answer.
    """
    try:
        data = inside.read(folder, name, most) if read is None else read(name, most)
        found = json.loads(data)
    except ConnectionError:  # not known to be missing
        raise
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not kinds.keys() <= found.keys():
        return None
    known = {**kinds, **(others or {})}
    if others is not None and not found.keys() <= known.keys():
        return None
    fits = all(_is(found[name], kind) for name, kind in known.items() if name in found)
    return found if fits else None


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, (int, float)) and -1e300 < value < 1e300
    if kind is int:
        return isinstance(value, int) and -(2**63) <= value < 2**63
    return isinstance(value, kind)
