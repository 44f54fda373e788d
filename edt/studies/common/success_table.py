"""Success rates against width, beside what the lottery reading of width predicts from them.

A network of the reference width r, trained alone, succeeds with probability p. If a network of
width m were n independent such networks, it would fail with probability ``(1 - p)^n``. Two
readings fix n: ``floor(m/r)`` disjoint narrow networks, and ``C(m, r)`` overlapping ones. The
measured rate fixes a third, the effective number of tickets ``n_eff = ln P_fail(m) / ln(1 - p)``.

Several targets (teachers) have several p. They are never mixed into one: a prediction for all
targets is the mean of their predictions, and the effective number of tickets of all targets is
the n that solves ``mean_t (1 - p_t)^n = mean_t P_fail,t(m)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from edt.stats import (
    DRAWS,
    SEED,
    Interval,
    cluster_rate,
    combinatorial_tickets,
    disjoint_tickets,
    effective_tickets,
    wilson,
)
from edt.studies.common.levels import pairs

Array = npt.NDArray[np.float64]

#: Value of the ``target`` column in rows that stand for all targets together.
ALL = -1
#: Largest number of tickets the solver looks at; above it the answer is infinite.
MOST_TICKETS = 1e9
#: Where it starts.
FEWEST_TICKETS = 1e-9


def success_table(runs: pd.DataFrame, reference_width: int, conf: float = 0.95) -> pd.DataFrame:
    """Success rate, lottery predictions and effective tickets for every target and width.

    Args:
        runs: one row a network with columns ``target``, ``width`` and ``outcome``.
        reference_width: r, the width whose success rate p is the price of one ticket.
        conf: coverage of all intervals.

    Returns:
        One row per (target, width), then one per width with ``target = ALL``: ``targets``,
        ``runs``, ``good``; ``rate`` with bounds ``rate_low``, ``rate_high``, Wilson's of a single
        target, over targets of several (`edt.stats.cluster_rate`); ``p`` at width r; predictions
        ``disjoint`` and ``combinatorial``, each with ``_low`` and ``_high`` from p's Wilson
        bounds (of several targets `mean_of`); ``n_eff`` with bounds; and the counts
        ``n_disjoint = floor(m/r)``, ``n_windows = m-r+1``, ``n_combinatorial = C(m, r)``.
        Everything about tickets is NaN below r, and everywhere when width r was not run.

    Raises:
        ValueError: a column is missing, or there are no runs.

    Example:
        >>> runs = pd.DataFrame({"target": 0, "width": [4, 4, 8, 8],
        ...                      "outcome": ["good", "bad", "good", "good"]})
        >>> success_table(runs, 4).query("target == -1")["rate"].tolist()
        [0.5, 1.0]
    """
    missing = {"target", "width", "outcome"} - set(runs.columns)
    if missing:
        raise ValueError(f"runs lacks the columns {sorted(missing)}")
    if not len(runs):
        raise ValueError("runs holds no rows")
    counts = {}
    for target, width in pairs(runs):
        outcome = runs["outcome"][(runs["target"] == target) & (runs["width"] == width)]
        counts[target, width] = (int(outcome.eq("good").sum()), len(outcome))
    targets = sorted({target for target, _ in counts})
    groups = [(target, [target]) for target in targets] + [(ALL, targets)]
    rows = []
    for name, group in groups:
        for width in sorted({width for target, width in counts if target in group}):
            members = [target for target in group if (target, width) in counts]
            wide = [counts[target, width] for target in members]
            narrow = [counts.get((target, reference_width)) for target in members]
            rows.append(_row(name, width, wide, narrow, reference_width, conf))
    return pd.DataFrame(rows)


def mean_of(found: Sequence[Interval]) -> Interval:
    """Mean of independent estimates, with the interval that theirs give (MOVER).

    ``m - sqrt(sum (v - low)^2) / k .. m + sqrt(sum (high - v)^2) / k``; of one, its own.

    Args:
        found: estimates of different targets.

    Reference: G. Zou, A. Donner, Statist. Med. 27 (2008) 1693.
    """
    value, low, high = (
        np.array([getattr(each, name) for each in found]) for name in ("value", "low", "high")
    )
    middle = float(value.mean())
    down, up = (float(np.linalg.norm(gap)) / len(found) for gap in (value - low, high - value))
    return Interval(middle, middle - down, middle + up)


def pooled_tickets(
    wide: Sequence[tuple[int, int]], narrow: Sequence[tuple[int, int]], conf: float = 0.95
) -> Interval:
    """Number of tickets n that explains the failures of several targets at once.

    Solves ``mean_t (1 - p_t)^n = mean_t P_fail,t`` for n; with one target it is
    `edt.stats.effective_tickets`. The interval is that of n under independent Beta posteriors of
    all rates (Jeffreys prior, 20,000 draws, fixed seed, equal tails).

    Args:
        wide: (successes, seeds) at width m, one pair a target.
        narrow: the same at width r.
        conf: coverage.

    Returns:
        `Interval`; infinite where the data give no upper bound, NaN where they say nothing.

    Raises:
        ValueError: lengths differ or are 0, or counts are impossible.
    """
    if not wide or len(wide) != len(narrow):
        raise ValueError(f"wide and narrow must pair up, got {len(wide)} and {len(narrow)} targets")
    if len(wide) == 1:
        return effective_tickets(*wide[0], *narrow[0], conf=conf)
    for good, seeds in (*wide, *narrow):
        wilson(good, seeds, conf)  # checks the counts
    generator = np.random.Generator(np.random.Philox(SEED))
    fail = np.stack([generator.beta(n - k + 0.5, k + 0.5, DRAWS) for k, n in wide])
    lose = np.stack([generator.beta(n - k + 0.5, k + 0.5, DRAWS) for k, n in narrow])
    draws = _solve(np.log(lose), fail.mean(axis=0))
    low, high = (float(q) for q in np.quantile(draws, ((1 - conf) / 2, (1 + conf) / 2)))
    failures = float(np.mean([1 - k / n for k, n in wide]))
    rates = np.array([k / n for k, n in narrow])
    with np.errstate(divide="ignore"):
        logs = np.log1p(-rates)[:, None]
    value = float(_solve(logs, np.array([failures]))[0])
    if failures == 0.0:
        value = math.nan if np.all(rates == 1.0) else math.inf
        high = math.inf
    if failures == 1.0:
        value, low = (math.nan if np.all(rates == 0.0) else 0.0), 0.0
    if not rates.any():
        high = math.inf
    return Interval(value, low, high)


def _solve(log_lose: Array, failure: Array) -> Array:
    """n with ``mean_t exp(n log_lose[t]) = failure``: ``[T, S]`` and ``[S]`` to ``[S]``.

    The logarithm of the mean is convex and falls with n: Newton's steps from the left never pass
    the root. They square the error, so one of 1e-9 is the last.
    """
    lost = np.isfinite(log_lose)  # a ticket that always wins leaves nothing after the first
    slope = np.where(lost, log_lose, 0.0)
    n = np.full(failure.shape, FEWEST_TICKETS)
    with np.errstate(divide="ignore", invalid="ignore"):
        goal = np.log(failure)
        for _ in range(100):
            powers = np.where(lost, np.exp(n * slope), 0.0)
            mean = powers.mean(axis=0)
            step = mean * (np.log(mean) - goal) / -(powers * slope).mean(axis=0)
            after = np.clip(n + step, FEWEST_TICKETS, MOST_TICKETS)
            after = np.where(np.isnan(after), n, after)
            settled = bool((np.abs(after - n) <= 1e-9 * n).all())
            n = after
            if settled:
                break
    unreachable = (np.exp(MOST_TICKETS * slope) * lost).mean(axis=0) > failure
    return np.where(unreachable, math.inf, n)


def _row(
    target: int,
    width: int,
    wide: list[tuple[int, int]],
    narrow: list[tuple[int, int] | None],
    r: int,
    conf: float,
) -> dict[str, float | int]:
    good, seeds = sum(k for k, _ in wide), sum(n for _, n in wide)
    rate = (
        wilson(good, seeds, conf)
        if len(wide) == 1
        else cluster_rate([k for k, _ in wide], [n for _, n in wide], conf)
    )
    row: dict[str, float | int] = {
        "target": target,
        "width": width,
        "targets": len(wide),
        "runs": seeds,
        "good": good,
        "rate": rate.value,
        "rate_low": rate.low,
        "rate_high": rate.high,
    }
    known = [pair for pair in narrow if pair is not None]
    complete = len(known) == len(narrow) and width >= r
    prices = [wilson(*pair, conf) for pair in known]
    row["p"] = float(np.mean([price.value for price in prices])) if complete else math.nan
    for name, rule in (("disjoint", disjoint_tickets), ("combinatorial", combinatorial_tickets)):
        found = Interval(math.nan, math.nan, math.nan)
        if complete:
            found = mean_of([
                Interval(*(rule(end, r, width) for end in (price.value, price.low, price.high)))
                for price in prices
            ])  # fmt: skip
        row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    if not complete:
        tickets = Interval(math.nan, math.nan, math.nan)
    elif width == r:
        tickets = Interval(1.0, 1.0, 1.0)  # by definition, not by measurement
    else:
        tickets = pooled_tickets(wide, known, conf)
    row["n_eff"], row["n_eff_low"], row["n_eff_high"] = tickets.value, tickets.low, tickets.high
    row["n_disjoint"] = float(width // r) if width >= r else math.nan
    row["n_windows"] = float(width - r + 1) if width >= r else math.nan
    row["n_combinatorial"] = float(math.comb(width, r)) if width >= r else math.nan
    return row
