"""How many different heights the bad minima of each width have."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.landscape.levels import loss_levels


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
        runs: columns ``target``, ``width``, ``outcome``, ``loss`` and ``level``.

    Returns:
        One row per (target, width): ``runs``; ``bad``, runs that ended in a bad minimum;
        ``levels``, distinct losses among them (a lower bound on distinct minima: mirror images
        share a loss); ``once``, levels seen in one run only; ``unseen``, Chao's estimate of the
        levels no run has met, ``f1 (f1 - 1) / (2 (f2 + 1))`` with f1 levels met once and f2 twice
        (bias-corrected; itself a lower bound); ``coverage``, Good and Turing's ``1 - f1 / bad``,
        the share of bad endings that falls on levels already met; ``lowest`` and ``highest``.

    Reference: A. Chao, Scand. J. Statist. 11 (1984) 265; I. J. Good, Biometrika 40 (1953) 237.
    """
    rows = []
    for target, width in pairs(runs):
        group = runs[(runs["target"] == target) & (runs["width"] == width)]
        bad = group[group["outcome"] == "bad"]
        counts = bad["level"].value_counts()
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        rows.append(
            {
                "target": target,
                "width": width,
                "runs": len(group),
                "bad": len(bad),
                "levels": len(counts),
                "once": once,
                "unseen": once * (once - 1) / (2 * (twice + 1)),
                "coverage": 1 - once / len(bad) if len(bad) else np.nan,
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
    from edt.landscape.outcome import OUTCOMES

    counts = pd.crosstab(runs["width"], runs["outcome"]).reindex(
        columns=list(OUTCOMES), fill_value=0
    )
    counts.columns.name = None
    return counts.reset_index()
