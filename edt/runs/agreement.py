"""What tables of parts must have in common with their plan and with each other.

Tables of a directory may be anybody's. Those of one stage come from one function, so they have the
same columns, each of one kind of values; and a column that is named like an argument of that
function has its value.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from edt.runs.store.parts import misfit

if TYPE_CHECKING:
    from edt.runs.parts import Part

Shape = tuple[tuple[str, str], ...]


def odd_one(
    parts: Sequence[Part],
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    rows: Mapping[str, int],
    work: Callable[..., Any],
) -> tuple[str, str] | None:
    """The first part that was found on disk and is not of this run, and why; None: there is none.

    Args:
        parts: of one stage or several.
        tables: of each part by name, by kind.
        rows: of the main table, as the manifest says, for each part that was found on disk; those
            that were computed just now are not in doubt.
        work: what computes such a part from its key.
    """
    names = _arguments(work)
    for part in parts:
        if part.name not in rows:
            continue
        mine = tables[part.name]
        first = next(iter(mine.values()))
        if len(first) != rows[part.name]:
            return part.name, f"has {len(first):,} rows, its manifest says {rows[part.name]:,}"
        if part.rows is not None and len(first) != part.rows:
            return part.name, f"has {len(first):,} rows, the plan {part.rows:,}"
        if part.columns is not None and len(first):
            wrong = misfit(first, part.columns, {}, every=False)
            if wrong is not None:
                return part.name, wrong
        for name, value in zip(names, part.key, strict=False) if part.marked else ():
            for table in mine.values():
                if name in table and not _all(table[name], value):
                    return part.name, f"its {name!r} is not {value!r}, which the plan gives it"
    groups: dict[tuple[str, str], dict[str, Shape]] = {}
    for part in parts:
        for kind, table in tables[part.name].items():
            if len(table):
                groups.setdefault((part.stage, kind), {})[part.name] = _shape(table)
    for shapes in groups.values():
        right = _most(shapes, shapes.keys() - rows.keys())
        for name, shape in shapes.items():
            if name in rows and not _fits(shape, right):
                return name, _difference(shape, right)
    return None


def agree(
    parts: Sequence[Part],
    table: pd.DataFrame,
    counts: Sequence[int],
    said: Sequence[int | None],
    work: Callable[..., Any],
) -> bool:
    """Whether tables with the same columns, one below the other, are all of this run.

    Args:
        parts: of one stage or several.
        table: of all parts.
        counts: rows of each.
        said: by the manifest of each; None: it was computed just now, and is not in doubt.
        work: as of `odd_one`, which says what is wrong where this is False.
    """
    doubted = np.array([rows is not None for rows in said])
    if not doubted.any():
        return True
    for part, rows, stated in zip(parts, counts, said, strict=True):
        if stated is not None and (rows != stated or part.rows not in (None, rows)):
            return False
    plans = {tuple(part.columns.items()): part.columns for part in parts if part.columns}
    if any(misfit(table, columns, {}, every=False) is not None for columns in plans.values()):
        return False
    in_doubt = np.repeat(doubted & np.array([part.marked for part in parts]), counts)
    for k, name in enumerate(_arguments(work)):
        if name not in table:
            continue
        keys = [part.key[k] if k < len(part.key) else None for part in parts]
        plain = np.repeat([isinstance(key, (bool, int, float, str)) for key in keys], counts)
        wanted = np.repeat(np.array([*keys, None], dtype=object)[:-1], counts)
        same = table[name].to_numpy(dtype=object) == wanted
        if not bool(same[plain & in_doubt].all()):
            return False
    return True


def _most(shapes: Mapping[str, Shape], trusted: Set[str]) -> Shape:
    """What most have, of those that were computed just now if there are any."""
    voters = [name for name in shapes if name in trusted] or list(shapes)
    return Counter(shapes[name] for name in voters).most_common(1)[0][0] if voters else ()


def _fits(shape: Shape, right: Shape) -> bool:
    """Columns without a value are of any kind."""
    return [name for name, _ in shape] == [name for name, _ in right] and all(
        "anything" in (a, b) or a == b for (_, a), (_, b) in zip(shape, right, strict=True)
    )


def _arguments(work: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(work).parameters)
    except (TypeError, ValueError):
        return []


def _all(column: pd.Series[Any], value: object) -> bool:
    if not isinstance(value, (bool, int, float, str)):
        return True
    return bool((column == value).all())


def _shape(table: pd.DataFrame) -> Shape:
    return tuple((str(name), _kind(table[name])) for name in table.columns)


def _kind(column: pd.Series[Any]) -> str:
    """Numbers, flags or texts: a column without fractions may be whole, one of None no text."""
    if column.isna().all():
        return "anything"
    if pd.api.types.is_bool_dtype(column.dtype):
        return "flags"
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "numbers"
    return "texts"


def _difference(shape: Shape, right: Shape) -> str:
    there, wanted = dict(shape), dict(right)
    for name in wanted:
        if name not in there:
            return f"has no column {name!r:.60}"
    for name in there:
        if name not in wanted:
            return f"has a column {name!r:.60}, which the others have not"
    for name, kind in wanted.items():
        if "anything" not in (there[name], kind) and there[name] != kind:
            return f"column {name!r:.60} holds {there[name]}, that of the others {kind}"
    return "has its columns in another order"
