"""Outcomes against width in several settings, and whether they change from the narrowest to the
widest network: what the studies of depth, targets and optimisers share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from edt.show.answer import points_tile
from edt.show.axes import percent_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import line
from edt.show.panel import Panel
from edt.show.words import count, percent, points
from edt.stats import Interval, cluster_rate, ratio_interval, wilson
from edt.studies.common.findings import Finding

__all__ = ["contrast_table", "findings", "mean_gap", "outcome_panels", "outcome_rates"]

#: Outcomes with a rate of their own; the others are one less these.
SHOWN = ("good", "bad", "channel")
#: Colours, markers and dashes of settings.
STYLES = (
    ("blue", "o", "solid"), ("orange", "^", "dash"), ("green", "s", "dot"),
    ("purple", "D", "dashdot"), ("red", "v", "longdash"), ("sky", "P", "longdashdot"),
)  # fmt: skip


def outcome_rates(runs: pd.DataFrame, by: str, conf: float = 0.95) -> pd.DataFrame:
    """Rates of outcomes per setting and width.

    Args:
        runs: ``target``, ``width``, ``outcome``, ``parameters`` and the column ``by``.
        by: what tells the settings apart.
        conf: coverage; over targets (`edt.stats.cluster_rate`), of a single one Wilson's.

    Returns:
        One row per (by, width): ``targets``, ``runs``, ``parameters`` (mean), and for each of
        `SHOWN` the rate with ``_low`` and ``_high``.
    """
    found = []
    for (setting, width), part in runs.groupby([by, "width"], sort=False):
        row = {
            by: setting, "width": int(str(width)), "targets": int(part["target"].nunique()),
            "runs": len(part), "parameters": float(part["parameters"].mean()),
        }  # fmt: skip
        for name in SHOWN:
            counts = part["outcome"].eq(name).groupby(part["target"]).agg(["sum", "size"])
            rate = (
                wilson(int(counts["sum"].iloc[0]), int(counts["size"].iloc[0]), conf)
                if len(counts) == 1
                else cluster_rate(counts["sum"], counts["size"], conf)
            )
            row |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
        found.append(row)
    return pd.DataFrame(found)


def contrast_table(runs: pd.DataFrame, by: str, conf: float = 0.95) -> pd.DataFrame:
    """How outcomes change from the narrowest to the widest network, per setting.

    Args:
        runs, by: as in `outcome_rates`.
        conf: coverage of Student's interval of the targets' differences; of one target the bounds
            are those of independent rates (R. Newcombe, Statist. Med. 17 (1998) 873).

    Returns:
        One row per setting: ``targets``, widths ``narrow`` and ``wide``, and for "bad" and "good"
        the rates ``_narrow`` and ``_wide`` and their difference ``_change`` with bounds.
    """
    found = []
    for setting, part in runs.groupby(by, sort=False):
        narrow, wide = int(part["width"].min()), int(part["width"].max())
        row: dict[str, object] = {
            by: setting, "targets": int(part["target"].nunique()), "narrow": narrow, "wide": wide,
        }  # fmt: skip
        for name in ("bad", "good"):
            ends = [
                part[part["width"] == width]["outcome"].eq(name)
                .groupby(part["target"]).agg(["sum", "size"])
                for width in (narrow, wide)
            ]  # fmt: skip
            change = _change(ends[0], ends[1], conf)
            first, last = (float(end["sum"].sum() / end["size"].sum()) for end in ends)
            row |= {
                f"{name}_narrow": first, f"{name}_wide": last, f"{name}_change": change.value,
                f"{name}_change_low": change.low, f"{name}_change_high": change.high,
            }  # fmt: skip
        found.append(row)
    return pd.DataFrame(found)


def _change(narrow: pd.DataFrame, wide: pd.DataFrame, conf: float) -> Interval:
    rates = [end["sum"] / end["size"] for end in (narrow, wide)]
    gap = (rates[1] - rates[0]).to_numpy(dtype=np.float64)
    if len(gap) > 1:
        return mean_gap(gap, int(min(narrow["size"].min(), wide["size"].min())), conf)
    one, two = (wilson(int(end["sum"].iloc[0]), int(end["size"].iloc[0]), conf)
                for end in (narrow, wide))  # fmt: skip
    value = two.value - one.value
    down = np.hypot(two.value - two.low, one.high - one.value)
    up = np.hypot(two.high - two.value, one.value - one.low)
    return Interval(value, float(value - down), float(value + up))


def mean_gap(gaps: npt.ArrayLike, runs: int, conf: float = 0.95) -> Interval:
    """Student's interval of the mean over clusters of a difference of rates, within [-1, 1].

    Clusters that agree to the last run are no proof that all do: one run more counts in each.

    Args:
        gaps: ``[k]``, difference of two rates of each cluster.
        runs: the fewest behind one of the rates.
        conf: coverage.

    Returns:
        `Interval`; bounds NaN for a single cluster.

    Example:
        >>> str(mean_gap([0.0, 0.0, 0.0], 20))
        '0 [-0.152, 0.152]'
    """
    each = np.asarray(gaps, dtype=np.float64)
    found = ratio_interval(each, np.ones(len(each)), conf, unit=np.sqrt(len(each)) / runs)
    return Interval(found.value, max(found.low, -1.0), min(found.high, 1.0))


def findings(table: pd.DataFrame, by: str, words: Mapping[str, str]) -> list[Finding]:
    """What a table of contrasts says of claim d, that bad minima become rare with width.

    For it in a setting where the change of their rate is below 0 by its interval, against it where
    it is above; silent where the interval holds 0.

    Args:
        table: from `contrast_table`.
        by: what tells the settings apart.
        words: what each is called, after "With".
    """
    found = []
    for row in table[table["narrow"] < table["wide"]].to_dict("records"):
        targets = int(row["targets"])
        over = f"over {count(targets, 'target')}" if targets > 1 else "on one target"
        change = row["bad_change"], row["bad_change_low"], row["bad_change_high"]
        text = (
            f"With {words[str(row[by])]}, certified bad minima are {percent(row['bad_narrow'])} of "
            f"the runs at width {row['narrow']} and {percent(row['bad_wide'])} at width "
            f"{row['wide']}: {points(*change)}, {over}"
        )
        effect = points_tile(
            *change,
            f"of bad minima with {words[str(row[by])]}, from width {row['narrow']} to "
            f"{row['wide']}",
        )
        if row["bad_change_high"] < 0.0:
            found.append(Finding("d", "for", text + ".", effect))
        elif row["bad_change_low"] > 0.0:
            found.append(Finding("d", "against", text + ".", effect))
        else:
            found.append(Finding("d", "silent", text + ": no change that shows.", effect))
    return found


def outcome_panels(
    table: pd.DataFrame, by: str, words: Mapping[str, str], kinds: Sequence[str] = ("good", "bad")
) -> list[Panel]:
    """Rates of outcomes against width, a line a setting.

    Args:
        table: from `outcome_rates`.
        by, words: as in `findings`.
        kinds: a panel each.
    """
    titles = {
        "good": "Runs that are good", "bad": "Certified bad minima",
        "channel": "Channels to infinity",
    }  # fmt: skip
    widths = sorted({int(width) for width in table["width"]})
    settings = list(dict.fromkeys(table[by].astype(str)))
    found = []
    for kind in kinds:
        traces = []
        for k, setting in enumerate(settings):
            subset = table[table[by].astype(str) == setting]
            colour, marker, dash = STYLES[k % len(STYLES)]
            hover = [
                lines(
                    f"width {row['width']}, {words[setting]}",
                    share(row[kind], row[f"{kind}_low"], row[f"{kind}_high"]),
                    f"{row['runs']:,} runs, {row['targets']} targets",
                )
                for row in rows(subset)
            ]
            traces.append(
                line(subset["width"], subset[kind], words[setting],
                     f"@{colour}", hover, low=subset[f"{kind}_low"], high=subset[f"{kind}_high"],
                     marker=marker, dash=dash)
            )  # fmt: skip
        found.append(
            Panel(titles[kind], traces, width_axis(widths), percent_axis("share of runs (95%)"))
        )
    return found
