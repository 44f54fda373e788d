"""What points say: exact numbers with their intervals."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from edt.arguments import MissingColumn


def share(value: float, low: float | None = None, high: float | None = None) -> str:
    """A share in per cent with one decimal, but never 0 or 100 for what is not quite.

    Example:
        >>> share(0.473, 0.412, 0.535), share(1.0), share(0.9999)
        ('47.3% (95%: 41.2–53.5%)', '100%', '>99.9%')
    """
    if math.isnan(value):
        return "–"
    text = f"{_percent(value)}%"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return text
    return f"{text} (95%: {_percent(low)}–{_percent(high)}%)"


def value(value: float, low: float | None = None, high: float | None = None) -> str:
    """A number with four digits: ``9.184 (95%: 4.85–18.5)``; at least the bound where open.

    Example:
        >>> value(9.184, 4.85, 18.5), value(float("inf"), 3.2, float("inf"))
        ('9.184 (95%: 4.85–18.5)', 'at least 3.2')
    """
    if low is None or high is None or math.isnan(low):
        return _digits(value)
    if math.isinf(value):
        return f"at least {_digits(low)}"
    return f"{_digits(value)} (95%: {_digits(low)}–{_digits(high)})"


class _Row(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise MissingColumn(f"table must have a column {name!r}", name)


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as dictionaries."""
    return [
        _Row({str(name): cell for name, cell in row.items()}) for row in table.to_dict("records")
    ]


def lines(*parts: str) -> str:
    """Parts below each other, empty ones left out."""
    return "<br>".join(part for part in parts if part)


def _percent(share: float) -> str:
    if share in (0.0, 1.0):
        return f"{100 * share:.0f}"
    if share < 0.0005:
        return "<0.1"
    return ">99.9" if share > 0.9995 else f"{100 * share:.1f}"


def _digits(number: float) -> str:
    if math.isnan(number):
        return "–"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    if number == round(number) and abs(number) < 1e7:
        return f"{number:,.0f}"
    return f"{number:.4g}"
