"""Which law of width fits a sweep: lotteries, escape dimensions, or plain regression."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from edt.studies.common.success_table import ALL
from edt.success import Comparison, Counts, compare, shared_tickets

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
    opened = opened_per_neuron(splits[splits["target"] == target])
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


def ticket_table(success: pd.DataFrame, r: int) -> pd.DataFrame:
    """Is one effective number of tickets enough for all targets? Width by width.

    Args:
        success: from `edt.studies.success_table`.
        r: reference width.

    Returns:
        One row per width above r that all targets have: ``targets``, the ``shared`` number, the
        ``least`` and ``most`` of the targets' own, and the likelihood ratio test of
        `edt.success.shared_tickets`: ``statistic``, ``dof``, ``p``.
    """
    subset = success[success["target"] != ALL]
    narrow = subset[subset["width"] == r].set_index("target")[["good", "runs"]]
    rows = []
    for width, part in subset[subset["width"] > r].groupby("width"):
        part = part.set_index("target")
        if len(narrow) < 2 or set(part.index) != set(narrow.index):
            continue
        pairs = [[(int(k), int(n)) for k, n in table.loc[narrow.index, ["good", "runs"]].to_numpy()]
                 for table in (part, narrow)]  # fmt: skip
        found = shared_tickets(*pairs)
        rows.append(
            {"width": int(str(width)), "targets": found.dof + 1, "shared": found.value,
             "least": float(part["n_eff"].min()), "most": float(part["n_eff"].max()),
             "statistic": found.statistic, "dof": found.dof, "p": found.p}
        )  # fmt: skip
    names = ["width", "targets", "shared", "least", "most", "statistic", "dof", "p"]
    return pd.DataFrame(rows, columns=names)


def collinearity(counts: Counts) -> float:
    """Correlation of E(m) and m within targets, from deviations from each target's means.

    Near 1 the law of escape dimensions and the geometric law differ only by what the targets'
    numbers of escape dimensions per neuron differ; NaN without the covariate.
    """
    if ESCAPE not in counts.covariates:
        return math.nan
    x, y = counts.covariates[ESCAPE].copy(), counts.width.astype(np.float64)
    for group in np.unique(counts.group):
        cell = counts.group == group
        x[cell] -= x[cell].mean()
        y[cell] -= y[cell].mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size > 0.0 else math.nan


def compare_models(
    success: pd.DataFrame, splits: pd.DataFrame, r: int, draws: int = 0
) -> Comparison | None:
    """`edt.success.compare` on `model_counts`; None where there is nothing to compare."""
    counts = model_counts(success, splits, r)
    return None if counts is None else compare(counts, draws=draws)
