"""How much of a success rate is the threshold's, and how much the second optimiser's.

A run is good at or below a loss that somebody chose, and it was helped to get there: first-order
training is followed by second-order rounds. A rate that holds up means the same at thresholds
decades away, and after the first phase alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from edt.show.words import count, percent, points
from edt.stats import cluster_rate, wilson

__all__ = [
    "FACTORS",
    "HEADING",
    "HEADING_ACCURACY",
    "SHIFTS",
    "accuracy_table",
    "accuracy_text",
    "beside_the_best",
    "threshold_table",
    "threshold_text",
]

#: What the table is called on pages.
HEADING = "Success at other thresholds, and by the first optimiser alone"

#: What `accuracy_table` is called on pages.
HEADING_ACCURACY = "Wins at other accuracies"
#: Thresholds looked at, in units of the study's own. None is below it: runs that are good at the
#: study's threshold are let go there, and how far they would have come is not known.
FACTORS = (1.0, 10.0, 100.0, 1e3, 1e4)
#: Accuracies looked at, apart from the study's own.
SHIFTS = (-0.1, -0.05, -0.02, 0.0, 0.02, 0.05)


def threshold_table(
    runs: pd.DataFrame,
    by: Sequence[str] = ("width",),
    factors: Sequence[float] = FACTORS,
    conf: float = 0.95,
) -> pd.DataFrame:
    """Success at looser thresholds, and after the first-order phase alone.

    Args:
        runs: one row a run: ``target``, ``loss``, ``threshold``, the columns of ``by``, and where
            the first phase was recorded, ``train_loss``.
        by: columns that make a row of the table.
        factors: at least 1, multiples of the threshold.
        conf: coverage; over targets (`edt.stats.cluster_rate`), of a single one Wilson's.

    Returns:
        One row per (by, factor): ``targets``, ``runs``, ``rate`` with ``_low`` and ``_high``, and
        ``first``, the same of the first phase alone, with bounds (NaN where it was not recorded).

    Raises:
        ValueError: a factor below 1.
    """
    if any(not factor >= 1.0 for factor in factors):
        raise ValueError(f"factors must be at least 1, got {list(factors)}")
    rows = []
    for key, part in runs.groupby(list(by), sort=True):
        for factor in factors:
            limit = factor * part["threshold"]
            row: dict[str, Any] = dict(zip(by, key, strict=True))
            row |= {"factor": factor, "targets": part["target"].nunique(), "runs": len(part)}
            row |= _rate("rate", part["loss"] <= limit, part["target"], conf)
            first = part["train_loss"] <= limit if "train_loss" in part else None
            row |= _rate("first", first, part["target"], conf)
            rows.append(row)
    return pd.DataFrame(rows)


def _rate(name: str, won: pd.Series | None, target: pd.Series, conf: float) -> dict[str, float]:
    if won is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    by = won.groupby(target).agg(["sum", "size"])
    found = (
        wilson(int(by["sum"].iloc[0]), int(by["size"].iloc[0]), conf)
        if len(by) == 1
        else cluster_rate(by["sum"], by["size"], conf)
    )
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def threshold_text(table: pd.DataFrame) -> str:
    """What the table says, in a sentence or two."""
    subset = table[table["factor"] == table["factor"].min()].reset_index(drop=True)
    loose = table[table["factor"] == table["factor"].max()].reset_index(drop=True)
    gain = float((loose["rate"] - subset["rate"]).max())
    factor = f"{float(loose['factor'].iloc[0]):,.0f}"
    text = (
        f"At a threshold {factor} times as high no rate rises"
        + (f" by more than {points(gain)[1:]}." if gain > 0.0 else ".")
        if gain < 0.05
        else f"The threshold matters: at one {factor} times as high a rate rises by up to "
        f"{100 * gain:.0f} points."
    )
    known = subset[subset["first"].notna()]
    if len(known):
        lost = known["rate"] - known["first"]
        place = int(lost.to_numpy().argmax())
        text += (
            f" First-order training alone reaches the threshold less often, by up to "
            f"{100 * lost.max():.0f} points ({percent(known['first'].iloc[place])} beside "
            f"{percent(known['rate'].iloc[place])})."
            if lost.max() >= 0.005
            else " First-order training alone gives the same rates."
        )
    several = int(subset["targets"].max())
    return text + (f" Intervals are over {count(several, 'target')}." if several > 1 else "")


def beside_the_best(runs: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Wide networks, and the best ticket of each, one row each: for `threshold_table`.

    Args:
        runs: one row a wide network: ``together_loss``, ``alone_loss`` (the least of its tickets),
            and the same after the first-order phase, ``together_first`` and ``alone_first``.
        threshold: good at or below.

    Returns:
        ``target``, ``width``, ``who`` ("network" or "best ticket"), ``loss``, ``train_loss``,
        ``threshold``.
    """
    return pd.concat(
        [
            runs[["target", "width"]].assign(
                who=who, loss=runs[f"{name}_loss"], train_loss=runs[f"{name}_first"],
                threshold=threshold,
            )
            for name, who in (("together", "network"), ("alone", "best ticket"))
        ],
        ignore_index=True,
    )  # fmt: skip


def accuracy_table(
    runs: pd.DataFrame,
    level: float,
    by: Sequence[str],
    cluster: str = "seed",
    shifts: Sequence[float] = SHIFTS,
    conf: float = 0.95,
) -> pd.DataFrame:
    """Wins at other accuracies than the study's own, where a win is an accuracy.

    Args:
        runs: one row a run: ``accuracy``, the columns of ``by`` and ``cluster``.
        level: accuracy from which on a network wins.
        by: columns that make a row of the table.
        cluster: whose values are the unit of the intervals.
        shifts: accuracies looked at, minus the level.
        conf: coverage (`edt.stats.cluster_rate`; of a single cluster Wilson's).

    Returns:
        One row per (by, shift): ``accuracy_from``, ``clusters``, ``runs``, ``rate`` with bounds.
    """
    rows = []
    for key, part in runs.groupby(list(by), sort=True):
        for shift in shifts:
            row: dict[str, Any] = dict(zip(by, key, strict=True))
            row |= {
                "accuracy_from": level + shift, "clusters": part[cluster].nunique(),
                "runs": len(part),
            }  # fmt: skip
            # Accuracies are shares of whole samples: a level is met in spite of rounding.
            won = part["accuracy"] >= level + shift - 1e-12
            rows.append(row | _rate("rate", won, part[cluster], conf))
    return pd.DataFrame(rows)


def accuracy_text(table: pd.DataFrame, level: float, by: Sequence[str]) -> str:
    """What the table says: how far the level moves rates, and whether it changes their order."""
    wide = table.pivot_table(index=list(by), columns="accuracy_from", values="rate")
    subset = wide.columns[int(np.argmin(np.abs(wide.columns.to_numpy(dtype=float) - level)))]
    gain = float((wide[wide.columns.min()] - wide[subset]).max())
    lost = float((wide[subset] - wide[wide.columns.max()]).max())
    low, high = (100 * abs(float(end) - level) for end in (wide.columns.min(), wide.columns.max()))
    return (
        f"At an accuracy {low:.0f} points lower rates rise by up to {100 * gain:.0f} points, at "
        f"one {high:.0f} points higher they fall by up to {100 * lost:.0f}. Training is "
        "first-order throughout."
    )
