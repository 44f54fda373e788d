"""The share of failures that keeping a winning ticket prevents, and what it says of claim a."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from edt.show.answer import rate_tile
from edt.show.words import percent, points, span
from edt.stats import Interval
from edt.stats.interval import student_reach
from edt.studies.common.findings import Finding

__all__ = ["ALWAYS", "prevented_finding", "prevented_share"]

#: A ticket that always wins has a rate whose interval ends above this.
ALWAYS = 0.99
#: Most failures: more than this share.
MOST = 0.5


def prevented_share(
    tickets: pd.Series, others: pd.Series, runs: int, conf: float = 0.95
) -> Interval:
    """Share of the failures of what stands in a ticket's place that the ticket prevents.

    ``1 - sum_t f_t / sum_t g_t`` with failure rates f of tickets and g of the others, cluster by
    cluster (teacher, network) in the same rests: 0 if the ticket does nothing, 1 if it never
    fails, below 0 if it fails more often. The interval is Fieller's: all shares s for which
    Student's interval over clusters of ``f - (1 - s) g`` holds 0, with one run more in each
    rate. So it holds s = 0 just where that of ``g - f`` holds 0.

    Args:
        tickets, others: ``[k]``, win rates of every cluster.
        runs: the fewest behind one of them.
        conf: coverage.

    Returns:
        `Interval` up to 1; below, -inf where the others' failures cannot be told from none. NaN
        where nothing fails; bounds NaN for a single cluster.

    Example:
        >>> str(prevented_share(pd.Series([0.9, 0.8, 0.9]), pd.Series([0.5, 0.4, 0.6]), 200))
        '0.733 [0.581, 1]'

    Reference: E. C. Fieller, JRSS B 16 (1954) 175.
    """
    failed, base = 1.0 - tickets.to_numpy(), 1.0 - others.to_numpy()
    k = len(base)
    if not base.sum() > 0.0:
        return Interval(np.nan, np.nan, np.nan)
    value = 1.0 - float(failed.sum() / base.sum())
    if k < 2:
        return Interval(value, np.nan, np.nan)
    reach = student_reach(conf, k - 1) ** 2
    spread = reach * (np.cov(failed, base) / k + np.eye(2) / ((k - 1) * runs**2))
    f, g = float(failed.mean()), float(base.mean())
    # Ratios r = 1 - s with (f - r g)^2 <= t^2 var(f - r g): a r^2 - 2 b r + c <= 0.
    a, b, c = g * g - spread[1, 1], f * g - spread[0, 1], f * f - spread[0, 0]
    root = np.sqrt(max(0.0, b * b - a * c))
    if a > 0.0:
        least, most = (b - root) / a, (b + root) / a
    else:  # what is large enough is never excluded
        least, most = (0.0 if c <= 0.0 else c / (b + root) if b + root > 0.0 else 0.0), np.inf
    return Interval(value, 1.0 - most, 1.0 - max(0.0, least))


def prevented_finding(row: Mapping[str, Any], others: str) -> Finding | None:
    """What the share says of claim a, that winning tickets fail when the rest is changed.

    A rate says nothing without what stands elsewhere in the same rests. For the claim: keeping a
    ticket prevents less than half (`MOST`) of the failures of what else stands in its place, by
    the interval of that share. Against it: it prevents more. Silent otherwise, and says whether
    it prevents any: a narrower interval around the same share must never turn the verdict round.

    Args:
        row: ``prevented`` and ``ahead`` with bounds.
        others: what stands in the ticket's place, in words.

    Returns:
        None where nothing fails, or one cluster alone was seen.
    """
    share = row["prevented"], row["prevented_low"], row["prevented_high"]
    if share[1] != share[1]:
        return None
    text = (
        f"Keeping a winning ticket through the change prevents {percent(share[0])} of the "
        f"failures of {others} in the same rests ({span(*share[1:])}; "
        f"{points(row['ahead'], row['ahead_low'], row['ahead_high'])} of wins)"
    )
    if share[2] < MOST:
        speaks, end = "for", ": most of them are not."
    elif share[1] > MOST:
        speaks, end = "against", ": most of them are."
    elif share[1] > 0.0:
        speaks, end = "silent", ": some of them for certain, and it is open whether most."
    else:
        speaks, end = "silent", ": neither none nor most is excluded."
    tile = rate_tile(*share, f"of the failures of {others} are prevented by the ticket")
    return Finding("a", speaks, text + end, tile)
