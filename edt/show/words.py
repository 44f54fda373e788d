"""Numbers as people read them."""

from __future__ import annotations

import math


def percent(value: float) -> str:
    """A share as per cent: whole, but never 0% or 100% for what is not quite.

    Example:
        >>> percent(0.473), percent(0.997), percent(1.0)
        ('47%', '99.7%', '100%')
    """
    if math.isnan(value):
        return "–"
    rounded = round(100 * value)
    if rounded == 0 and value > 0:
        return "<0.1%" if value < 0.0005 else f"{100 * value:.1f}%"
    if rounded == 100 and value < 1:
        return ">99.9%" if value >= 0.9995 else f"{100 * value:.1f}%"
    return f"{rounded}%"


def span(low: float, high: float) -> str:
    """A range of shares in per cent: ``41–53%``."""
    return "–" if math.isnan(low) else f"{percent(low)[:-1]}–{percent(high)}"


def number(value: float) -> str:
    """Three significant digits, thousands grouped; ``∞`` and ``–`` where there is no number.

    Example:
        >>> number(9.184), number(1820.0), number(float("inf"))
        ('9.18', '1,820', '∞')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if value == round(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


def p_value(p: float) -> str:
    """A p-value in a table: two digits, or that it is less than a thousandth.

    Example:
        >>> p_value(0.0321), p_value(2e-5), p_value(0.603)
        ('0.032', '<0.001', '0.60')
    """
    if math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:#.2g}"


def p_is(p: float) -> str:
    """A p-value in a sentence: ``p = 0.032``, ``p < 0.001``."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def interval(value: float, low: float, high: float) -> str:
    """A number with its range: ``9.18 (4.85–18.5)``; alone where that is unknown, one-sided where
    it has no upper end."""
    if math.isnan(low):
        return number(value)
    if math.isinf(value) and math.isinf(high):
        return f"> {number(low)}"
    return f"{number(value)} ({number(low)}–{number(high)})"


def count(n: int, noun: str, plural: str | None = None) -> str:
    """``1 network``, ``2 networks``; thousands grouped."""
    word = noun if n == 1 else plural or f"{noun}s"
    return f"{n:,} {word}"


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
