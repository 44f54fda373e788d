"""The axes a sweep may vary: their defaults, and what counts as a value of each."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edt.ensemble import ACTIVATIONS, SCHEMES
from edt.errors import unknown_choice
from edt.scalars import flag, integer, number
from edt.training.optimizers import OPTIMIZERS

Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        default: the value where a spec says nothing.
        check: (name, value) to the value in its canonical type; raises TypeError or ValueError.
        single: whether networks with different values may train in one call.
        whole: whether values are integers, which may be given as a range "0..99".
    """

    default: Any
    check: Check
    single: bool = False
    whole: bool = False


def _integer(least: int, most: int = 2**63 - 1) -> Check:
    return lambda name, value: integer(name, value, least, most)


def _number(least: float, *, strict: bool = False, below: float = math.inf) -> Check:
    return lambda name, value: number(name, value, least, below, strict=strict)


def _choice(*allowed: str) -> Check:
    def check(name: str, value: Any) -> str:
        if value not in allowed:
            raise unknown_choice(name, value, allowed)
        return str(value)

    return check


def _width(name: str, value: Any) -> tuple[int, ...]:
    """Hidden widths; a number is one layer."""
    layers = value if isinstance(value, (list, tuple)) else [value]
    if not layers:
        raise ValueError(f"{name} must hold at least one hidden layer, got {value!r}")
    return tuple(integer(name, layer) for layer in layers)


SCHEDULES = ("constant", "cosine", "linear", "step", "exponential", "warmup", "one-cycle")
METHODS = ("auto", "lbfgs+newton", "newton", "lm", "cg")

#: Axes in the order in which runs are numbered: the last one varies fastest.
AXES: dict[str, Axis] = {
    "task": Axis(0, _integer(0)),
    "activation": Axis("tanh", _choice(*ACTIVATIONS)),
    "init": Axis("torch", _choice(*SCHEMES)),
    "init_scale": Axis(1.0, _number(0.0)),
    "bias": Axis(True, flag),
    "dtype": Axis("float64", _choice("float32", "float64")),
    "device": Axis("cpu", _choice("cpu", "cuda")),  # of first-order training
    "sparsity": Axis(0.0, _number(0.0, below=1.0)),
    "optimizer": Axis("adam", _choice(*OPTIMIZERS)),
    "steps": Axis(1000, _integer(0)),
    "schedule": Axis("constant", _choice(*SCHEDULES)),
    "batch_size": Axis(0, _integer(0)),  # 0: full batch
    "momentum": Axis(0.0, _number(0.0, below=1.0)),
    "nesterov": Axis(False, flag),
    "beta1": Axis(0.9, _number(0.0, below=1.0)),
    "beta2": Axis(0.999, _number(0.0, below=1.0)),
    "eps": Axis(1e-8, _number(0.0, strict=True)),
    "tol": Axis(0.0, _number(0.0)),  # 0: not driven to the bottom
    "method": Axis("auto", _choice(*METHODS)),
    "lbfgs_steps": Axis(2000, _integer(0)),
    "newton_steps": Axis(200, _integer(0)),
    "certify_steps": Axis(600, _integer(0)),  # 0: the word of `edt.converge`
    "target": Axis(0, _integer(0), single=True, whole=True),
    "width": Axis((8,), _width, single=True, whole=True),
    "lr": Axis(1e-3, _number(0.0, strict=True), single=True),
    "weight_decay": Axis(0.0, _number(0.0), single=True),
    "seed": Axis(0, _integer(0, 2**64 - 1), single=True, whole=True),
}

#: Values an axis may have: more would only fill the memory.
MOST = 1_000_000
RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")


def axis_order(value: Any) -> tuple[Any, ...]:
    """What values of one axis are sorted by: numbers as numbers, widths of several layers too.

    Example:
        >>> sorted(["16", "4-4", "4-16", "2"], key=axis_order)
        ['2', '4-4', '4-16', '16']
    """
    parts = str(value).split("-") if isinstance(value, str) else []
    if parts and all(map(str.isdecimal, parts)):
        return 0, tuple(map(int, parts)), ""
    return (1, (), value) if isinstance(value, str) else (0, (value,), "")


def axis_values(name: str, given: Any) -> tuple[Any, ...]:
    """Values of one axis from what a spec says: a value, a list, or a range ``"0..99"``.

    Args:
        name: of the axis.
        given: a value or a list of them; for integers also ``"first..last"`` or
            ``"first..last:step"``. Entries of ``width`` may be lists: one width a layer.

    Raises:
        TypeError, ValueError: unknown axis, wrong type, out of range, repeated or none at all.

    Example:
        >>> axis_values("seed", "0..3")
        (0, 1, 2, 3)
        >>> axis_values("width", [2, [4, 4]])
        ((2,), (4, 4))
    """
    if name not in AXES:
        raise unknown_choice("axis", name, list(AXES))
    axis = AXES[name]
    entries = given if isinstance(given, (list, tuple, range)) else [given]
    parts: list[Any] = [
        _expand(name, entry) if axis.whole and isinstance(entry, str) else [entry]
        for entry in entries[: MOST + 1]
    ]
    if sum(map(len, parts)) > MOST:
        raise ValueError(f"{name} must have at most {MOST:,} values, got {given!r:.60}")
    values: list[Any] = []
    for part in parts:
        if isinstance(part, range):
            # What suits both ends of a range suits all of it.
            first, _ = axis.check(name, part[0]), axis.check(name, part[-1])
            values += part if first == part[0] else [(number,) for number in part]
        else:
            values.append(axis.check(name, *part))
    if not values:
        raise ValueError(f"{name} must have at least one value")
    if len(set(values)) != len(values):
        ((repeated, _),) = Counter(values).most_common(1)
        raise ValueError(f"{name} must not repeat values, got {repeated!r} twice")
    return tuple(values)


def grid_values(name: str, table: Any) -> dict[str, tuple[Any, ...]]:
    """Every axis of a table of a spec, checked.

    Raises:
        TypeError: not a table. Otherwise as `axis_values`.
    """
    if not isinstance(table, Mapping):
        raise TypeError(f"{name} must be a table of axes, got {type(table).__name__}")
    return {axis: axis_values(axis, value) for axis, value in table.items()}


def _expand(name: str, text: str) -> range:
    match = RANGE.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"{name} must be integers or a range like 0..99 or 2..16:2, got {text!r}")
    first, last, step = (int(part) if part else 1 for part in match.groups())
    if last < first or step < 1:
        raise ValueError(f"{name} must be a rising range, got {text!r}")
    if last - first >= MOST * step:
        raise ValueError(f"{name} must have at most {MOST:,} values, got {text!r}")
    return range(first, last + 1, step)
