"""The axes that most panels share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edt.show.panel import Part, axis


def width_axis(
    widths: Sequence[int], title: str = "student width m (hidden neurons)", most: int = 16
) -> Part:
    """Integers that do not crowd."""
    step = 1 if len(widths) <= most else int(np.ceil(len(widths) / (0.75 * most)))
    shown = [int(width) for width in widths][::step]
    return axis(title, ticks=shown, span=(min(widths) - 0.6, max(widths) + 0.6), grid=False)


def percent_axis(title: str) -> Part:
    """From 0 to 100%, with room for markers at both ends."""
    ticks = (0, 0.25, 0.5, 0.75, 1.0)
    return axis(title, ticks=ticks, labels=[f"{100 * t:.0f}%" for t in ticks], span=(-0.03, 1.04))


def place_axis(names: Sequence[str], title: str) -> Part:
    """Names at 0, 1, 2, ..."""
    return axis(title, ticks=range(len(names)), labels=names, span=(-0.6, len(names) - 0.4),
                grid=False)  # fmt: skip


def log_axis(
    title: str,
    traces: Sequence[Part] = (),
    span: tuple[float, float] | None = None,
    *,
    along: str = "y",
) -> Part:
    """A logarithmic axis with powers of ten, or 1, 2, 5 where it spans few.

    Args:
        title: what it measures.
        traces: whose numbers, intervals included, decide the span.
        span: instead.
        along: "x" or "y".
    """
    low, high = _reach(traces, along) if span is None else span
    ticks = decades(low, high, fine=60.0)
    return axis(title, log=True, ticks=ticks, labels=power_labels(ticks), span=(low, high))


def _reach(traces: Sequence[Part], along: str) -> tuple[float, float]:
    """Least and greatest positive value, with some room."""
    values: list[float] = []
    for trace in traces:
        y = np.array(trace[along], dtype=float)
        values += y.tolist()
        if along == "y" and "error_y" in trace:
            values += (y + np.array(trace["error_y"]["array"], dtype=float)).tolist()
            values += (y - np.array(trace["error_y"]["arrayminus"], dtype=float)).tolist()
    shown = [value for value in values if np.isfinite(value) and value > 0.0]
    low, high = (min(shown), max(shown)) if shown else (0.1, 1.0)
    room = max((high / low) ** 0.05, 1.2)
    return low / room, high * room


def power_labels(values: Sequence[float]) -> list[str]:
    """Ticks in one form: plain numbers, or powers of ten where one would be long.

    Example:
        >>> power_labels([0.001, 0.002]), power_labels([1e-9, 0.02])
        (['0.001', '0.002'], ['10<sup>−9</sup>', '2·10<sup>−2</sup>'])
    """
    if not len(values) or (min(values) >= 1e-4 and max(values) < 1e5):
        return [f"{value:,.10g}" for value in values]
    out = []
    for value in values:
        exponent = int(np.floor(np.log10(value) + 1e-9))
        times = f"{value / 10.0**exponent:.3g}"
        sign = f"10<sup>{exponent}</sup>".replace("-", "−")
        out.append(sign if times == "1" else f"{times}·{sign}")
    return out


def size_axis(sizes: Sequence[float], title: str) -> Part:
    """Sizes of a change, each with its own tick; logarithmic where they span a factor of 8."""
    log = min(sizes) > 0 and max(sizes) / min(sizes) >= 8
    low, high = min(sizes), max(sizes)
    room = 0.05 * (high - low) or 1.0
    span = (low / 1.15, high * 1.15) if log else (low - room, high + room)
    return axis(title, log=log, ticks=list(sizes), span=span, grid=False)


#: Ticks of a logarithmic axis, at most: more would overlap.
MOST_TICKS = 9


def decades(low: float, high: float, fine: float = 300.0) -> list[float]:
    """Ticks 1, 10, 100, ..., with 2 and 5 between them where the axis spans less than ``fine``,
    with more where it spans little, and with fewer where it spans much.

    Example:
        >>> decades(0.9, 30.0), len(decades(1e-33, 1.0))
        ([1.0, 2.0, 5.0, 10.0, 20.0], 7)
    """
    ratio = high / low
    between = (1, 1.5, 2, 3, 4, 5, 6, 8) if ratio < 12 else (1, 2, 5) if ratio < fine else (1,)
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    step = -(-len(exponents) // MOST_TICKS)
    ticks = [k * 10.0**e for e in exponents if e % step == 0 for k in between]
    return [tick for tick in ticks if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)]
