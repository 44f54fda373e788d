"""Tables that follow from a census, recomputable from its runs alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

import pandas as pd

from edt.landscape.counting import critical_subspaces, minimum_subspaces
from edt.stats import chao1, cluster_rate, good_turing, wilson

#: Value of ``target`` in rows that stand for all targets together.
ALL = -1
#: Columns for ends that are no minima, and the outcomes counted in each.
NOT_MINIMA = {
    "channel": ("channel",), "saturated": ("saturated",), "drifting": ("drifting",),
    "saddle": ("saddle",), "undecided": ("unconverged", "diverged"),
}  # fmt: skip


def minimum_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Distinct minima.

    Args:
        runs: of a `Census`.

    Returns:
        One row a minimum: ``minimum``, ``target``, ``outcome``, ``loss`` (the lowest of its
        runs), ``core_width`` (the least of its runs; -1 if
        none is at the bottom), ``count`` of runs, ``narrowest`` and
        ``widest`` width it was met at, ``cores`` and ``functions`` under it (1 each, except for
        good minima and flat ones), ``representative`` (the run of least width, then loss).
    """
    rows = []
    for minimum, group in runs[runs["minimum"] >= 0].groupby("minimum", sort=True):
        first = group.sort_values(["width", "loss", "run"]).iloc[0]
        rows.append(
            {
                "minimum": int(str(minimum)),
                "target": int(first["target"]),
                "outcome": first["outcome"],
                "loss": float(group["loss"].min()),
                "core_width": _least(group["core_width"]),
                "count": len(group),
                "narrowest": int(group["width"].min()),
                "widest": int(group["width"].max()),
                "cores": int(group["core"].nunique()),
                "functions": int(group["function"].nunique()),
                "representative": int(first["run"]),
            }
        )
    columns = ["minimum", "target", "outcome", "loss", "core_width", "count", "narrowest",
               "widest", "cores", "functions", "representative"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _least(widths: pd.Series) -> int:
    """The least core width known (-1 is unknown)."""
    known = widths[widths >= 0]
    return int(known.min()) if len(known) else -1


def census_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Per target and width: shares, distinct minima, coverage and the estimate of unseen ones.

    Args:
        runs: of a `Census`.
        conf: coverage of all intervals.

    Returns:
        One row per (target, width), then one per width with ``target = -1`` for all targets:
        ``runs``, ``good``, ``bad``, ``open`` (neither: no minimum was reached), and of these
        ``channel``, ``saturated``, ``drifting``, ``saddle`` and ``undecided``; ``bad_share`` of all
        runs with Wilson bounds ``_low``, ``_high`` as if runs were independent, and bounds
        ``_spread_low``, ``_spread_high`` over the ``targets`` (`edt.stats.cluster_rate`; of a
        single target Wilson's); ``settled_share``,
        bad ones among good and bad; ``levels``, ``functions`` and ``distinct`` minima among the
        bad runs, ``irreducible`` of them with no neuron to spare at this width; ``once`` and
        ``twice``; ``coverage`` (Good-Turing) and ``chao1`` with bounds and ``chao1_sd``.
    """
    rows = [
        _row(int(str(target)), int(str(width)), group, conf)
        for (target, width), group in runs.groupby(["target", "width"], sort=True)
    ]
    if runs["target"].nunique() > 1:
        rows += [
            _row(ALL, int(str(width)), group, conf)
            for width, group in runs.groupby("width", sort=True)
        ]
    return pd.DataFrame(rows)


def basin_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """How large the basin of each minimum is, per width: its share of all starts.

    Args:
        runs: of a `Census`.
        conf: coverage of Wilson's intervals.

    Returns:
        One row per (target, width, minimum): ``outcome``, ``core_width`` (-1 unknown), ``loss``,
        ``count`` of ``runs`` and the ``share`` with ``share_low``, ``share_high``; largest first
        within a (target, width).
    """
    rows = []
    settled = runs[runs["minimum"] >= 0]
    for (target, width, minimum), group in settled.groupby(["target", "width", "minimum"]):
        total = int(((runs["target"] == target) & (runs["width"] == width)).sum())
        share = wilson(len(group), total, conf)
        rows.append(
            {
                "target": int(str(target)),
                "width": int(str(width)),
                "minimum": int(str(minimum)),
                "outcome": group["outcome"].iloc[0],
                "core_width": _least(group["core_width"]),
                "loss": float(group["loss"].min()),
                "count": len(group),
                "runs": total,
                "share": share.value,
                "share_low": share.low,
                "share_high": share.high,
            }
        )
    columns = ["target", "width", "minimum", "outcome", "core_width", "loss", "count", "runs",
               "share", "share_low", "share_high"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["target", "width", "count", "minimum"], ascending=[True, True, False, True],
        ignore_index=True,
    )  # fmt: skip


def dominance_table(
    r: int,
    widths: Iterable[int],
    irreducible: Mapping[int, int] | None = None,
    *,
    odd: bool = False,
) -> pd.DataFrame:
    """Which widths are dominated by global minima, by counting subspaces.

    At width m a solution of least width r gives ``T(r, m)`` affine subspaces of global minima, and
    an irreducible critical point of width q gives ``G(q, m)`` subspaces of critical points
    (`minimum_subspaces`, `critical_subspaces`). These are numbers of subspaces, one family per
    irreducible point; they are not volumes of basins and predict no success rate.

    Args:
        r: least width with loss 0.
        widths: m.
        irreducible: number of irreducible critical points of each width q; default one of every
            width below r.
        odd: count neurons and their mirror images apart, as odd activations have them
            (`edt.landscape.counting`); which width wins does not change much, the numbers do.

    Returns:
        One row a width: ``width``, ``log10_minima`` of T, ``log10_critical`` of the sum of G,
        ``minima_share`` T / (T + sum of G), and whether T is larger, ``dominated``. Logarithms of
        0 are -inf.

    Raises:
        ValueError: a width below 1.

    Example:
        >>> dominance_table(4, [4, 5, 6])["dominated"].tolist()
        [False, True, True]

    Reference: B. Simsek et al., ICML 2021, arXiv 2105.12221.
    """
    points = dict.fromkeys(range(1, r), 1) if irreducible is None else dict(irreducible)
    if any(q < 1 or count < 0 for q, count in points.items()):
        raise ValueError(f"irreducible must map widths >= 1 to counts >= 0, got {points}")
    rows = []
    for m in widths:
        good = minimum_subspaces(r, m, odd) if m >= r else 0
        bad = sum(count * critical_subspaces(q, m, odd) for q, count in points.items())
        rows.append(
            {
                "width": int(m),
                "log10_minima": math.log10(good) if good else -math.inf,
                "log10_critical": math.log10(bad) if bad else -math.inf,
                # Exact integers may be too large for a float; their ratio is not.
                "minima_share": float(Fraction(good, good + bad)) if good + bad else math.nan,
                "dominated": good > bad,
            }
        )
    return pd.DataFrame(rows)


def prediction_table(runs: pd.DataFrame, r: int, *, odd: bool = False) -> pd.DataFrame:
    """The count of subspaces next to the census that fed it.

    Args:
        runs: of a `Census`.
        r: least width with loss 0.
        odd: as in `dominance_table`.

    Returns:
        `dominance_table` with the census's own numbers of irreducible bad minima by core width
        (all targets together; irreducible saddles are not among them), and per width the measured
        ``bad_share``, ``runs`` and ``distinct`` bad minima.
    """
    bad = minimum_table(runs).query("outcome == 'bad' and core_width > 0")
    points = {int(str(q)): int(n) for q, n in bad["core_width"].value_counts().items()}
    found = dominance_table(r, sorted(int(m) for m in runs["width"].unique()), points, odd=odd)
    lost = runs.assign(lost=runs["outcome"].eq("bad")).groupby("width")["lost"]
    minima = runs[runs["outcome"] == "bad"].groupby("width")["minimum"].nunique()
    found["bad_share"] = found["width"].map(lost.mean())
    found["runs"] = found["width"].map(lost.size())
    found["distinct"] = found["width"].map(minima).fillna(0).astype(int)
    return found


def _row(target: int, width: int, group: pd.DataFrame, conf: float) -> dict[str, float | int]:
    bad = group[group["outcome"] == "bad"]
    good = int((group["outcome"] == "good").sum())
    share = wilson(len(bad), len(group), conf)
    lost = group["outcome"].eq("bad").astype(float)
    by = lost.groupby(group["target"]).agg(["sum", "size"]).to_numpy(dtype=float)
    spread = share if len(by) == 1 else cluster_rate(by[:, 0], by[:, 1], conf)
    counts = bad["minimum"].value_counts().to_numpy()
    coverage, richness = good_turing(counts, conf), chao1(counts, conf)
    spare = bad[["duplicates", "dead", "constant", "cancelled"]].sum(axis=1)
    return {
        "target": target,
        "width": width,
        "targets": len(by),
        "runs": len(group),
        "good": good,
        "bad": len(bad),
        "open": len(group) - good - len(bad),
        **{name: int(group["outcome"].isin(words).sum()) for name, words in NOT_MINIMA.items()},
        "bad_share": share.value,
        "bad_share_low": share.low,
        "bad_share_high": share.high,
        "bad_share_spread_low": spread.low,
        "bad_share_spread_high": spread.high,
        "settled_share": len(bad) / (good + len(bad)) if good + len(bad) else math.nan,
        "levels": int(bad["level"].nunique()),
        "functions": int(bad["function"].nunique()),
        "distinct": int(counts.size),
        "irreducible": int(bad.loc[spare == 0, "minimum"].nunique()),
        "once": int((counts == 1).sum()),
        "twice": int((counts == 2).sum()),
        "coverage": coverage.value,
        "coverage_low": coverage.low,
        "coverage_high": coverage.high,
        "chao1": richness.total.value,
        "chao1_low": richness.total.low,
        "chao1_high": richness.total.high,
        "chao1_sd": math.sqrt(richness.variance),
    }
