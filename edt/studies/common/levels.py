"""How many different heights the bad minima of each width have."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.landscape.levels import loss_levels
from edt.landscape.outcome import OUTCOMES
from edt.stats import Interval, chao1, good_turing

#: The estimate where no run met a bad minimum.
NONE = Interval(0.0, 0.0, np.inf)


def pairs(runs: pd.DataFrame) -> list[tuple[int, int]]:
    """The (target, width) that occur, sorted."""
    found = zip(runs["target"].tolist(), runs["width"].tolist(), strict=True)
    return sorted({(int(target), int(width)) for target, width in found})


def label_levels(runs: pd.DataFrame) -> pd.Series:
    """Loss level of every bad minimum within its (target, width), lowest 0; -1 for other runs.

    Args:
        runs: columns ``target``, ``width``, ``loss`` and ``outcome``.

    Returns:
        int64 Series aligned with ``runs``.
    """
    level = pd.Series(-1, index=runs.index, dtype="int64", name="level")
    bad = runs[runs["outcome"] == "bad"]
    for target, width in pairs(bad):
        group = bad[(bad["target"] == target) & (bad["width"] == width)]
        level.loc[group.index] = loss_levels(group["loss"].to_numpy()).label
    return level


def level_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Distinct loss levels of bad minima per (target, width).

    Args:
        runs: columns ``target``, ``width``, ``outcome``, ``label``, ``loss`` and ``level``.

    Returns:
        One row per (target, width):

        - ``runs``; ``bad``, runs that ended in a certified bad minimum; ``flat``, those of them
          with zero eigenvalues (all explained by symmetries);
        - ``levels``, distinct losses among the bad (a lower bound on distinct minima: mirror
          images share a loss); ``once``, levels seen in one run only;
        - ``estimate``, of all levels, those no run has met included (`edt.stats.chao1`), with
          ``estimate_low`` and ``estimate_high``;
        - ``coverage``, the share of bad endings on levels met before (`edt.stats.good_turing`);
          ``lowest`` and ``highest`` level.
    """
    rows = []
    for target, width in pairs(runs):
        group = runs[(runs["target"] == target) & (runs["width"] == width)]
        bad = group[group["outcome"] == "bad"]
        counts = bad["level"].value_counts()
        total = chao1(counts.to_numpy(dtype=np.int64)).total if len(bad) else NONE
        rows.append(
            {
                "target": target,
                "width": width,
                "runs": len(group),
                "bad": len(bad),
                "flat": int(bad["label"].eq("flat minimum").sum()),
                "levels": len(counts),
                "once": int((counts == 1).sum()),
                "estimate": total.value,
                "estimate_low": total.low,
                "estimate_high": total.high,
                "coverage": good_turing(counts.to_numpy(dtype=np.int64)).value,
                "lowest": float(bad["loss"].min()) if len(bad) else np.nan,
                "highest": float(bad["loss"].max()) if len(bad) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def outcome_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Number of runs with each outcome, one row per width (all targets together).

    Args:
        runs: columns ``width`` and ``outcome``.

    Returns:
        ``width``, then one column for every name in `edt.landscape.OUTCOMES`.
    """
    counts = pd.crosstab(runs["width"], runs["outcome"]).reindex(
        columns=list(OUTCOMES), fill_value=0
    )
    counts.columns.name = None
    return counts.reset_index()
