"""Tables of the loss-level experiment, from its runs only."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.landscape.labels import CERTIFIED
from edt.landscape.levels import loss_levels
from edt.stats import wilson
from edt.training.channels import CLOSE

__all__ = [
    "CHANNEL_GAP",
    "ENDS",
    "GROWTH",
    "REPORTED_PLATEAUS",
    "label_ends",
    "label_levels",
    "loss_level_table",
    "relabelled",
    "uncertified_ends",
]

#: Every kind of end: plateau saddles, and labels of `edt.certify`, flat minima among the minima.
ENDS = ("minimum", "plateau", "channel", "saturated", "drifting", "saddle", "undecided")
#: Kinds of ends without certificates; "infinity": parameters grow without bound, but no pair of
#: neurons makes a channel; "open": no verdict within the budget.
UNCERTIFIED_ENDS = ("minimum", "plateau", "channel", "infinity", "saddle", "open")
#: Labels of ends whose copies make a plateau: at finite weights, or where the narrower end is none.
PLATEAUS = (*CERTIFIED, "channel", "saturated")
#: A run without a verdict whose parameters grow by more than this after the flow is on its way to
#: infinity: Newton's steps along a flat direction are long.
GROWTH = 1.5
#: Relative difference within which two losses are at one height although one is in a channel.
SAME_HEIGHT = 1e-4
#: Runs in one channel stop at different places of it: their losses agree to about this share.
CHANNEL_GAP = 1e-3
#: Share of runs that reach plateau saddles by bias setting, as reported for figure 2 of arXiv
#: 2506.14951 (lowest and highest over widths).
REPORTED_PLATEAUS: dict[bool, tuple[float, float]] = {False: (0.10, 0.30), True: (0.0, 0.0)}


def label_ends(runs: pd.DataFrame) -> pd.Series:
    """What kind of end each run has, one of `ENDS`, by its certificate.

    Args:
        runs: columns ``label``, ``index`` and ``duplicates``.

    Returns:
        Series of words aligned with ``runs``.
    """
    copies = (runs["duplicates"] > 0) & (runs["index"] == 0) & runs["label"].isin(PLATEAUS)
    words = runs["label"].replace("flat minimum", "minimum").mask(copies, "plateau")
    return words.rename("end").astype(str)


def uncertified_ends(runs: pd.DataFrame) -> pd.Series:
    """What kind of end each run would have without a certificate, one of `UNCERTIFIED_ENDS`.

    Args:
        runs: columns ``status``, ``verdict``, ``index``, ``n_flat``, ``closeness``,
            ``duplicates``, ``flow_norm`` and ``norm``, as `edt.converge` left them.

    Returns:
        Series of words aligned with ``runs``.
    """
    critical = (runs["status"] == "converged").to_numpy()
    index = runs["index"].to_numpy()
    # Towards infinity the gradient may fall to the tolerance long before the end.
    onward = ~critical | (runs["n_flat"] > 0).to_numpy()
    growing = (runs["norm"] > GROWTH * runs["flow_norm"]).to_numpy()
    words = np.select(
        [
            (runs["duplicates"] > 0).to_numpy() & (index == 0),
            critical & (runs["verdict"] == "saddle").to_numpy(),
            onward & (runs["closeness"] <= CLOSE).to_numpy(),
            onward & growing & (index == 0),
            critical,
        ],
        ["plateau", "saddle", "channel", "infinity", "minimum"],
        "open",
    )
    return pd.Series(words, index=runs.index, name="uncertified").astype(str)


def label_levels(runs: pd.DataFrame) -> pd.Series:
    """Loss level of every minimum within its (bias, width); -1 for other ends.

    Args:
        runs: columns ``bias``, ``width``, ``loss`` and ``end``.

    Returns:
        int64 Series aligned with ``runs``; 0 is the lowest level.
    """
    level = pd.Series(-1, index=runs.index, dtype="int64", name="level")
    reached = runs[runs["end"] == "minimum"]
    for _, group in reached.groupby(["bias", "width"]):
        level.loc[group.index] = loss_levels(group["loss"].to_numpy()).label
    return level


def loss_level_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Ends and levels of every bias setting and width.

    Args:
        runs: table ``runs``.
        conf: coverage of Wilson's intervals.

    Returns:
        One row per (bias, width), and one per bias setting with ``width`` 0 for all widths above
        1 together (a single neuron has no twin). ``runs``; the number of each kind of end;
        ``rate`` of plateau saddles with ``rate_low`` and ``rate_high``; ``finite``, plateau saddles
        at finite weights (the others are in the channel of a narrower network); ``known``, those
        at the height (to `SAME_HEIGHT`) of an end met at the width of their core; ``levels``,
        distinct losses of minima, ``channel_levels`` likewise of channels (coarser, see
        `CHANNEL_GAP`); ``lowest`` and ``highest`` loss; ``reported_low`` and ``reported_high``,
        see `REPORTED_PLATEAUS`; ``moved``, runs whose loss fell by more than a thousandth of the
        target's variance after the flow.
    """
    rows = []
    for bias, half in runs.groupby("bias"):
        groups = [(int(str(width)), group) for width, group in half.groupby("width")]
        wide = half[half["width"] > 1]
        if len(wide):
            groups.append((0, wide))
        for width, group in groups:
            rows.append(_row(bool(bias), width, group, half, conf))
    return pd.DataFrame(rows)


def relabelled(runs: pd.DataFrame) -> pd.DataFrame:
    """Kinds of ends without certificates beside those with them.

    Args:
        runs: columns ``uncertified`` and ``end``.

    Returns:
        One row per kind of `UNCERTIFIED_ENDS` that occurs, ``uncertified``; ``runs``; ``kept``,
        those with the same word; how many are of each kind of `ENDS`.
    """
    rows = []
    for word in UNCERTIFIED_ENDS:
        subset = runs[runs["uncertified"] == word]["end"]
        if len(subset):
            counts = {end: int((subset == end).sum()) for end in ENDS}
            rows.append(
                {"uncertified": word, "runs": len(subset), "kept": counts.get(word, 0)} | counts
            )
    return pd.DataFrame(rows, columns=["uncertified", "runs", "kept", *ENDS])


def _row(
    bias: bool, width: int, group: pd.DataFrame, half: pd.DataFrame, conf: float
) -> dict[str, float]:
    counts = {word: int((group["end"] == word).sum()) for word in ENDS}
    share = wilson(counts["plateau"], len(group), conf)
    finite = (group["end"] == "plateau") & group["label"].isin(CERTIFIED)
    apart = [subset for _, subset in group.groupby("width")]
    low, high = REPORTED_PLATEAUS[bias]
    return {
        "bias": bias,
        "width": width,
        "runs": len(group),
        **counts,
        "rate": share.value,
        "rate_low": share.low,
        "rate_high": share.high,
        "finite": int(finite.sum()),
        "known": _known(group[group["end"] == "plateau"], half),
        "levels": sum(subset[subset["level"] >= 0]["level"].nunique() for subset in apart),
        "channel_levels": sum(
            len(loss_levels(subset[subset["end"] == "channel"]["loss"].to_numpy(), CHANNEL_GAP))
            for subset in apart
        ),
        "lowest": float(group["loss"].min()),
        "highest": float(group["loss"].max()),
        "reported_low": low,
        "reported_high": high,
        "moved": int((group["flow_loss"] - group["loss"] > 1e-3).sum()),
    }


def _known(plateaus: pd.DataFrame, half: pd.DataFrame) -> int:
    """Plateau saddles at the height of an end of the narrower width they reduce to."""
    found = 0
    for core, group in plateaus.groupby("core"):
        narrow = half[half["width"] == core]["loss"].to_numpy()
        if narrow.size:
            gaps = np.abs(group["loss"].to_numpy()[:, None] - narrow[None]).min(axis=1)
            found += int((gaps <= SAME_HEIGHT * group["loss"].to_numpy()).sum())
    return found
