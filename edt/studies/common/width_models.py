"""Which law of width fits a sweep: lotteries, escape dimensions, or plain regression."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from edt.studies.common.success_table import ALL
from edt.success import Comparison, Counts, compare

#: Columns of a comparison's cells beside the counts.
ESCAPE = "escape"


def opened_per_neuron(splits: pd.DataFrame) -> pd.DataFrame:
    """Escape dimensions that one more neuron opens at the bad minima of each (target, width).

    The mean number of negative eigenvalues after splitting a neuron with shares inside (0, 1):
    over neurons evenly, over loss levels by the number of runs that ended there.

    Args:
        splits: table of `edt.studies.width_sweep`.

    Returns:
        ``target``, ``width``, ``opened``; no row where nothing was split.
    """
    inside = splits[splits["inside"]]
    rows = []
    for target, width in sorted(
        set(zip(inside["target"].tolist(), inside["width"].tolist(), strict=True))
    ):
        group = inside[(inside["target"] == target) & (inside["width"] == width)]
        levels = group.groupby("level").agg(index=("n_neg", "mean"), runs=("level_runs", "first"))
        opened = float(np.average(levels["index"], weights=levels["runs"]))
        rows.append({"target": int(target), "width": int(width), "opened": opened})
    return pd.DataFrame(rows, columns=["target", "width", "opened"])


def escape_dimensions(splits: pd.DataFrame, target: int, widths: list[int], r: int) -> list[float]:
    """E(m): escape dimensions opened on the way from width r to m, neuron by neuron.

    ``E(m) = sum_{w=r}^{m-1} e(w)``, e(w) from `opened_per_neuron`. Where no minimum of width w
    was split, the nearest width that was stands in (bad minima of wide networks are rare).

    Args:
        splits: table of a width sweep.
        target: which.
        widths: m.
        r: where counting begins.

    Returns:
        One number a width, 0 at r; NaN below r, and everywhere without any split.
    """
    opened = opened_per_neuron(splits)
    opened = opened[opened["target"] == target]
    known = dict(zip(opened["width"].tolist(), opened["opened"].tolist(), strict=True))
    if not known:
        return [math.nan] * len(widths)
    steps = [known[_nearest(known, w)] for w in range(r, max(widths))]
    total = np.concatenate([[0.0], np.cumsum(steps)])
    return [float(total[m - r]) if m >= r else math.nan for m in widths]


def _nearest(widths: Iterable[int], w: int) -> int:
    """The narrower one where two are equally near."""
    return min(widths, key=lambda width: (abs(width - w), width))


def model_counts(success: pd.DataFrame, splits: pd.DataFrame, r: int) -> Counts | None:
    """The counts that models are fitted to: every (target, width) with width at least r.

    Args:
        success: from `edt.studies.success_table`.
        splits: table of the sweep.
        r: reference width.

    Returns:
        `Counts` with the covariate "escape" where every target has minima that were split; None
        where fewer than two widths are at least r.
    """
    table = success[(success["target"] != ALL) & (success["width"] >= r)].copy()
    if table["width"].nunique() < 2:
        return None
    table[ESCAPE] = math.nan
    for target in table["target"].unique():
        where = table["target"] == target
        widths = [int(width) for width in table.loc[where, "width"]]
        table.loc[where, ESCAPE] = escape_dimensions(splits, int(target), widths, r)
    return Counts.of(table, r, covariates=() if table[ESCAPE].isna().any() else (ESCAPE,))


def compare_models(
    success: pd.DataFrame, splits: pd.DataFrame, r: int, draws: int = 0
) -> Comparison | None:
    """`edt.success.compare` on `model_counts`; None where there is nothing to compare."""
    counts = model_counts(success, splits, r)
    return None if counts is None else compare(counts, draws=draws)
