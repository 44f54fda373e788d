"""Tables of the perturb-rest experiment, and what follows from them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.stats import cluster_rate, wilson

#: Columns of ``runs`` and their dtypes.
RUNS: dict[str, str] = {
    "group": "str",  # winning, random or losing
    "ticket": "int64",
    "target": "int64",
    "seed": "int64",  # of the student
    "size": "float64",
    "rest": "int64",
    "distance": "float64",  # |rest' - rest| / |rest|
    "train_loss": "float64",  # after Adam alone
    "loss": "float64",
    "steps": "int64",
    "win": "bool",
    "shift": "float64",  # of the ticket's neurons' end, NaN for tickets of weights
    "same": "float64",  # share of the ticket's neurons among those matched with the teacher
}
#: Columns of ``minimal``.
MINIMAL: dict[str, str] = {"ticket": "int64", "paths": "int64", "size": "float64"}
#: Columns of ``adversary``.
ADVERSARY: dict[str, str] = {
    "ticket": "int64",
    "radius": "float64",
    "method": "str",
    "distance": "float64",
    "loss": "float64",
    "win": "bool",
    "trials": "int64",
}


def win_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Win rate against the size of the change, for each group of tickets.

    Args:
        runs: columns ``group``, ``ticket``, ``target``, ``size``, ``win``, ``distance``, ``shift``,
            ``same``.
        conf: coverage of the intervals.

    Returns:
        One row per (group, size): ``tickets``; ``runs`` and ``wins``; ``rate`` with Wilson bounds
        ``rate_low`` and ``rate_high`` (runs as independent); ``spread_low`` and ``spread_high``,
        bounds over ``teachers``, of which tickets are no independent draws
        (`edt.stats.cluster_rate`; Wilson's for a single one);
        ``failing``, tickets that lost at least once; median ``distance``; over winning runs the
        median ``shift`` and mean ``same``.
    """
    rows = []
    for (group, size), part in runs.groupby(["group", "size"], sort=True):
        wins, count = int(part["win"].sum()), len(part)
        rate = wilson(wins, count, conf)
        rates = part.groupby("ticket")["win"].mean().to_numpy(dtype=np.float64)
        by = part.groupby("target")["win"].agg(["sum", "size"])
        spread = rate if len(by) == 1 else cluster_rate(by["sum"], by["size"], conf)
        won = part[part["win"]]
        rows.append(
            {
                "group": group,
                "size": size,
                "tickets": len(rates),
                "teachers": len(by),
                "runs": count,
                "wins": wins,
                "rate": rate.value,
                "rate_low": rate.low,
                "rate_high": rate.high,
                "spread_low": spread.low,
                "spread_high": spread.high,
                "failing": int((rates < 1.0).sum()),
                "distance": float(part["distance"].median()),
                "shift": float(won["shift"].median()) if len(won) else np.nan,
                "same": float(won["same"].mean()) if len(won) else np.nan,
            }
        )
    return pd.DataFrame(rows)
