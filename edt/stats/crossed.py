"""Crossed designs: every ticket with every rest, and how much of the outcome is whose.

    y_ij = mean + ticket_i + rest_j + (ticket x rest)_ij

With one run a cell, variance components by the analysis of variance of the table,

    ticket = (MS_ticket - MS_rest-of-it) / J,   rest = (MS_rest - MS_rest-of-it) / I,

and what is left, interaction and luck of the run together. The null of a component shuffles what it
speaks of: wins among the tickets of each rest, or among the rests of each ticket.

References: S. Searle, G. Casella, C. McCulloch, "Variance Components", 1992, chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edt.stats.association import Tested
from edt.stats.door import numbers
from edt.stats.interval import SEED

__all__ = ["Components", "expected_losers", "variance_components"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Variance components of a crossed table, as shares of their sum (a negative estimate is 0).

    Attributes:
        ticket, rest: shares, tested against their nulls.
        interaction: share that is left.
        total: variance of one outcome, the sum of the components.
    """

    ticket: Tested
    rest: Tested
    interaction: float
    total: float


def variance_components(
    tables: npt.ArrayLike | list[npt.ArrayLike], draws: int = 1000, seed: int = SEED
) -> Components:
    """Shares of ticket, rest and interaction in the outcomes of crossed tables.

    Several tables (one a teacher) are pooled by their mean squares, so that what teachers differ in
    is nobody's share.

    Args:
        tables: float or bool ``[I, J]``, one outcome a ticket and rest; or a list of such tables.
            At least two of each.
        draws: permutations; seed: of them.

    Returns:
        `Components`.

    Raises:
        ValueError: a table that is too small or holds NaN.

    Example:
        >>> found = variance_components(np.arange(4)[:, None] * np.ones((4, 5)))
        >>> round(found.ticket.value, 3), found.ticket.p < 0.01
        (1.0, True)
    """
    several = tables if isinstance(tables, list) else [tables]
    data = [numbers("tables", table, nan=True) for table in several]
    for table in data:
        if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
            raise ValueError(
                f"tables must be finite with at least two tickets and two rests, got shape "
                f"{list(table.shape)}"
            )
    generator = np.random.Generator(np.random.Philox(seed))
    ticket, rest, left = _shares(data)
    shuffled = [[np.empty((draws, *table.shape)) for table in data] for _ in range(2)]
    for k in range(draws):
        for axis, tables_of in enumerate(shuffled):
            for made, table in zip(tables_of, data, strict=True):
                made[k] = generator.permuted(table, axis=axis)
    null = np.stack([_shares(shuffled[0])[0], _shares(shuffled[1])[1]])
    total = float(sum(_components(data)))
    tested = [
        Tested(
            float(value),
            float(draw.mean()),
            float(np.quantile(draw, 0.95)),
            (1.0 + float((draw >= value - 1e-12).sum())) / (draws + 1.0),
        )
        for value, draw in zip((ticket, rest), null, strict=True)
    ]
    return Components(tested[0], tested[1], float(left), total)


def expected_losers(rates: npt.ArrayLike, tries: int) -> float:
    """How many tickets lose at least once if tickets do nothing: ``sum_i 1 - s_i^R``.

    Args:
        rates: ``[K]``, win rate of fresh students of each ticket's teacher.
        tries: R, rests tried around each ticket.

    Example:
        >>> round(expected_losers([0.99] * 20, 60), 1)
        9.1
    """
    values = numbers("rates", rates)
    if bool(((values < 0.0) | (values > 1.0)).any()) or tries < 1:
        raise ValueError("rates must be in 0..1 and tries at least 1")
    return float((1.0 - values**tries).sum())


def _components(data: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """Variances of ticket, rest and what is left, pooled over tables ``[..., I, J]``; cut at 0."""
    tickets = rests = left = np.zeros(())
    free = np.zeros(3)
    weight_t = weight_r = 0.0
    for y in data:
        rows, columns = y.shape[-2:]
        by_row, by_column = y.mean(axis=-1, keepdims=True), y.mean(axis=-2, keepdims=True)
        mean = y.mean(axis=(-2, -1), keepdims=True)
        tickets = tickets + columns * ((by_row - mean) ** 2).sum(axis=(-2, -1))
        rests = rests + rows * ((by_column - mean) ** 2).sum(axis=(-2, -1))
        left = left + ((y - by_row - by_column + mean) ** 2).sum(axis=(-2, -1))
        free += (rows - 1, columns - 1, (rows - 1) * (columns - 1))
        weight_t += columns * (rows - 1)
        weight_r += rows * (columns - 1)
    noise = left / free[2]
    ticket = np.maximum(0.0, (tickets / free[0] - noise) / (weight_t / free[0]))
    rest = np.maximum(0.0, (rests / free[1] - noise) / (weight_r / free[1]))
    return ticket, rest, noise


def _shares(data: list[Floats]) -> tuple[Floats, Floats, Floats]:
    ticket, rest, noise = _components(data)
    total = ticket + rest + noise
    total = np.where(total == 0.0, 1.0, total)
    return ticket / total, rest / total, noise / total
