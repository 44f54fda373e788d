"""Numbers as people read them: two digits, one minus sign, one form of powers."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: The minus sign of text, and signs and digits raised and lowered.
MINUS = "\N{MINUS SIGN}"
RAISED = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
LOWERED = str.maketrans("0123456789+-−", "₀₁₂₃₄₅₆₇₈₉₊₋₋")
#: Sizes that are written out; what lies outside is a power of ten.
LEAST, MOST = 1e-3, 1e6


def percent(value: float) -> str:
    """A share as per cent: whole, but never 0% or 100% for what is not quite.

    Example:
        >>> percent(0.473), percent(0.997), percent(1.0)
        ('47%', '99.7%', '100%')
    """
    if math.isnan(value):
        return "–"
    if value < 0.0:
        return MINUS + percent(-value)
    if math.isinf(value):
        return "∞%"
    rounded = round(100 * value)
    if rounded == 0 and value > 0:
        return "<0.1%" if value < 0.0005 else f"{100 * value:.1f}%"
    if rounded == 100 and value < 1:
        return ">99.9%" if value >= 0.9995 else f"{100 * value:.1f}%"
    return f"{rounded}%"


def span(low: float, high: float) -> str:
    """A range of shares in per cent.

    Example:
        >>> span(0.41, 0.53), span(-0.16, 0.3), span(-math.inf, 0.3)
        ('41–53%', '−16 to 30%', '−∞ to 30%')
    """
    if math.isnan(low):
        return "–"
    between = " to " if low < 0.0 else "–"
    return f"{percent(low).removesuffix('%')}{between}{percent(high)}"


def number(value: float, digits: int = 2) -> str:
    """A measured number: two significant digits, thousands grouped; whole numbers as they are.

    More digits only where they tell apart what is different, as levels of loss.

    Example:
        >>> number(9.184), number(1820.0), number(-0.0451), number(float("inf")), number(3.14e-7)
        ('9.2', '1,820', '−0.045', '∞', '3.1·10⁻⁷')
    """
    if not math.isfinite(value) or value == round(value):
        return exact(value)
    return exact(float(f"{value:.{digits}g}"))


def exact(value: float) -> str:
    """A given number, such as a learning rate, to all its digits (six at most).

    Example:
        >>> exact(0.125), exact(1e-6), exact(-2.5e-9), exact(1820.0)
        ('0.125', '10⁻⁶', '−2.5·10⁻⁹', '1,820')
    """
    if math.isnan(value):
        return "–"
    size = abs(value)
    if math.isinf(size):
        text = "∞"
    elif size and (size < LEAST or (size >= MOST and size != round(size))):
        digits, _, power = f"{size:.5e}".partition("e")
        times = f"{float(digits):g}"
        text = ("" if times == "1" else f"{times}·") + f"10{str(int(power)).translate(RAISED)}"
    else:
        text = f"{size:,.0f}" if size == round(size) else f"{size:,.6g}"
    return MINUS + text if value < 0.0 else text


def fixed(value: float, digits: int) -> str:
    """A number of a column that is read downwards: to so many digits after the point.

    Example:
        >>> fixed(-1234.567, 1), fixed(2.0, 1)
        ('−1,234.6', '2.0')
    """
    return f"{value:,.{digits}f}".replace("-", MINUS) if math.isfinite(value) else exact(value)


def signed(value: float, digits: int = 2) -> str:
    """A change: its sign, whatever it is.

    Example:
        >>> signed(0.314), signed(-0.5), signed(0.0)
        ('+0.31', '−0.5', '0')
    """
    text = number(float(f"{value:.{digits}g}"))
    return f"+{text}" if value > 0.0 and not math.isinf(value) else text


def points(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """A difference of shares in points of per cent, with its range.

    Example:
        >>> points(-0.214, -0.303, 0.02), points(0.004)
        ('−21 points (−30 to +2)', '+0.4 points')
    """
    text = f"{_point(value)} points"
    return text if math.isnan(low) else f"{text} ({_point(low)} to {_point(high)})"


def _point(share: float) -> str:
    size = 100.0 * share
    return signed(float(round(size)) if abs(size) >= 0.95 else float(f"{size:.1f}"))


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


def between(low: float, high: float) -> str:
    """A range of numbers: ``4.9–19``; with words where there is a sign."""
    return f"{number(low)} to {number(high)}" if low < 0.0 else f"{number(low)}–{number(high)}"


def interval(value: float, low: float, high: float) -> str:
    """A number with its range: ``9.2 (4.9–19)``; alone where that is unknown or the number itself,
    one-sided where it has no upper end."""
    if math.isnan(low) or low == value == high:
        return number(value)
    if math.isinf(value) and math.isinf(high):
        return f"> {number(low)}"
    return f"{number(value)} ({between(low, high)})"


#: Options whose names are not words.
_OPTIONS = {
    "gaussian": "Gaussian", "sobol": "Sobol", "glorot": "Glorot", "he": "He", "lecun": "LeCun",
    "relu": "ReLU", "leaky_relu": "leaky ReLU", "elu": "ELU", "selu": "SELU", "gelu": "GELU",
    "silu": "SiLU", "g": "sigmoid(4z) + softplus(z)", "lr": "learning rate",
    "init": "initialisation", "init_scale": "scale of the start", "tol": "tolerance",
    "eps": "epsilon", "beta1": "first beta", "beta2": "second beta", "dtype": "precision",
}  # fmt: skip


def option(name: str) -> str:
    """An option of a spec, or its value, as a sentence says it.

    Example:
        >>> option("lr"), option("glorot"), option("batch_size"), option("tanh")
        ('learning rate', 'Glorot', 'batch size', 'tanh')
    """
    return _OPTIONS.get(name, name.replace("_", " "))


def count(n: int, noun: str, plural: str | None = None) -> str:
    """``1 network``, ``2 networks``; thousands grouped."""
    word = noun if n == 1 else plural or f"{noun}s"
    return f"{n:,} {word}"


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def ranges(values: Sequence[int]) -> str:
    """A rising list of whole numbers.

    Example:
        >>> ranges((2, 3, 4, 8)), ranges((2, 3)), ranges((5,))
        ('2 to 4 and 8', '2 and 3', '5')
    """
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts: list[str] = []
    for run in runs:
        parts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(value) for value in run]
    return listed(parts)
