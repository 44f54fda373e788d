"""What the columns of tables are called, and how their cells are written: on pages and terminals.

A column with bounds is one column, ``50% (25–75%)``. Columns without words keep their names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from edt.show.words import interval, number, p_value, percent, points, span

__all__ = ["Terms", "named_columns"]

#: Endings of the names of a column's bounds.
BOUNDS = (("_spread_low", "_spread_high"), ("_low", "_high"))
#: First words of the names of columns whose numbers are shares of 1, and whole names of others.
SHARES = (
    "rate", "spread", "same", "accuracy", "bad_share", "minima_share", "coverage", "good",
    "strict", "held", "holder_won", "share", "prevented",
)  # fmt: skip
_SHARES = tuple(f"{word}_" for word in SHARES)
SHARES_WHOLE = frozenset({
    "bad", "minimum", "channel", "saturated", "other", "lower", "left", "bad_narrow", "bad_wide",
    "alpha", "coins", "some", "together", "only_alone", "only_together", "ticket", "random", "rest",
    "interaction", "untrained", "back", "remaining", "alone", "level", "ticket_limit", "rest_limit",
    "moved_share", "joined_share", "first",
})  # fmt: skip
#: Differences of shares.
POINTS = frozenset({"ahead", "gain", "good_ahead", "bad_change", "good_change"})
#: p-values.
CHANCES = frozenset({"p", "ticket_p", "rest_p", "auc_p", "bits_p", "information_p", "p_more",
                     "p_fewer", "p_adjusted"})  # fmt: skip
#: Headings where a column's name does not say enough.
HEADINGS = {
    "agree": "closed form agrees",
    "ahead": "ahead (points)",
    "aic": "AIC",
    "alone_if_lost": "winning subsets, if lost",
    "alone_if_won": "winning subsets, if won",
    "alpha": "negative eigenvalues",
    "auc": "AUC",
    "auc_p": "p-value of the AUC",
    "b_dimension": "slope, dimension",
    "b_learning": "slope, neurons",
    "back": "come back",
    "bad_change": "change of bad (points)",
    "bad_narrow": "bad, narrow",
    "bad_wide": "bad, wide",
    "bits": "information (bits)",
    "bits_limit": "by chance, at most (95%)",
    "bits_null": "by chance, mean",
    "bits_p": "p-value",
    "change": "change from the narrowest",
    "chao1": "Chao1",
    "coins": "minima, by coin tosses",
    "correlation": "rank correlation",
    "clear": "beyond doubt",
    "delta_aic": "ΔAIC",
    "dimension": "parameters",
    "dispersion": "spread, over the binomial",
    "expected": "losers expected",
    "first": "first-order training alone",
    "good_ahead": "ahead of kicks (points)",
    "good_change": "change of good (points)",
    "good_narrow": "good, narrow",
    "good_wide": "good, wide",
    "held": "parts held by one ticket",
    "holder_won": "which won alone",
    "information": "information (bits)",
    "information_limit": "by chance, at most (95%)",
    "information_null": "by chance, mean",
    "information_p": "p-value",
    "learning": "neurons that learn",
    "limit": "by chance, up to",
    "log_likelihood": "ln L",
    "mean_index": "escape dimensions",
    "n_neg": "escape dimensions",
    "null": "by chance",
    "only_alone": "only a ticket",
    "only_together": "only the network",
    "P": "eigenvalues",
    "p": "p-value",
    "p_fewer": "p-value, fewer",
    "p_more": "p-value, more",
    "rate_remaining": "weights remaining",
    "rest_limit": "rest, by chance up to",
    "rest_p": "p-value, rest",
    "shift": "distance of end",
    "speed": "log10 of the speed-up",
    "strict": "strict saddles",
    "ticket_limit": "ticket, by chance up to",
    "ticket_p": "p-value, ticket",
    "untrained": "good right after the cut",
    "whole": "all subsets",
}  # fmt: skip


@dataclass(frozen=True)
class Terms:
    """A study's own words for what its tables hold.

    Attributes:
        headings: of columns, before `HEADINGS`; a bound that has one stands by itself.
        cells: name of a column to the words for its values.

    Example:
        >>> Terms(cells={"width": {0: "all"}}).cells["width"][0]
        'all'
    """

    headings: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)


def named_columns(frame: pd.DataFrame, terms: Terms | None = None) -> list[tuple[str, list[str]]]:
    """Headings and cells; a column and its bounds are one.

    Args:
        frame: any table.
        terms: words of its study.

    Example:
        >>> named_columns(pd.DataFrame({"rate": [0.5], "rate_low": [0.25], "rate_high": [0.75]}))
        [('rate', ['50% (25–75%)'])]
    """
    own = terms or Terms()
    names = [str(name) for name in frame.columns]
    bounds: dict[str, tuple[str, str]] = {}
    taken: dict[str, str] = {}
    for low, high in BOUNDS:
        for name in names:
            stem = name.removesuffix(low)
            pair = (name, f"{stem}{high}")
            if name in taken or name in own.headings or stem in bounds:
                continue
            if name.endswith(low) and pair[1] in names:
                bounds[stem] = pair
                taken |= dict.fromkeys(pair, stem)
    out = []
    for name in names:
        stem = taken.get(name, name)
        if name in taken and (stem in names or name == bounds[stem][1]):
            continue
        middle = frame[stem].tolist() if stem in names else None
        around = [frame[bound].tolist() for bound in bounds.get(stem, ())]
        said = own.cells.get(stem, {})
        cells = [
            said.get(value) or _cell(stem, value, *ends)
            for value, *ends in zip(middle or [None] * len(frame), *around, strict=True)
        ]
        out.append((own.headings.get(stem) or heading(stem), cells))
    return out


def heading(name: str) -> str:
    """What a column is called: its own name, or that of the share or the method in it.

    Example:
        >>> heading("mean_index"), heading("rate_alone")
        ('escape dimensions', 'rate alone')
    """
    return HEADINGS.get(name, name.replace("_", " "))


def _cell(name: str, value: Any, low: float = math.nan, high: float = math.nan) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if value is not None and not isinstance(value, float):
        return str(value)
    if name in CHANCES and value is not None:
        return p_value(value)
    known = not math.isnan(low)
    if name in POINTS and value is not None:
        return "–" if math.isnan(value) else points(value, low, high).replace(" points", "")
    if f"{name}_".startswith(_SHARES) or name in SHARES_WHOLE:
        if value is None:
            return span(low, high)
        return f"{percent(value)} ({span(low, high)})" if known else percent(value)
    if value is None:
        if not known or low == high:
            return number(low)
        return f"{number(low)} to {number(high)}"
    return interval(value, low, high)
